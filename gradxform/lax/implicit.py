"""custom_root, custom_linear_solve, fixed_point: solutions that are differentiated by what they solve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.tracing import Traced, name_of, trace
from gradxform.core import current_builder, run, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import is_differentiable
from gradxform.errors import ArgumentError, ArgumentTypeError, NotDifferentiableError, ShapeError, TreeError
from gradxform.ir import ArrayType, Program
from gradxform.lax.loops import while_loop
from gradxform.lax.staging import Body, as_type, check_function, operand_leaves, with_common_constants, with_constants_first
from gradxform.linear import zeros
from gradxform.primitives.implicit import linear_solve, root
from gradxform.transforms import jvp as jvp_program
from gradxform.transforms import transpose as transpose_program

Solver = Callable[[Callable[[Any], Any], Any], Any]


def _operand(purpose: str, what: str, value: Any) -> tuple[list[Any], tree.TreeDef, list[ArrayType]]:
    """The leaves of an argument, all of them floats and none of them weak."""
    leaves, treedef = operand_leaves(purpose, what, value)
    types = []
    for leaf in leaves:
        found = type_of(leaf)
        if not is_differentiable(found.dtype):
            raise NotDifferentiableError(f"{purpose}: {what} must have a float dtype, got {found}: cast it with "
                                         f".astype(np.float64){user_line()}")
        types.append(found.strong())
    return [as_type(x, t) for x, t in zip(leaves, types, strict=True)], treedef, types


def _check_result(purpose: str, what: str, traced: Traced, treedef: tree.TreeDef, types: Sequence[ArrayType]) -> None:
    """TreeError or ShapeError unless a traced function gives what it takes."""
    if traced.treedef != treedef:
        raise TreeError(f"{purpose}: {what} must give a result of the structure {treedef}, got {traced.treedef}{user_line()}")
    for found, wanted in zip(traced.program.output_types, types, strict=True):
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise ShapeError(f"{purpose}: {what} must give a result of type {wanted}, got {found.strong()}{user_line()}")


def _solver(
    purpose: str, what: str, function: Callable[[Any], Any], values: Sequence[Any], treedef: tree.TreeDef,
    types: Sequence[ArrayType], has_aux: bool, known: bool = True,
) -> tuple[Body, tree.TreeDef | None]:
    """The program of a user's solver, checked, and the structure of its auxiliary result."""
    auxiliary: list[tree.TreeDef] = []

    def call(value: Any) -> Any:
        result = function(value)
        if not has_aux:
            return result
        if not (isinstance(result, (tuple, list)) and len(result) == 2):
            raise ArgumentTypeError(f"{purpose} with has_aux=True: {what} must return a pair (solution, auxiliary), got "
                                    f"{result!r}{user_line()}")
        auxiliary.append(tree.structure(result[1]))
        return tuple(result)

    traced = trace(call, values, types, lambda leaves: ((tree.unflatten(treedef, leaves),), {}), f"{purpose}: {what}",
                   known=known)
    if has_aux:
        solution = tree.structure(tree.unflatten(traced.treedef, range(len(traced.program.outputs)))[0])
    else:
        solution = traced.treedef
    count = solution.num_leaves
    only = Program(traced.program.inputs, traced.program.equations, traced.program.outputs[:count])
    _check_result(purpose, what, Traced(only, [], solution), treedef, types)
    return with_constants_first(traced), auxiliary[0] if has_aux else None


def _rebuilt(treedef: tree.TreeDef, auxiliary: tree.TreeDef | None, results: Sequence[Any]) -> Any:
    count = treedef.num_leaves
    value = tree.unflatten(treedef, results[:count])
    return value if auxiliary is None else (value, tree.unflatten(auxiliary, results[count:]))


def _function_of(program: Program, constants: Sequence[Any], treedef: tree.TreeDef) -> Callable[[Any], Any]:
    """``program`` of these constants as a function of a pytree."""

    def function(value: Any) -> Any:
        leaves, found = tree.flatten(value)
        if found != treedef:
            raise TreeError(f"expected a value of the structure {treedef}, got {found}{user_line()}")
        return tree.unflatten(treedef, run(program, [*constants, *leaves]))

    return function


# --------------------------------------------------------------------------------------------------- custom_linear_solve


