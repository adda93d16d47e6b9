"""ForwardAccumulator: derivatives along given tangents of what is computed while it is open."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.values import as_value
from gradxform.array import Array
from gradxform.core import Tracer, type_of
from gradxform.core.source import user_line
from gradxform.errors import GradxformError, NotDifferentiableError, ShapeError, TapeError, TreeError
from gradxform.ir import ArrayType, Var
from gradxform.tape.derivatives import push, zeros_like
from gradxform.tape.gradient_tape import Recorder, UnconnectedGradients, _plain, _result, check_tensor
from gradxform.tape.recording import Recording
from gradxform.tape.variable import Variable


class ForwardAccumulator(Recorder):
    """Jacobian-vector products of what is computed while it is open: forward mode.

    Args:
        primals: tensors or variables in any structure.
        tangents: for each primal the direction, of its shape and dtype, in the same structure.

    Accumulators nest, in each other and in tapes.

    >>> from gradxform.tape import constant
    >>> x = constant([2.0, 3.0])
    >>> with ForwardAccumulator(x, constant([1.0, 0.0])) as accumulator:
    ...     y = x * x
    >>> accumulator.jvp(y).numpy()
    array([4., 0.])
    """

    def __init__(self, primals: Any, tangents: Any) -> None:
        super().__init__()
        self._primals, treedef = tree.flatten(primals)
        directions, found = tree.flatten(tangents)
        if found != treedef and not (treedef.is_leaf() and isinstance(tangents, (list, tuple))):
            raise TreeError(
                f"ForwardAccumulator: tangents must have the structure of the primals, {treedef}, got {found}{user_line()}")
        if found != treedef:
            directions = [np.asarray(tangents)]
        for primal in self._primals:
            check_tensor("ForwardAccumulator", primal, "a primal")
        self._tangents = [_direction(tangent, primal) for tangent, primal in zip(directions, self._primals, strict=True)]
        self._vars: list[Var] = []

    def __enter__(self) -> ForwardAccumulator:
        entered_before = self._recording is not None
        recording = self._start()
        if not entered_before:
            try:
                self._vars = [self._watched(recording, primal) for primal in self._primals]
            except GradxformError:
                self._stop(failed=True)
                raise
        return self

    def _watched(self, recording: Recording, primal: Any) -> Var:
        if isinstance(primal, Variable):
            recording.watch_variable(primal)
            return list(recording.variables[id(primal)][1])[-1]
        var = self._var(recording, primal, "a primal")
        recording.watch(var)
        return var

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop(kind is not None)

    def jvp(
        self, primals: Any, unconnected_gradients: UnconnectedGradients = UnconnectedGradients.NONE
    ) -> Any:
        """The derivatives of ``primals``, results in any structure, along the tangents; None where there is no connection.

        With `UnconnectedGradients.ZERO` they are zeros there.
        """
        recording = self._recording
        if recording is None:
            raise TapeError(f"ForwardAccumulator.jvp: nothing was recorded: compute inside `with accumulator:`{user_line()}")
        recording.advance()
        recording.builder.steady.check()
        unconnected = UnconnectedGradients(unconnected_gradients)
        leaves, treedef = tree.flatten(primals)
        for leaf in leaves:
            check_tensor("ForwardAccumulator.jvp", leaf, "a result")
        atoms = [recording.builder.atom(_plain(leaf)) for leaf in leaves]
        found = push(recording, *self._directions(), atoms)
        results = []
        for leaf, tangent in zip(leaves, found, strict=True):
            if tangent is not None:
                results.append(_result(tangent))
            else:
                results.append(None if unconnected is UnconnectedGradients.NONE else _result(zeros_like(leaf.type)))
        return tree.unflatten(treedef, results)

    def _directions(self) -> tuple[list[Var], list[Any]]:
        """Each variable once, with the sum of its tangents: a tensor may be among the primals several times."""
        total: dict[Var, Any] = {}
        for var, tangent in zip(self._vars, self._tangents, strict=True):
            given = as_value(tangent, "ForwardAccumulator: a tangent")
            total[var] = total[var] + given if var in total else given
        return list(total), list(total.values())


def _direction(tangent: Any, primal: Tracer) -> Any:
    wanted = primal.type.strong()
    if not isinstance(tangent, Array):
        tangent = np.asarray(as_value(np.asarray(tangent) if isinstance(tangent, list) else tangent,
                                      "ForwardAccumulator: a tangent"))
    found: ArrayType = type_of(tangent)
    if found.shape != wanted.shape:
        raise ShapeError(
            f"ForwardAccumulator: a tangent has the shape of its primal: expected {wanted}, got {found}{user_line()}")
    if not np.can_cast(found.dtype, wanted.dtype, "same_kind"):
        raise NotDifferentiableError(
            f"ForwardAccumulator: a tangent has the dtype of its primal: expected {wanted}, got {found}{user_line()}")
    return tangent if found.dtype == wanted.dtype else tangent.astype(wanted.dtype)
