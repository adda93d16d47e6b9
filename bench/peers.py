"""What peers need beyond a call: JAX's loop-folding flag, and the graphs of PyTensor and CasADi.

A graph is built from the operands at hand: their shapes and dtypes are static, as they are for the other libraries.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.workload import Call, Prepare

FOLDING = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000000"


def with_folding(prepare: Prepare) -> Prepare:
    """Let JAX compile small loops into one kernel; its default runs one kernel after the other in each iteration."""

    def prepared(size: int) -> Call:
        given = os.environ.get("XLA_FLAGS", "")
        if FOLDING not in given:
            assert "jax" not in sys.modules, "the flag is read when JAX is imported"
            os.environ["XLA_FLAGS"] = f"{given} {FOLDING}".strip()
        return prepare(size)

    return prepared


def graph_of_pytensor(build: Callable[..., Any], operands: Sequence[np.ndarray]) -> Callable[..., Any]:
    """Compile what the builder makes of variables that stand for the operands; a tuple gives several results."""
    import pytensor
    import pytensor.tensor as tensor

    variables = [
        tensor.TensorType(operand.dtype.name, shape=operand.shape)(f"operand_{position}")
        for position, operand in enumerate(map(np.asarray, operands))
    ]
    made = build(pytensor, tensor)(*variables)
    several = isinstance(made, list | tuple)
    results = [pytensor.Out(tensor.as_tensor_variable(result), borrow=True) for result in (made if several else [made])]
    # A lent operand is read in place; nothing here allows a compiled graph to write over it.
    given = [pytensor.In(variable, borrow=True) for variable in variables]
    return pytensor.function(
        given, results if several else results[0], mode="NUMBA", trust_input=True, on_unused_input="ignore"
    )


def graph_of_casadi(
    build: Callable[..., Any], operands: Sequence[np.ndarray], *, compiled: bool, whole: bool = False
) -> Callable[[], Any]:
    """Make a function of CasADi's symbols that reads the operands where they are and writes new results every call.

    Its graph is one of numbers (SX), whose operations cost least, or of `whole` matrices (MX), which may call other graphs.

    A vector is a column of symbols. CasADi stores columns one after the other: a matrix is copied to that order beforehand, and
    a resulting one is a transposed view. Sparse results are made dense. The function is called through its buffers, which is
    CasADi's own way for calls that cost little.
    """
    import casadi

    given = [np.asfortranarray(operand, dtype=np.float64) for operand in operands]
    kind = casadi.MX if whole else casadi.SX
    symbols = [kind.sym(f"operand_{k}", *(operand.shape or (1, 1))) for k, operand in enumerate(given)]
    made = build(casadi)(*symbols)
    several = isinstance(made, list | tuple)
    results = [casadi.densify(kind(result)) for result in (made if several else [made])]
    options = {"jit": True, "compiler": "shell", "jit_cleanup": False, "jit_options": JIT_OF_CASADI} if compiled else {}
    with tempfile.TemporaryDirectory(prefix="gradxform-bench-") as folder:
        # What it compiles is written there and, once it is loaded, needed no longer.
        casadi.GlobalOptions.setTempWorkDir(f"{folder}/")
        function = casadi.Function("graph", symbols, results, options)
    buffer, run = function.buffer()
    for position, operand in enumerate(given):
        buffer.set_arg(position, operand.ravel(order="K").data)
    shapes = [tuple(int(extent) for extent in result.shape) for result in results]

    def call() -> Any:
        arrays = [np.empty(math.prod(shape)) for shape in shapes]
        for position, array in enumerate(arrays):
            buffer.set_res(position, array.data)
        run()
        shaped = [laid_out(array, shape) for array, shape in zip(arrays, shapes, strict=True)]
        return shaped if several else shaped[0]

    # What the function reads lives as long as the function does.
    call.__dict__["kept"] = (function, buffer, given)
    return call


# The linker is not told of fast maths: it would add start-up code that flushes subnormals in the whole process.
JIT_OF_CASADI = {
    "compiler": "g++",
    "flags": ["-O3", "-ffast-math", "-march=native", "-fopenmp"],
    "linker": "g++",
    "linker_flags": ["-fopenmp"],
    "cleanup": False,
}


def hessian_of_casadi(
    build: Callable[..., Any], operands: Callable[[int], Sequence[np.ndarray]], *, compiled: bool = False
) -> Prepare:
    """Make the Hessian of a function of numbers: CasADi computes what is not zero by structure, NumPy's zeros hold the rest."""

    def prepare(size: int) -> Call:
        import casadi

        (given,) = operands(size)
        places: list[np.ndarray] = []

        def entries(library: Any) -> Callable[[Any], Any]:
            def of(x: Any) -> Any:
                hessian, _ = library.hessian(build(library)(x), x)
                rows, columns = hessian.sparsity().get_triplet()
                places.append(np.array(rows) * given.size + np.array(columns))
                return casadi.vertcat(*hessian.nonzeros())

            return of

        compute = graph_of_casadi(entries, (given,), compiled=compiled)
        (flat,) = places

        def call() -> np.ndarray:
            dense = np.zeros(given.size**2)
            dense[flat] = compute()
            return dense.reshape(given.size, given.size)

        return Call("f()", {"f": call})

    return prepare


def laid_out(array: np.ndarray, shape: tuple[int, ...]) -> Any:
    """Give a result of CasADi, columns one after the other, the shape that NumPy would give it."""
    if shape == (1, 1):
        return array[0]
    return array if shape[1] == 1 else array.reshape(shape[::-1]).T