def custom_linear_solve(
    matvec: Callable[[Any], Any], b: Any, solve: Solver, transpose_solve: Solver | None = None, symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """The solution x of ``matvec(x) = b``, with derivatives by the implicit function theorem.

    However ``solve`` works, its code is not differentiated: with A the matrix of ``matvec``, the tangent solves
    A dx = db - dA x, and the cotangent of b solves A^T cb = cx. ``matvec`` may close over what is differentiated.

    Args:
        matvec: a linear function of a pytree of float arrays, which gives one of the same structure and types.
        b: the right-hand side.
        solve: ``solve(matvec, b) -> x``.
        transpose_solve: ``transpose_solve(vecmat, b) -> x`` solves with the transposed matrix, of which ``vecmat`` is the
            product with a vector. Reverse mode needs it, unless ``symmetric``.
        symmetric: the matrix is symmetric, so that ``solve`` serves for both.
        has_aux: ``solve`` (and ``transpose_solve``) return (x, auxiliary), and so does this; the auxiliary result has no
            derivative.

    Raises:
        NotDifferentiableError: reverse mode without ``transpose_solve``, or ``matvec`` is not linear, or b is no float.
        TreeError, ShapeError: ``matvec`` or a solver give another structure or type than that of ``b``.

    >>> import numpy as np
    >>> from gradxform import grad
    >>> def divide(b, a):
    ...     return custom_linear_solve(lambda x: a * x, b, lambda matvec, b: b / matvec(1.0), symmetric=True)
    >>> grad(divide, argnums=(0, 1))(6.0, 2.0)
    (np.float64(0.5), np.float64(-1.5))
    """
    purpose = "custom_linear_solve"
    check_function(purpose, "matvec", matvec)
    check_function(purpose, "solve", solve)
    if transpose_solve is not None:
        check_function(purpose, "transpose_solve", transpose_solve)
    if current_builder() is None:
        return solve(matvec, b)
    values, treedef, types = _operand(purpose, "b", b)
    traced = trace(matvec, [None] * len(values), types, lambda leaves: ((tree.unflatten(treedef, leaves),), {}),
                   f"{purpose}: matvec", known=False)
    _check_result(purpose, f"matvec ({name_of(matvec)})", traced, treedef, types)
    product = with_constants_first(traced)
    forward, auxiliary = _solver(purpose, "solve", lambda value: solve(matvec, value), values, treedef, types, has_aux)
    bodies = [product, forward]
    if symmetric:
        bodies += [product, Body(_first(forward.program, len(types)), forward.constants)]
    elif transpose_solve is not None:
        count = len(product.constants)
        transposed = transpose_program(product.program, [False] * count + [True] * len(types))
        vecmat = _function_of(transposed, product.constants, treedef)
        backward, _ = _solver(purpose, "transpose_solve", lambda value: transpose_solve(vecmat, value), [None] * len(types),
                              treedef, types, has_aux, known=False)
        bodies += [Body(transposed, product.constants), Body(_first(backward.program, len(types)), backward.constants)]
    programs, constants = with_common_constants(bodies)
    found = [*programs, None, None]
    assert found[0] is not None and found[1] is not None
    results = linear_solve([*constants, *values], len(programs[1].outputs) - len(types), len(constants), found[0], found[1],
                           found[2], found[3])
    return _rebuilt(treedef, auxiliary, results)


def _first(program: Program, count: int) -> Program:
    """``program`` with its first ``count`` results only."""
    return Program(program.inputs, program.equations, program.outputs[:count], program.name)


# -------------------------------------------------------------------------------------------------------- custom_root


def custom_root(
    f: Callable[[Any], Any], initial_guess: Any, solve: Solver, tangent_solve: Solver, has_aux: bool = False
) -> Any:
    """A root of f, with derivatives by the implicit function theorem.

    However ``solve`` works, its code is not differentiated. With J the derivative of f at the root, the tangent of the root
    solves J dx = -df, where df is the tangent of f for x held fixed. ``f`` may close over what is differentiated;
    ``initial_guess`` has no influence on the root and gets derivative zero.

    Args:
        f: a function of a pytree of float arrays, which gives one of the same structure and types.
        initial_guess: where ``solve`` starts.
        solve: ``solve(f, initial_guess) -> x`` with f(x) = 0.
        tangent_solve: ``tangent_solve(g, y) -> t`` with g(t) = y for the linear function g = J: for scalars
            ``lambda g, y: y / g(1.0)``. Reverse mode transposes it, which works for plain arithmetic; for iterative
            methods let it call `custom_linear_solve`.
        has_aux: ``solve`` returns (x, auxiliary), and so does this; the auxiliary result has no derivative.

    Raises:
        NotDifferentiableError: reverse mode, and ``tangent_solve`` is not linear in y as far as can be seen.
        TreeError, ShapeError: ``f`` or a solver give another structure or type than that of ``initial_guess``.

    >>> from gradxform import grad
    >>> from gradxform.lax import fori_loop
    >>> def newton(f, x):
    ...     return fori_loop(0, 20, lambda _, x: x - f(x) / (2.0 * x), x)
    >>> def square_root(a):
    ...     return custom_root(lambda x: x * x - a, 1.0, newton, lambda g, y: y / g(1.0))
    >>> grad(square_root)(4.0), grad(grad(square_root))(4.0)
    (np.float64(0.25), np.float64(-0.03125))
    """
    purpose = "custom_root"
    for argument, function in (("f", f), ("solve", solve), ("tangent_solve", tangent_solve)):
        check_function(purpose, argument, function)
    if current_builder() is None:
        return solve(f, initial_guess)
    values, treedef, types = _operand(purpose, "initial_guess", initial_guess)
    count = len(types)

    def rebuild(leaves: list[Any]) -> Any:
        return (tree.unflatten(treedef, leaves),), {}

    traced = trace(f, [None] * count, types, rebuild, f"{purpose}: f", known=False)
    _check_result(purpose, f"f ({name_of(f)})", traced, treedef, types)
    residual = with_constants_first(traced)
    finder, auxiliary = _solver(purpose, "solve", lambda guess: solve(f, guess), values, treedef, types, has_aux)
    pushed, depends = jvp_program(residual.program, [False] * len(residual.constants) + [True] * count)

    def tangent(x: Any, y: Any) -> Any:
        def linearized(t: Any) -> Any:
            leaves, found = tree.flatten(t)
            if found != treedef:
                raise TreeError(f"{purpose}: the linear function that tangent_solve gets takes a value of the structure "
                                f"{treedef}, got {found}{user_line()}")
            given = [as_type(leaf, wanted) for leaf, wanted in zip(leaves, types, strict=True)]
            results = iter(run(pushed, [*residual.constants, *tree.leaves(x), *given])[count:])
            return tree.unflatten(treedef, [next(results) if flag else zeros(wanted)
                                            for flag, wanted in zip(depends, types, strict=True)])

        return tangent_solve(linearized, y)

    tangents = trace(tangent, [None] * (2 * count), [*types, *types],
                     lambda leaves: ((*rebuild(leaves[:count])[0], *rebuild(leaves[count:])[0]), {}),
                     f"{purpose}: tangent_solve", known=False)
    _check_result(purpose, "tangent_solve", tangents, treedef, types)
    _check_dependence(purpose, tangents.program, count)
    programs, constants = with_common_constants([residual, finder, with_constants_first(tangents)])
    results = root([*constants, *values], len(constants), *programs)
    return _rebuilt(treedef, auxiliary, results)


def _check_dependence(purpose: str, program: Program, count: int) -> None:
    """Each result of tangent_solve must come from y, its second argument."""
    dependent = set(program.inputs[count: 2 * count])
    for equation in program.equations:
        if any(x in dependent for x in equation.inputs):
            dependent.update(equation.outputs)
    if not all(x in dependent for x in program.outputs):
        raise NotDifferentiableError(f"{purpose}: a result of tangent_solve does not depend on y: it must give t with g(t) = y"
                                     f"{user_line()}")


# --------------------------------------------------------------------------------------------------------- fixed_point


def fixed_point(
    f: Callable[..., Any], x_init: Any, *params: Any, tolerance: float | None = None, max_iterations: int = 1000,
    solver: Solver | None = None, linear_solver: Solver | None = None,
) -> Any:
    """The fixed point ``x = f(x, *params)``, with derivatives by the implicit function theorem.

    Found by iterating f from ``x_init``; derivatives solve (I - df/dx) dx = (df/dp) dp by the same kind of iteration, which
    converges where that of f does, and as fast (B. Christianson, "Reverse accumulation and attractive fixed points",
    Optimization Methods and Software 3, 1994). Memory does not depend on the number of iterations.

    Args:
        f: a function of a pytree of float arrays and of ``params``, which gives one like the first.
        x_init: where the iteration starts; its derivative is zero.
        params: further arguments of f, with respect to which the fixed point is differentiated. Values that f closes over
            are, too.
        tolerance: the iteration ends when no element changes by more than this times the largest element, or 1 if that is
            larger. Default: 100 times the machine epsilon of the coarsest dtype.
        max_iterations: after so many iterations without convergence all elements of the result are NaN.
        solver: ``solver(step, x_init) -> x`` in place of the iteration, with ``step(x) = f(x, *params)``.
        linear_solver: ``linear_solver(matvec, b) -> x`` for the systems of the derivatives and for their transposes, where
            the iteration of f itself would not converge (Newton's method, say, as ``solver``).

    Raises:
        ArgumentError: ``tolerance`` is negative or ``max_iterations`` not positive.
        TreeError, ShapeError: f gives another structure or type than that of ``x_init``.

    >>> import numpy as np
    >>> from gradxform import grad
    >>> def dottie(a):
    ...     return fixed_point(lambda x, a: np.cos(a * x), 1.0, a)
    >>> x = dottie(1.0)
    >>> print(f"{x:.12f}")
    0.739085133215
    >>> print(f"{grad(dottie)(1.0):.9f} {-x * np.sin(x) / (1 + np.sin(x)):.9f}")
    -0.297474342 -0.297474342
    """
    purpose = "fixed_point"
    check_function(purpose, "f", f)
    for argument, function in (("solver", solver), ("linear_solver", linear_solver)):
        if function is not None:
            check_function(purpose, argument, function)
    _, treedef, types = _operand(purpose, "x_init", x_init)
    if tolerance is None:
        tolerance = 100 * max((float(np.finfo(t.dtype).eps) for t in types), default=0.0)
    if not tolerance >= 0:
        raise ArgumentError(f"{purpose}: tolerance must not be negative, got {tolerance!r}{user_line()}")
    if max_iterations < 1:
        raise ArgumentError(f"{purpose}: max_iterations must be positive, got {max_iterations!r}{user_line()}")
    iterate = _iteration(float(tolerance), int(max_iterations))

    def step(x: Any) -> Any:
        return f(x, *params)

    def residual(x: Any) -> Any:
        y = step(x)
        if tree.structure(y) != treedef:
            raise TreeError(f"{purpose}: f ({name_of(f)}) must give a result of the structure {treedef}, got "
                            f"{tree.structure(y)}{user_line()}")
        return tree.map_leaves(lambda a, b: a - b, x, y)

    def tangent_solve(g: Callable[[Any], Any], y: Any) -> Any:
        return custom_linear_solve(g, y, linear, linear)

    linear = linear_solver or _richardson(iterate)
    chosen = solver or iterate
    return custom_root(residual, x_init, lambda _, x: chosen(step, x), tangent_solve)


def _iteration(tolerance: float, max_iterations: int) -> Solver:
    def largest(value: Any) -> Any:
        parts = [np.max(np.abs(leaf)) for leaf in tree.leaves(value) if np.size(leaf)]
        result: Any = 0.0
        for part in parts:
            result = np.maximum(result, part)
        return result

    def iterate(step: Callable[[Any], Any], start: Any) -> Any:
        def goes_on(state: Any) -> Any:
            _, change, count = state
            return (change > tolerance) & (count < max_iterations)

        def advance(state: Any) -> Any:
            x, _, count = state
            y = step(x)
            change = largest(tree.map_leaves(lambda a, b: a - b, y, x)) / np.maximum(largest(y), 1.0)
            return y, change, count + 1

        x, change, _ = while_loop(goes_on, advance, (start, np.inf, 0))
        return tree.map_leaves(lambda leaf: np.where(change <= tolerance, leaf, np.nan)[()], x)

    return iterate


def _richardson(iterate: Solver) -> Solver:
    """A x = b by x <- x + (b - A x), which converges if the spectral radius of I - A is below 1."""

    def solve(matvec: Callable[[Any], Any], b: Any) -> Any:
        scale: Any = 0.0
        for leaf in tree.leaves(b):
            scale = np.maximum(scale, np.max(np.abs(leaf))) if np.size(leaf) else scale
        # Solved for b of size 1, so that the tolerance is a relative one; zero has the solution zero.
        scale = np.where(scale > 0, scale, 1.0)
        right = tree.map_leaves(lambda leaf: leaf / scale, b)
        x = iterate(lambda x: tree.map_leaves(lambda a, c, d: a + (c - d), x, right, matvec(x)), right)
        return tree.map_leaves(lambda leaf: leaf * scale, x)

    return solve
