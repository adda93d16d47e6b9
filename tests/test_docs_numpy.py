"""The list of supported functions in docs/numpy.md is what the faces offer."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import gradxform.numpy

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
    written_with = re.search(r"NumPy (\d+\.\d+) has \d+ names", text)
    assert written_with is not None
    if not np.__version__.startswith(f"{written_with[1]}."):
        pytest.skip(f"the page lists the names of NumPy {written_with[1]}, this is {np.__version__}")
    assert generator.page(text) == text, "run python docs/generate_support.py"


def listed_names(text: str) -> list[str]:
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [name.strip("` ") for line in rows for name in line.split(" | ")[0].strip("| ").split(",")]


def test_every_public_name_is_listed_once(generator: ModuleType) -> None:
    families, rest = generator.tables().split("## NumPy's own")
    own = rest.split("as NumPy has them: ")[1].split("\n")[0].rstrip(".").replace("`", "").split(", ")
    main, *others = generator.FACES
    parts = families.split("\n## gradxform.")
    assert sorted([*listed_names(parts[0]), *own]) == sorted(main.__all__)
    for face, part in zip(others, parts[1:], strict=True):
        assert face.__name__ == "gradxform." + part.split("\n")[0]
        assert sorted(listed_names(part)) == sorted(face.__all__)


def test_every_function_says_what_it_gives(generator: ModuleType) -> None:
    families = generator.tables().split("## Every name")[0]
    rows = [line.split(" | ", 1)[1] for line in families.splitlines() if line.startswith("| `")]
    assert all(row.rstrip("| ").strip() for row in rows)


def test_every_name_of_numpy_is_supported_or_left_out_with_a_reason(generator: ModuleType) -> None:
    left_out = [name for names in generator.LEFT_OUT.values() for name in names]
    assert len(left_out) == len(set(left_out))
    here = {name for name in generator.names_of_numpy() if hasattr(gradxform.numpy, name)}
    assert set(generator.names_of_numpy()) - here <= set(left_out)
    assert not here & set(left_out)
    assert set(generator.DIFFERS) <= set(gradxform.numpy.__all__)
    assert len(here) >= 320


def test_a_page_without_the_mark_is_refused(generator: ModuleType) -> None:
    with pytest.raises(ValueError, match="no line"):
        generator.page("# Another page\n")
