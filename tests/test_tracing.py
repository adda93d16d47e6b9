"""Builders and tracers: recording, capturing, known values, leaks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform import primitives as P
from gradxform.core import Builder, Tracer, current_builder, dtype_of, outside, run, shape_of, type_of
from gradxform.core.source import user_source
from gradxform.core.tracing import concrete
from gradxform.errors import ArgumentTypeError, ConcretizationError, DTypeError, LeakedTracerError, ShapeError
from gradxform.ir import ArrayType, Literal, check

FLOAT64 = np.dtype(np.float64)
VECTOR = ArrayType(FLOAT64, (3,))
X = np.array([0.5, -1.0, 2.0])


def test_operations_are_recorded_only_while_a_builder_is_open() -> None:
    assert current_builder() is None
    np.testing.assert_array_equal(P.sin(X), np.sin(X))
    builder = Builder("test")
    with builder:
        assert current_builder() is builder
        x = builder.add_input(VECTOR)
        y = P.sin(x)
        constant = P.sin(X)  # staged too
        assert isinstance(y, Tracer) and isinstance(constant, Tracer)
        program, captures = builder.finish([y, constant])
    assert current_builder() is None
    assert [e.operation.name for e in check(program).equations] == ["sin", "sin"]
    assert len(captures) == 1 and np.array_equal(captures[0], X)


def test_outside() -> None:
    builder = Builder("test")
    with builder:
        with outside():
            assert current_builder() is None
            np.testing.assert_array_equal(P.sin(X), np.sin(X))
        assert current_builder() is builder
    assert not builder.equations


def test_captures_are_shared_and_scalars_are_literals() -> None:
    builder = Builder("test")
    with builder:
        x = builder.add_input(VECTOR)
        y = P.add(P.mul(x, X), X)
        z = P.mul(P.mul(y, 2.0), np.float64(3.0))
        w = P.mul(z, np.array(4.0))
        program, captures = builder.finish([w, 1, 2.5, np.True_])
    assert len(captures) == 1 and len(program.inputs) == 2
    assert [atom.value for atom in program.outputs[1:]] == [1, 2.5, True]
    assert all(isinstance(atom, Literal) for atom in program.outputs[1:])
    assert [atom.type.weak for atom in program.outputs[1:]] == [True, True, False]
    np.testing.assert_array_equal(run(check(program), [np.ones(3), X])[0], 48 * X)


def test_nested_builders_capture_outer_tracers() -> None:
    outer, inner = Builder("outer"), Builder("inner")
    with outer:
        x = outer.add_input(VECTOR)
        y = P.sin(x)
        with inner:
            z = inner.add_input(VECTOR)
            program, captures = inner.finish([P.add(P.mul(y, z), y)])
        assert len(captures) == 1 and captures[0] is y
        assert len(program.inputs) == 2 and len(outer.equations) == 1
        # The inner program runs in the outer builder: that is what a transform does.
        whole, none = outer.finish(run(program, [x, *captures]))
    assert not none
    np.testing.assert_allclose(run(check(whole), [X])[0], np.sin(X) * X + np.sin(X), rtol=1e-15)


def test_inner_tracers_do_not_leave() -> None:
    outer, inner, sibling = Builder("outer"), Builder("inner of f"), Builder("sibling")
    with outer:
        outer.add_input(VECTOR)
        with inner:
            z = P.sin(inner.add_input(VECTOR))
        with pytest.raises(LeakedTracerError, match="inner of f"):
            P.sin(z)
        with sibling, pytest.raises(LeakedTracerError):
            P.sin(z)
        with pytest.raises(LeakedTracerError):
            outer.finish([z])
    with pytest.raises(LeakedTracerError, match=r"test_tracing\.py"):
        P.sin(z)


def test_known_values() -> None:
    builder = Builder("test")
    with builder:
        x = builder.add_input(VECTOR, X)
        unknown = builder.add_input(VECTOR)
        y = P.mul(P.sin(x), 2.0)
        np.testing.assert_array_equal(concrete(y, "a test"), np.sin(X) * 2.0)
        np.testing.assert_array_equal(concrete(P.add(y, X), "a test"), np.sin(X) * 2.0 + X)
        with pytest.raises(ConcretizationError, match="a test needs the value"):
            concrete(P.add(y, unknown), "a test")
        assert len(builder.equations) == 4  # evaluating records nothing
        assert builder.value_of(builder.atom(3.0)) == 3.0


def test_known_values_of_outer_tracers() -> None:
    outer, inner = Builder("outer"), Builder("inner")
    with outer:
        x = outer.add_input(VECTOR, X)
        hidden = outer.add_input(VECTOR)
        with inner:
            y = inner.add_input(VECTOR, x)
            np.testing.assert_array_equal(concrete(P.mul(y, x), "a test"), X * X)
            with pytest.raises(ConcretizationError):
                concrete(P.mul(y, hidden), "a test")


def test_values_of_long_chains_do_not_recurse() -> None:
    builder = Builder("test")
    with builder:
        x = builder.add_input(ArrayType(FLOAT64, ()), np.float64(0.0))
        for _ in range(5000):
            x = P.add(x, np.float64(1.0))
        assert concrete(x, "a test") == 5000.0


def test_values_are_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradxform.core import tracing

    count = []
    evaluate = tracing.evaluate
    monkeypatch.setattr(tracing, "evaluate", lambda *args: count.append(1) or evaluate(*args))
    builder = Builder("test")
    with builder:
        x = builder.add_input(ArrayType(FLOAT64, ()), np.float64(1.0))
        for _ in range(20):
            x = P.add(x, np.float64(1.0))
            concrete(x, "a test")
    assert len(count) == 20


def test_each_thread_has_a_builder_of_its_own() -> None:
    builder = Builder("test")
    seen: list[Any] = []
    with builder:
        builder.add_input(VECTOR)
        thread = threading.Thread(target=lambda: seen.extend([current_builder(), P.sin(X)]))
        thread.start()
        thread.join()
    assert seen[0] is None
    np.testing.assert_array_equal(seen[1], np.sin(X))
    assert not builder.equations


def test_builder_closes_on_errors() -> None:
    builder = Builder("test")
    with pytest.raises(KeyError), builder:
        raise KeyError
    assert current_builder() is None and builder.state == "closed"


def test_types_of_values() -> None:
    assert type_of(1.0) == ArrayType(FLOAT64, (), True)
    assert type_of(True) == ArrayType(np.dtype(np.bool_), (), True)
    assert type_of(np.float32(1)) == ArrayType(np.dtype(np.float32), ())
    assert shape_of(np.ones((2, 0))) == (2, 0) and dtype_of(np.ones(1, np.uint8)) == np.uint8
    for value in ("a", None, [1.0], object()):
        with pytest.raises(ArgumentTypeError, match="array or a number"):
            type_of(value)
    for value in (np.ones(1, np.clongdouble), np.ones(1, np.float16), np.array(["a"]), np.array([None])):
        with pytest.raises(DTypeError):
            type_of(value)


def test_errors_of_type_rules_name_the_line_once() -> None:
    builder = Builder("test")
    with builder:
        x = builder.add_input(VECTOR)
        with pytest.raises(ShapeError, match="mul") as error:
            P.mul(x, np.ones(4))
        assert str(error.value).count("test_tracing.py") == 1
        with pytest.raises(DTypeError, match="float32"):
            P.mul(x, np.ones(3, np.float32))
        assert not builder.equations
    with pytest.raises(ShapeError, match="mul"):
        P.mul(X, np.ones(4))


def test_evaluation_is_silent_about_floating_point() -> None:
    with np.errstate(all="raise"):
        assert np.isnan(P.log(np.float64(-1.0))) and P.div(np.float64(1.0), np.float64(0.0)) == np.inf


def test_an_array_used_twice_is_captured_once() -> None:
    x = np.linspace(0.0, 1.0, 4)
    program = gx.make_ir(lambda b: np.sum(b * x + (x - b)))(2.0)
    assert len(program.inputs) == 2


def test_the_modules_that_run_a_module_are_nobodys_code() -> None:
    names: dict[str, Any] = {"user_source": user_source}
    exec(compile("found = user_source()", "<frozen runpy>", "exec"), names)
    assert names["found"].file == __file__ and names["found"].function == "test_the_modules_that_run_a_module_are_nobodys_code"
