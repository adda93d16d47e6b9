"""Programs: types, text, the checker, infix."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from support.programs import trace

from gradxform import primitives as P
from gradxform.core import Builder, run
from gradxform.errors import CheckError
from gradxform.ir import ArrayType, Equation, Literal, Program, Var, check, infix, print_program

FLOAT64, FLOAT32, INT64 = np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64)
X = np.ones(3)


def literal(value: Any, dtype: Any = np.float64) -> Literal:
    return Literal(np.dtype(dtype).type(value), ArrayType(np.dtype(dtype), ()))


# --------------------------------------------------------------------------------------------------------------- types


def test_types() -> None:
    matrix = ArrayType(FLOAT64, (3, 4), weak=False)
    assert str(matrix) == "f64[3,4]" and matrix.rank == 2 and matrix.size == 12
    assert str(ArrayType(FLOAT64, (), True)) == "f64[]*"
    assert str(ArrayType(np.dtype(np.uint8), (0,))) == "u8[0]" and ArrayType(FLOAT64, (0,)).size == 0
    assert str(ArrayType(np.dtype(np.bool_), ())) == "bool[]"
    assert ArrayType(FLOAT64, (), True).strong() == ArrayType(FLOAT64, ()) != ArrayType(FLOAT64, (), True)
    assert ArrayType(FLOAT64, (2**40, 2**40)).size == 2**80
    assert matrix.with_shape((2,)) == ArrayType(FLOAT64, (2,))
    assert len({matrix, ArrayType(FLOAT64, (3, 4)), ArrayType(FLOAT32, (3, 4))}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        matrix.shape = ()  # type: ignore[misc]


# ---------------------------------------------------------------------------------------------------------------- text


def test_text_of_a_short_program() -> None:
    program = trace(lambda x: P.reduce_sum(P.sin(x), (0,)), [X])
    assert (
        str(program) == repr(program) == "{ lambda a:f64[3] . let b:f64[3] = sin a ; c:f64[] = reduce_sum[axes=(0,)] b in (c) }"
    )


def test_text_of_a_long_program() -> None:
    program = trace(lambda x, n: (P.mul(P.add(P.cos(x), x), 2.0), n), [X, np.int64(1)])
    assert str(program) == "\n".join(
        [
            "{ lambda a:f64[3] b:i64[] . let",
            "    c:f64[3] = cos a",
            "    d:f64[3] = add c a",
            "    e:f64[3] = mul d 2.0",
            "  in (e, b) }",
        ]
    )


def test_text_of_programs_of_nothing() -> None:
    assert str(Program((), (), ())) == "{ lambda . let in () }"
    assert str(Program((), (), (literal(1.5),))) == "{ lambda . let in (1.5) }"


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (1.5, np.float64, "1.5"),
        (1.5, np.float32, "1.5:f32"),
        (3, np.int64, "3"),
        (3, np.uint8, "3:u8"),
        (True, np.bool_, "True"),
        (np.inf, np.float64, "inf"),
        (-0.0, np.float64, "-0.0"),
        (0.1, np.float64, "0.1"),
        (1e-300, np.float64, "1e-300"),
    ],
)
def test_text_of_literals(value: Any, dtype: Any, text: str) -> None:
    assert str(Program((), (), (literal(value, dtype),))) == f"{{ lambda . let in ({text}) }}"


def test_text_tells_programs_apart() -> None:
    """Caches hash the text: what computes something else must print something else."""
    x = np.ones((2, 2))
    programs = [
        trace(f, [a])
        for a in (x, x.astype(np.float32), np.ones((2, 2, 1)), np.ones((4, 1)))
        for f in (
            lambda x: P.mul(x, x.dtype.type(0.1)) if hasattr(x, "dtype") else P.mul(x, P.convert(0.1, x.type.dtype)),
            lambda x: P.mul(x, P.convert(np.float32(0.1), x.type.dtype)),
            lambda x: P.reduce_sum(x, (0,)),
            lambda x: P.reduce_sum(x, (1,)),
            lambda x: P.reduce_sum(x, (0, 1)),
            lambda x: P.cumsum(x, 0),
            lambda x: P.cumsum(x, 0, True),
            lambda x: P.convert(x, INT64),
            lambda x: P.convert(x, np.dtype(np.int32)),
            lambda x: (x, x),
            lambda x: x,
            lambda x: P.integer_pow(x, 2),
            lambda x: P.integer_pow(x, 3),
        )
    ]
    texts = [str(p) for p in programs]
    assert len(set(texts)) == len(texts)
    nearby = [str(Program((), (), (literal(v),))) for v in (0.1, np.nextafter(0.1, 1), np.nan, 0.0, -0.0)]
    assert len(set(nearby)) == len(nearby)


def test_variable_names() -> None:
    def f(x: Any) -> Any:
        for _ in range(800):
            x = P.sin(x)
        return x

    text = str(trace(f, [X]))
    assert "z:f64[3] = sin y" in text and "aa:f64[3] = sin z" in text and "aaa:f64[3] = sin zz" in text
    names = [line.split(":")[0].strip() for line in text.splitlines() if " = " in line]
    assert len(set(names)) == 800


def test_sources() -> None:
    program = trace(lambda x: P.sin(x), [X])
    (equation,) = program.equations
    assert equation.source is not None
    assert equation.source.file == __file__ and equation.source.function == "<lambda>"
    assert "test_ir.py" in print_program(program, sources=True)
    assert "test_ir.py" not in str(program)


def test_infix() -> None:
    program = trace(lambda x, y: P.mul(P.add(x, y), P.sub(x, P.sub(y, 2.0))), [1.0, 1.0])
    assert infix(program) == "(a + b) * (a - (b - 2.0))"
    assert infix(program, ["x", "y"]) == "(x + y) * (x - (y - 2.0))"
    assert (
        infix(trace(lambda x: (P.neg(P.sin(x)), P.integer_pow(P.neg(x), 3), P.mul(x, -1.0)), [1.0]))
        == "(-sin(a), (-a) ** 3, a * (-1.0))"
    )
    assert infix(trace(lambda x: P.reduce_sum(x, (0,)), [X])) == "reduce_sum(a, axes=(0,))"


# ------------------------------------------------------------------------------------------------------------- checker


def sin_of(x: Any, result: ArrayType | None = None) -> Equation:
    return Equation(P.ROSTER["sin"], (x,), (), (Var(result or ArrayType(FLOAT64, (3,))),))


def test_checker_accepts_what_is_right() -> None:
    x = Var(ArrayType(FLOAT64, (3,)))
    equation = sin_of(x)
    program = Program((x,), (equation,), equation.outputs)
    assert check(program) is program
    np.testing.assert_array_equal(run(program, [X])[0], np.sin(X))


def test_checker_refuses() -> None:
    x, stranger = Var(ArrayType(FLOAT64, (3,))), Var(ArrayType(FLOAT64, (3,)))
    first = sin_of(x)
    second = sin_of(first.outputs[0])
    reduce_sum = P.ROSTER["reduce_sum"]
    slice_p = P.ROSTER["slice"]
    cases: list[tuple[Program, str]] = [
        (Program((x, x), (), ()), "twice"),
        (Program((x,), (second, first), second.outputs), "before it is defined"),
        (Program((x,), (sin_of(stranger),), ()), "before it is defined"),
        (Program((x,), (), (stranger,)), "before it is defined"),
        (Program((x,), (first, first), first.outputs), "defines a variable twice"),
        (Program((x,), (Equation(P.ROSTER["sin"], (x,), (), (x,)),), ()), "defines a variable twice"),
        (Program((x,), (sin_of(x, ArrayType(FLOAT64, (4,))),), ()), "its rule says"),
        (Program((x,), (sin_of(x, ArrayType(FLOAT32, (3,))),), ()), "its rule says"),
        (
            Program((x,), (Equation(reduce_sum, (x,), (("axes", [0]),), (Var(ArrayType(FLOAT64, ())),)),), ()),
            "type that programs do not hold",
        ),
        (
            Program(
                (x,), (Equation(slice_p, (x,), (("strides", (1,)), ("start", (0,)), ("limit", (3,))), (Var(x.type),)),), ()
            ),
            "sorted",
        ),
        (Program((x,), (sin_of(Literal(1.0, ArrayType(FLOAT64, ())), ArrayType(FLOAT64, ())),), ()), "literal"),
        (Program((), (), (Literal(np.float32(1), ArrayType(FLOAT64, ())),)), "literal"),
        (Program((), (), (Literal(X, ArrayType(FLOAT64, (3,))),)), "literal"),
    ]
    for program, message in cases:
        with pytest.raises(CheckError, match=message) as error:
            check(program, "here")
        assert "here" in str(error.value)
        assert isinstance(error.value, AssertionError)


def test_checker_names_the_equation_and_the_line() -> None:
    program = trace(lambda x: P.sin(P.cos(x)), [X])
    broken = Program(program.inputs, program.equations[1:], program.outputs)
    with pytest.raises(CheckError, match=r"sin.*test_ir\.py:\d+"):
        check(broken)


def test_checker_looks_into_programs_of_calls() -> None:
    x = Var(ArrayType(FLOAT64, (3,)))
    inner = Program((x,), (), (Var(ArrayType(FLOAT64, (3,))),))
    y = Var(x.type)
    call = Equation(P.ROSTER["call"], (x,), (("name", "f"), ("program", inner)), (y,))
    with pytest.raises(CheckError, match="before it is defined"):
        check(Program((x,), (call,), (y,)))


def test_run_counts_arguments() -> None:
    program = trace(lambda x: P.sin(x), [X])
    with pytest.raises(CheckError, match="1 inputs, got 2"):
        run(program, [X, X])


def test_programs_are_inlined_when_run_inside_a_builder() -> None:
    program = trace(lambda x: P.sin(x), [X])
    builder = Builder("outer")
    with builder:
        x = builder.add_input(ArrayType(FLOAT64, (3,)))
        outer, captures = builder.finish(run(program, run(program, [x])))
    assert not captures and [e.operation.name for e in check(outer).equations] == ["sin", "sin"]
