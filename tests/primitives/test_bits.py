"""Numbers as patterns of bits: values for every dtype, batches, compiled and interpreted, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rule_checks import check_batching, trace

import gradxform as gx
from gradxform.core import run
from gradxform.errors import DTypeError
from gradxform.loopir.operations import evaluate_operation
from gradxform.primitives.bits import bitcast, greatest_common_divisor, population_count

INTEGERS = [np.dtype(code) for code in "bhilBHIL"]
PAIRS = [(np.dtype(one), np.dtype(other)) for group in ("bB", "hH", "iIf", "lLd") for one in group for other in group]


def patterns(dtype: Any) -> Any:
    """Numbers of every kind that ``dtype`` has, NaN with a payload and zeros of both signs among them."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    generator = np.random.default_rng(1)
    drawn = generator.integers(0, np.iinfo(unsigned).max, 40, dtype=unsigned, endpoint=True)
    edges = np.array([0, 1, np.iinfo(unsigned).max, np.iinfo(unsigned).max // 2 + 1], unsigned)
    return np.concatenate([drawn, edges]).view(dtype)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_bitcast_keeps_every_bit(source: Any, target: Any) -> None:
    x = patterns(source)
    program = trace(lambda v: bitcast(v, target), x)
    unsigned = f"u{source.itemsize}"
    for found in (run(program, [x])[0], gx.jit(lambda v: bitcast(v, target))(x)):
        assert found.dtype == target
        np.testing.assert_array_equal(found.view(unsigned), x.view(unsigned))
    if source != target:
        check_batching(trace(lambda v: bitcast(v, target), x[:3]), [x[:3]])
        for value in x:
            scalar = evaluate_operation("bitcast", [value], target)
            assert scalar.dtype == target and scalar.tobytes() == value.tobytes()


def test_bitcast_of_scalars_and_its_derivative() -> None:
    assert gx.jit(lambda x: bitcast(x, np.dtype(np.int64)))(1.0) == 0x3FF0000000000000
    assert gx.grad(lambda x: bitcast(bitcast(x, np.dtype(np.int64)) + 1, np.dtype(float)))(1.0) == 0.0


@pytest.mark.parametrize(("dtype", "target"), [(np.float64, np.int32), (np.int8, np.float32), (np.bool_, np.int8),
                                               (np.int8, np.bool_), (np.complex64, np.float64)])
def test_bitcast_refuses_other_sizes_and_kinds(dtype: Any, target: Any) -> None:
    with pytest.raises(DTypeError, match="bitcast"):
        trace(lambda v: bitcast(v, np.dtype(target)), np.ones(2, dtype))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_population_count(dtype: Any) -> None:
    x = patterns(dtype)
    mask = (1 << 8 * dtype.itemsize) - 1
    expected = np.array([(int(value) & mask).bit_count() for value in x], np.uint8)
    program = trace(population_count, x)
    for found in (run(program, [x])[0], gx.jit(population_count)(x)):
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal([evaluate_operation("population_count", [v], np.dtype(np.uint8)) for v in x], expected)
    check_batching(trace(population_count, x[:4]), [x[:4]])


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_greatest_common_divisor(dtype: Any) -> None:
    x = patterns(dtype)
    x, y = np.concatenate([x, x]), np.concatenate([np.roll(x, 1), np.array([0, 1, 12, 7] * 11).astype(dtype)])
    program = trace(greatest_common_divisor, x, y)
    expected = np.gcd(x, y)
    for found in (run(program, [x, y])[0], gx.jit(greatest_common_divisor)(x, y)):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)
    few = [x[:4], y[:4]]
    check_batching(trace(greatest_common_divisor, *few), few)


def test_integers_only() -> None:
    with pytest.raises(DTypeError, match="population_count"):
        trace(population_count, np.ones(2))
    with pytest.raises(DTypeError, match="greatest_common_divisor"):
        trace(greatest_common_divisor, np.ones(2), np.ones(2))
