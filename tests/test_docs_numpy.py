"""The list of supported functions in docs/numpy.md is what the faces offer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import gradxform.numpy
import gradxform.scipy.special

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate_support", DOCS / "generate_support.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_page_is_up_to_date(generator: ModuleType) -> None:
    text = generator.PAGE.read_text("utf-8")
    assert generator.page(text) == text, "run python docs/generate_support.py"


def test_every_public_name_is_listed_once(generator: ModuleType) -> None:
    listed = [line for line in generator.tables().splitlines() if line.startswith("| `")]
    names = [name.strip("` ") for line in listed for name in line.split(" | ")[0].strip("| ").split(",")]
    assert len(names) == len(set(names))
    own = set(generator.tables().split("as NumPy has them: ")[1].rstrip(".\n").replace("`", "").split(", "))
    assert set(names) | own == {*gradxform.numpy.__all__, *gradxform.scipy.special.__all__}
    assert not set(names) & own


def test_every_function_says_what_it_gives(generator: ModuleType) -> None:
    rows = [line.split(" | ", 1)[1] for line in generator.tables().splitlines() if line.startswith("| `")]
    assert all(row.rstrip("| ").strip() for row in rows)


def test_a_page_without_the_mark_is_refused(generator: ModuleType) -> None:
    with pytest.raises(ValueError, match="no line"):
        generator.page("# Another page\n")
