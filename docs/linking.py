"""What the site adds to the pages: contents from lists of links, links to files outside of docs, and links of names.

The pages are plain Markdown that reads well on a code host; nothing in them is there for the site alone, where that can
be helped. So the site finds its contents in the lists of the pages named index.md, whose headings become captions.
"""

from __future__ import annotations

import builtins
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

#: Files outside of this folder that the site has a page for.
PAGES_OF_FILES = {
    "README.md": "project/readme.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "LICENSE": "project/license.md",
    "bench/README.md": "project/benchmark.md",
}
#: How names of modules are abbreviated on the pages.
ABBREVIATIONS = {"gx.": "gradxform.", "gnp.": "gradxform.numpy.", "T.": "gradxform.symbolic.", "tf.": "gradxform.tape."}
#: Pages about one module, whose names they say without it.
MODULES_OF_PAGES = {
    "numpy": "gradxform.numpy",
    "linear_algebra": "gradxform.numpy.linalg",
    "special": "gradxform.scipy.special",
    "random": "gradxform.random",
    "networks": "gradxform.nn",
    "coming_from_theano": "gradxform.symbolic",
    "coming_from_tensorflow": "gradxform.tape",
}

_LINK = re.compile(r"\]\((?P<target>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")
_LISTED = re.compile(r"^- \[(?P<title>[^]]+)\]\((?P<target>[^)#\s:]+\.md)\)", re.M)
_HEADING = re.compile(r"^## (?P<title>.+)$", re.M)


def site_links(text: str, page: Path) -> str:
    """``text``, which stands in the file ``page``, with its links as the site has them: from the root of the site."""

    def on_site(link: re.Match[str]) -> str:
        path = (page.parent / link["target"]).resolve()
        anchor = link["anchor"] or ""
        if not path.is_file() or not path.is_relative_to(ROOT):
            return link[0]
        if path.is_relative_to(DOCS):
            return f"](/{path.relative_to(DOCS).as_posix()}{anchor})"
        name = path.relative_to(ROOT).as_posix()
        if name in PAGES_OF_FILES:
            return f"](/{PAGES_OF_FILES[name]}{anchor})"
        if path.parent == ROOT / "examples" and page != DOCS / "examples.md":
            return f"](/examples.md#{path.name.replace('.', '')})"
        return link[0]

    return _LINK.sub(on_site, text)


def contents(text: str, page: Path) -> str:
    """Hidden tables of contents, one a section of ``text``, of the pages that its lists begin with links to."""
    _, *sections = _HEADING.split(text)
    parts = []
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        pages = [f"{link['title']} <{link['target']}>" for link in _LISTED.finditer(site_links(body, page))]
        if pages:
            parts.append("\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""]))
    return "".join(parts)


def _source_read(app: Sphinx, docname: str, source: list[str]) -> None:
    page = DOCS / f"{docname}.md"
    listed = contents(source[0], page) if page.stem == "index" else ""
    source[0] = site_links(source[0], page) + listed


def _include_read(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    content[0] = site_links(content[0], (DOCS / path).resolve())


def _doctree_read(app: Sphinx, document: nodes.document) -> None:
    """Blocks of code without the empty line that ends an example."""
    for block in document.findall(nodes.literal_block):
        block.rawsource = block.rawsource.rstrip("\n")
        block[:] = [nodes.Text(block.astext().rstrip("\n"))]


class LinkNames(SphinxPostTransform):
    """Makes names of public objects links to the reference: the first of each in a section, or in a docstring."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        for reference in list(self.document.findall(addnodes.pending_xref)):
            if reference.get("reftype") == "class" and hasattr(builtins, reference["reftarget"]):
                reference.replace_self(reference.children)  # bool is Python's, and not that of some module
        self._linked: set[tuple[int, str]] = set()
        objects = self.env.domains.python_domain.objects
        classes = [name for name, entry in objects.items() if entry.objtype == "class"]
        counts = Counter(name.rpartition(".")[2] for name in classes)
        self._classes = {short: name for name in classes if counts[short := name.rpartition(".")[2]] == 1}
        for literal in list(self.document.findall(nodes.literal)):
            if literal.get("role") is None and not isinstance(literal.parent, nodes.reference | addnodes.pending_xref):
                self._link(literal)

    def _link(self, literal: nodes.literal) -> None:
        text = literal.astext().removesuffix("()")
        if len(text) < 2 or not text.replace(".", "").replace("_", "").isalnum():
            return
        described = _ancestor(literal, addnodes.desc)
        block = described or _ancestor(literal, nodes.section)
        if block is None or _ancestor(literal, addnodes.desc_signature, nodes.title) is not None:
            return
        if described is not None and text in _own_names(described):
            return
        objects = self.env.domains.python_domain.objects
        for candidate in self._candidates(text, described, block):
            if candidate in objects and not ("." not in text and objects[candidate].objtype == "module"):  # numpy is NumPy
                if (id(block), candidate) not in self._linked:
                    self._linked.add((id(block), candidate))
                    entry = objects[candidate]
                    literal.replace_self(make_refnode(
                        self.app.builder, self.env.docname, entry.docname, entry.node_id, [literal.deepcopy()], candidate))
                return

    def _candidates(self, text: str, described: addnodes.desc | None, block: nodes.Element) -> Iterator[str]:
        """What ``text`` may stand for, the nearest first."""
        for short, module in ABBREVIATIONS.items():
            if text.startswith(short):
                yield module + text.removeprefix(short)
                return
        if described is not None:
            signature = described[0]
            module = signature.get("module") or ""
            if signature.get("class"):
                yield f"{module}.{signature['class']}.{text}"
            yield f"{module}.{signature.get('fullname', '')}.{text}"
            yield f"{module}.{text}"
        else:
            title = block.next_node(nodes.title)
            named = title.astext() if title is not None else ""
            module = named if named.startswith("gradxform.") else MODULES_OF_PAGES.get(self.env.docname)
            if module:
                yield f"{module}.{text}"
        yield text
        yield f"gradxform.{text}"
        yield f"gradxform.errors.{text}"
        if text[0].isupper():
            yield self._classes.get(text, "")
        if text.startswith(("special.", "stats.")):
            yield f"gradxform.scipy.{text}"


def _ancestor(node: nodes.Node, *kinds: type[nodes.Element]) -> Any:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return node
    return None


def _own_names(described: addnodes.desc) -> set[str]:
    """The names that a description gives a meaning of its own: the object's and its parameters'."""
    names: set[str] = set()
    for signature in described.findall(addnodes.desc_signature):
        names.add(str(signature.get("fullname", "")).split(".")[-1])
        names.update(parameter.astext().lstrip("*").split("=")[0].split(":")[0].strip()
                     for parameter in signature.findall(addnodes.desc_parameter))
    return names


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect everything."""
    app.connect("source-read", _source_read)
    app.connect("include-read", _include_read)
    app.connect("doctree-read", _doctree_read)
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
