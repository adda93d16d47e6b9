"""The pages of the reference name every public name, and the contents of the site every page.

The site itself is built by ``.ci/run``; this needs nothing but the pages and the package.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

import gradxform
from gradxform import errors, scipy, tree

DOCS = Path(__file__).resolve().parents[1] / "docs"
REFERENCE = DOCS / "reference"

#: The modules that users import, and the pages that list their names.
PAGES = {
    "gradxform": ("transforms", "window"),
    "gradxform.cache": ("cache",),
    "gradxform.checkpoint_policies": ("checkpoint_policies",),
    "gradxform.debug": ("debug",),
    "gradxform.errors": ("errors",),
    "gradxform.lax": ("lax",),
    "gradxform.lax.linalg": ("lax_linalg",),
    "gradxform.nn": ("nn",),
    "gradxform.numpy": ("numpy",),
    "gradxform.numpy.fft": ("numpy_fft",),
    "gradxform.numpy.linalg": ("numpy_linalg",),
    "gradxform.optimize": ("optimize",),
    "gradxform.random": ("random",),
    "gradxform.scipy.linalg": ("scipy_linalg",),
    "gradxform.scipy.special": ("scipy_special",),
    "gradxform.scipy.stats": ("scipy_stats",),
    "gradxform.symbolic": ("symbolic",),
    "gradxform.tape": ("tape",),
    "gradxform.tree": ("tree",),
}
#: What has a page of its own.
SINGLE = {"array": "gradxform.Array", "config": "gradxform.config.Config"}

_BLOCK = re.compile(r"^```\{eval-rst\}\n(?P<text>.*?)^```$", re.M | re.S)
_TABLE = re.compile(r"^\.\. autosummary::\n(?:   :\w+:.*\n)*\n(?P<names>(?:   \w+\n)+)", re.M)
_OWN = re.compile(r"^\.\. py:\w+:: (?P<names>\w+.*\n(?: {6,}\w.*\n)*)", re.M)
_LISTED = re.compile(r"^- \[[^]]+\]\(([^)#\s:]+\.md)\)", re.M)


def module_of(name: str) -> ModuleType:
    if name == "gradxform.checkpoint_policies":  # an attribute that is a module elsewhere
        return gradxform.checkpoint_policies
    return importlib.import_module(name)


def public_names(name: str) -> set[str]:
    """What a module offers. Modules have pages of their own."""
    module = module_of(name)
    if module is errors:
        return {key for key, value in vars(errors).items()
                if inspect.isclass(value) and issubclass(value, errors.GradxformError)}
    if module is tree:
        return {key for key, value in vars(tree).items()
                if getattr(value, "__module__", None) == tree.__name__ and not key.startswith("_") and callable(value)
                } - {"T"} | {"TreeDef"}
    names = set(module.__all__)
    if module is gradxform:
        names |= set(gradxform._FUNCTIONS_ON_DEMAND)
        names -= {"Array", "config"}  # see SINGLE
    return {key for key in names if f"{name}.{key}" not in PAGES}


def listed_names(page: str) -> list[str]:
    """The names in the tables of a page, and those that it describes itself."""
    names: list[str] = []
    for block in _BLOCK.finditer((REFERENCE / f"{page}.md").read_text("utf-8")):
        for found in (*_TABLE.finditer(block["text"]), *_OWN.finditer(block["text"])):
            names += [line.strip().partition("(")[0] for line in found["names"].splitlines()]
    return names


@pytest.mark.parametrize("name", PAGES)
def test_every_public_name_is_listed_once(name: str) -> None:
    listed = Counter(entry for page in PAGES[name] for entry in listed_names(page))
    public = public_names(name)
    assert public, "a module without public names"
    assert sorted(public - set(listed)) == [], "not in the reference"
    assert sorted(set(listed) - public) == [], "in the reference, and not in the module"
    assert [entry for entry, count in listed.items() if count > 1] == []


@pytest.mark.parametrize("name", PAGES)
def test_what_is_listed_is_described(name: str) -> None:
    """Either all members of the module are, or each name of a table has its own directive."""
    text = "".join((REFERENCE / f"{page}.md").read_text("utf-8") for page in PAGES[name])
    blocks = "".join(block["text"] for block in _BLOCK.finditer(text))
    described = set(re.findall(r"^\.\. auto(?:function|data|class|exception):: (?:[\w.]+\.)?(\w+)(?:\(\))?$", blocks, re.M))
    tables = {entry for found in _TABLE.finditer(blocks) for entry in found["names"].split()}
    if f".. automodule:: {name}\n   :members:\n" in blocks:  # which describes functions and classes
        tables = {entry for entry in tables if not callable(getattr(module_of(name), entry))}
    assert tables <= described


def test_every_public_module_has_its_page() -> None:
    parts = {f"gradxform.{name}" for name in gradxform.__all__ if inspect.ismodule(getattr(gradxform, name))}
    parts |= {f"gradxform.{name}" for name in gradxform._ON_DEMAND} - {"gradxform.scipy"}
    parts |= {f"gradxform.scipy.{name}" for name in scipy._PARTS}
    assert sorted(parts - set(PAGES)) == []
    for page, name in SINGLE.items():
        assert f".. autoclass:: {name}" in (REFERENCE / f"{page}.md").read_text("utf-8")


def test_objects_with_pages_of_other_modules_are_found() -> None:
    """Directives name objects in full where they are not those of the page's module."""
    for page in REFERENCE.glob("*.md"):
        for name in re.findall(r"^\.\. auto(?:function|class|data):: (gradxform\.[\w.]+)", page.read_text("utf-8"), re.M):
            *parents, last = name.split(".")
            owner = module_of(".".join(parents))
            assert hasattr(owner, last), f"{page.name}: {name}"


