"""The parts of which the text of one LLVM module is put together."""

from __future__ import annotations

import platform
from collections.abc import Hashable
from dataclasses import field

from gradxform.backend.elementary import Request, declarations, definitions
from gradxform.data_class import data_class
from gradxform.ir import Callback

#: How the function is called that notes an index out of range: it keeps the registers, so that loops need not see to them.
NOTE_CALL = "preserve_mostcc " if platform.machine().lower() in ("x86_64", "amd64", "aarch64", "arm64") else ""

#: Metadata of loops: how many vectors of iterations LLVM interleaves; iterations are not to be written one after the other.
ONE_VECTOR, TWO_VECTORS, FOUR_VECTORS, NOT_UNROLLED = "!1", "!2", "!3", "!4"
_HINTS = {
    **{name: f'!{{!"llvm.loop.interleave.count", i32 {count}}}'
       for name, count in ((ONE_VECTOR, 1), (TWO_VECTORS, 2), (FOUR_VECTORS, 4))},
    NOT_UNROLLED: '!{!"llvm.loop.unroll.disable"}',
}


@data_class(slots=True)
class Module:
    """What the text of one module is put together from."""

    functions: list[str] = field(default_factory=list)
    declarations: dict[str, None] = field(default_factory=dict)
    requests: dict[Request, None] = field(default_factory=dict)
    imports: dict[str, None] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    vectors: dict[str, None] = field(default_factory=dict)
    sites: list[tuple[int, int] | str] = field(default_factory=list)  # axis and extent of an index, or a failure's message
    metadata: dict[str, str] = field(default_factory=dict)
    callbacks: dict[Callback, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    routines: dict[str, str] = field(default_factory=dict)
    shared_tiles: set[Hashable] = field(default_factory=set)  # the forms of contractions that become calls
    tiles: dict[Hashable, tuple[str, str]] = field(default_factory=dict)  # their functions, names and texts
    loops: int = 0
    fast_math: bool = False

    def text(self) -> str:
        requests = list(self.requests)
        for line in declarations(requests):
            self.declarations[line] = None
        used = ""
        if self.vectors:
            # The vectoriser finds these by name only; nothing else refers to them.
            pointers = ", ".join(f"ptr @{name}" for name in self.vectors)
            used = (f"@llvm.compiler.used = appending global [{len(self.vectors)} x ptr] [{pointers}], "
                    'section "llvm.metadata"')
        groups = [f"attributes {number} = {{ {text} }}" for text, number in self.attributes.items()]
        return "\n".join([used, *self.declarations, definitions(requests), *self.functions,
                          *(text for _, text in self.tiles.values()), *groups,
                          *(f"{name} = {text}" for name, text in self.metadata.items())])

    def callback(self, called: Callback) -> int:
        """The number under which the module calls a Python function: its object is imported as ``gx.callback.NUMBER``."""
        return self.callbacks.setdefault(called, len(self.callbacks))

    def failure(self, message: str) -> int:
        """The number of the site that stands for a failure."""
        if message not in self.sites:
            self.sites.append(message)
        return self.sites.index(message) + 1

    def text_constant(self, text: str) -> str:
        """The name of a constant string."""
        name = self.texts.get(text)
        if name is None:
            name = self.texts[text] = f"@gx.text.{len(self.texts)}"
            size = len(text.encode()) + 1
            self.declarations[f'{name} = private constant [{size} x i8] c"{text}\\00"'] = None
        return name

    def record(self, text: str) -> str:
        """The name of a constant with the given type and value."""
        name = self.texts.get(text)
        if name is None:
            name = self.texts[text] = f"@gx.record.{len(self.texts)}"
            self.declarations[f"{name} = private constant {text}"] = None
        return name

    def rarely(self) -> int:
        """The number of the metadata that marks a branch as one that is hardly ever taken."""
        self.metadata["!0"] = '!{!"branch_weights", i32 1, i32 1000000}'
        return 0

    def loop_hints(self, *hints: str) -> str:
        """What follows the branch of a loop so that LLVM does as the constants above say; nothing without hints."""
        if not hints:
            return ""
        self.metadata.update({hint: _HINTS[hint] for hint in hints})
        self.loops += 1
        number = f"!{len(_HINTS) + self.loops}"
        self.metadata[number] = f"distinct !{{{', '.join([number, *hints])}}}"
        return f", !llvm.loop {number}"

    def attribute_group(self, text: str) -> str:
        return self.attributes.setdefault(text, f"#{len(self.attributes)}")
