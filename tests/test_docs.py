"""Everything that the documentation shows at a Python prompt runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest
from test_imports import all_modules

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# A language in braces is a directive of the site, with its argument behind it.
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*|\{[\w-]+\}.*)\s*$")


def run(test: doctest.DocTest) -> None:
    """Run one doctest and fail with its report."""
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append, clear_globs=False)
    assert not report, "".join(report)


def python_blocks(text: str) -> str:
    """Blank out all lines but those inside Python blocks, so that the line numbers stay."""
    kept: list[str] = []
    inside, python = False, False
    for line in text.splitlines():
        if fence := FENCE.match(line):
            inside, python = not inside, not inside and fence["language"] == "python"
            kept.append("")
        else:
            kept.append(line if python else "")
    assert not inside, "a code block is not closed"
    return "\n".join(kept) + "\n"


@pytest.mark.parametrize("name", all_modules())
def test_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    for test in finder.find(module, name):
        if test.examples:
            run(test)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages(page: Path) -> None:
    # A page that shows what others are for says what it needs of them; where that is missing it is not run.
    for needed in re.findall(r"<!-- needs: (.*) -->", page.read_text("utf-8")):
        for name in needed.split():
            pytest.importorskip(name)
    # The examples of a page share their names, as a reader who types them in order would.
    parsed = doctest.DocTestParser().get_doctest(python_blocks(page.read_text("utf-8")), {}, page.name, str(page), 0)
    run(parsed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_figure_is_left_to_be_filled_in(page: Path) -> None:
    assert not re.findall(r"@@\w*", page.read_text("utf-8"))


def test_only_python_blocks_are_run() -> None:
    text = "a >>> b\n```python\n>>> 1 + 1\n2\n```\n```\n>>> broken(\n```\n"
    examples = doctest.DocTestParser().get_examples(python_blocks(text))
    assert [(example.source, example.want, example.lineno) for example in examples] == [("1 + 1\n", "2\n", 2)]


def test_a_wrong_page_is_noticed() -> None:
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    with pytest.raises(AssertionError, match="Expected"):
        run(wrong)