def test_every_page_is_in_the_contents() -> None:
    """The site's contents are what the lists of the pages named index.md begin with."""
    listed: list[Path] = []
    for index in DOCS.rglob("index.md"):
        listed += [(index.parent / target).resolve() for target in _LISTED.findall(index.read_text("utf-8"))]
    assert [page for page, count in Counter(listed).items() if count > 1] == []
    included = {page for page in (DOCS / "project").glob("*.md") if "{include}" in page.read_text("utf-8")}
    missing = set(DOCS.rglob("*.md")) - set(listed) - included - {DOCS / "index.md"}
    assert sorted(str(page.relative_to(DOCS)) for page in missing) == []
    assert {page.stem for page in REFERENCE.glob("*.md")} >= {page for pages in PAGES.values() for page in pages}


@pytest.fixture
def linking(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What the site adds to the pages."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("linking")


def test_a_page_of_the_site_stands_for_a_file_outside(linking: ModuleType) -> None:
    page = DOCS / "internals" / "overview.md"
    assert linking.site_links("[a](../jit.md#threads) [b](../../README.md) [c](https://a.b/c.md) [d](gone.md)", page) == (
        "[a](/jit.md#threads) [b](/project/readme.md) [c](https://a.b/c.md) [d](gone.md)")
    assert linking.site_links("[t](examples/tour.py), [f](docs/jit.md)", DOCS.parent / "README.md") == (
        "[t](/examples.md#tourpy), [f](/jit.md)")
    for name, target in linking.PAGES_OF_FILES.items():
        assert (DOCS.parent / name).is_file()
        assert (DOCS / target).is_file()
    assert set(linking.MODULES_OF_PAGES) <= {path.stem for path in DOCS.glob("*.md")}


def test_contents_follow_the_sections_of_an_index(linking: ModuleType) -> None:
    text = "# x\n\n- [no](jit.md)\n\n## One\n\n- [A](jit.md): with [B](numpy.md)\n- [R](../README.md)\n\n## Two\n\ntext\n"
    toctree = "\n```{toctree}\n:hidden:\n:caption: One\n\nA </jit.md>\nR </project/readme.md>\n```\n"
    assert linking.contents(text, DOCS / "index.md") == toctree
