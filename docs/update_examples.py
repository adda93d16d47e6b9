"""Write what the examples of the pages print now: ``python docs/update_examples.py docs/jit.md ...``.

Run it after a change that alters printed programs, loops or messages, and read the difference before you commit it.
Outputs that fit, ellipses included, stay as they are. What would not repeat is left out of new ones: estimates of
time, places in user code, the last digits of floats.
"""

from __future__ import annotations

import doctest
import re
import sys
import textwrap
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from test_docs import OPTIONS, python_blocks  # noqa: E402

_WIDTH = 118
_UNREPEATABLE = (
    (re.compile(r"(?m)^( *nest \d+:.*# about) [\d.e+-]+ us$"), r"\1 ... us"),
    (re.compile(r"in user code: .*"), "in user code: ..."),
    (re.compile(r"<doctest [^>]*>:\d+ \([^)]*\)"), "..."),
    (re.compile(r"(\d\.\d{9})\d{5,}"), r"\1..."),
)


def _shown_error(message: str) -> str:
    lines = [part for line in message.rstrip().split("\n")
             for part in textwrap.wrap(line, _WIDTH, subsequent_indent="    ")]
    return "\n".join(["Traceback (most recent call last):", "    ...", *lines])


class _Recorder(doctest.DocTestRunner):
    """Runs examples and notes, by line, what those print whose output does not fit."""

    def __init__(self) -> None:
        super().__init__(optionflags=OPTIONS)
        self.found: dict[int, tuple[doctest.Example, str]] = {}

    def report_failure(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        # A wrong message of an expected error comes as a whole traceback; its message is what follows the stack.
        error = re.match(r"Traceback .*\n(?:[ ].*\n)*(?P<message>[^ ](?:.*\n?)*)", got)
        self.found[example.lineno] = example, _shown_error(error["message"]) if error else got

    def report_unexpected_exception(
        self, out: Any, test: doctest.DocTest, example: doctest.Example, exc_info: Any
    ) -> None:
        self.found[example.lineno] = example, _shown_error("".join(traceback.format_exception_only(*exc_info[:2])))


def _printed(got: str, indent: int) -> list[str]:
    for pattern, replacement in _UNREPEATABLE:
        got = pattern.sub(replacement, got)
    return [" " * indent + (line or "<BLANKLINE>") for line in got.rstrip("\n").split("\n")] if got.strip() else []


def updated(text: str, name: str) -> str:
    """A page's text with the outputs of its examples brought up to date."""
    recorder = _Recorder()
    test = doctest.DocTestParser().get_doctest(python_blocks(text), {}, name, name, 0)
    recorder.run(test, out=lambda _: None, clear_globs=False)
    lines = text.split("\n")
    for number, (example, got) in sorted(recorder.found.items(), reverse=True):
        begin = number + example.source.count("\n")
        lines[begin:begin + example.want.count("\n")] = _printed(got, example.indent)
    return "\n".join(lines)


def main(pages: Sequence[str]) -> int:
    """Update these pages, or all of them."""
    for page in map(Path, pages or sorted(map(str, Path(__file__).parent.rglob("*.md")))):
        before = page.read_text("utf-8")
        after = updated(before, page.name)
        if after != before:
            page.write_text(after, "utf-8")
            print(f"updated {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
