"""`data_class` makes what `dataclasses.dataclass(slots=True)` makes."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from gradxform.data_class import data_class


@data_class(frozen=True, slots=True)
class Point:
    x: float
    y: float = 2.0
    notes: list[str] = dataclasses.field(default_factory=list)

    def norm(self) -> float:
        return float((self.x**2 + self.y**2) ** 0.5)


@data_class(frozen=True, slots=True)
class Single:
    value: Any


@data_class(frozen=True, slots=True, eq=False)
class Node:
    """Equal to itself only."""

    label: str


@data_class(slots=True)
class Open:
    count: int = 0


@data_class(frozen=True, slots=True)
class Doubled:
    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", 2 * self.value)


@data_class(frozen=True, slots=True)
class Empty:
    """No fields."""


def test_arguments_and_defaults() -> None:
    point = Point(1.0)
    assert (point.x, point.y, point.notes) == (1.0, 2.0, [])
    assert Point(y=3.0, x=4.0).norm() == 5.0
    assert point.notes is not Point(1.0).notes
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Point(1.0, z=2.0)  # type: ignore[call-arg]


def test_equality_and_hash() -> None:
    assert Point(1.0) == Point(1.0, 2.0) != Point(1.0, 3.0)
    assert Single(1) != Point(1.0)
    assert Single(1) == Single(1.0)
    assert hash(Single("a")) == hash(Single("a"))
    nan = float("nan")
    assert Single(nan) == Single(nan)  # as tuples of the fields are
    assert Node("a") != Node("a")
    assert len({Node("a"), Node("a")}) == 2
    assert Open(1) == Open(1)
    assert Empty() == Empty()
    with pytest.raises(TypeError, match="unhashable"):
        hash(Open(1))


def test_frozen_and_slotted() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        Point(1.0).x = 2.0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del Point(1.0).x  # type: ignore[misc]
    assert not hasattr(Point(1.0), "__dict__")
    opened = Open()
    opened.count = 3
    assert opened == Open(3)
    with pytest.raises(AttributeError):
        opened.other = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        data_class(slots=False)(Open)  # type: ignore[call-overload]


def test_dataclass_functions_take_them() -> None:
    assert dataclasses.is_dataclass(Point)
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y", "notes"]
    assert dataclasses.replace(Point(1.0), y=5.0) == Point(1.0, 5.0)
    assert dataclasses.asdict(Open(2)) == {"count": 2}
    assert Doubled(1.5).value == 3.0
    match Point(1.0, 7.0):
        case Point(x, y):
            assert (x, y) == (1.0, 7.0)


def test_text_copies_and_pickles() -> None:
    assert repr(Point(1.0)) == "Point(x=1.0, y=2.0, notes=[])"
    assert Node.__doc__ == "Equal to itself only."
    assert Point.__qualname__ == "Point"
    point = Point(1.0, 3.0, ["a"])
    assert copy.deepcopy(point) == copy.copy(point) == pickle.loads(pickle.dumps(point)) == point
