"""GradientTape: derivatives of what was computed while the tape was open."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from operator import index
from typing import Any

import numpy as np

from gradxform import tree
from gradxform.api.jacobians import basis
from gradxform.array import Array
from gradxform.core import Builder, Tracer, current_builder, type_of
from gradxform.core.source import user_line
from gradxform.dtypes import is_differentiable
from gradxform.errors import (
    ArgumentError,
    ArgumentTypeError,
    NotDifferentiableError,
    ShapeError,
    TapeError,
    TreeError,
)
from gradxform.ir import ArrayType, Literal, Var
from gradxform.linear import transpose
from gradxform.operands import as_operand
from gradxform.primitives import reshape
from gradxform.tape.derivatives import conjugated, levels, ones, pullback, zeros_like
from gradxform.tape.recording import Recording, run_effects
from gradxform.tape.tensor import Session, Tensor, is_compiled
from gradxform.tape.variable import Variable


class UnconnectedGradients(enum.Enum):
    """What a derivative is where the target does not depend on the source: None, or zeros of the source's shape."""

    NONE = "none"
    ZERO = "zero"


class Recorder:
    """What `GradientTape` and `ForwardAccumulator` have in common: when they record."""

    _watches_accessed = False

    def __init__(self) -> None:
        self._recording: Recording | None = None
        self._opened: Builder | None = None

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _start(self) -> Recording:
        recording = self._recording
        builder = current_builder()
        if recording is not None and recording.active:
            raise TapeError(f"{self._name}: it is entered already: make another one for a context inside its own{user_line()}")
        if recording is not None and builder is not recording.builder:
            if builder is not None:
                raise TapeError(
                    f"{self._name}: it recorded what {recording.builder.purpose} traced and cannot go on inside "
                    f"{builder.purpose}: make another one there{user_line()}")
            self._opened = recording.builder.__enter__()
        if recording is None:
            if builder is None:
                builder = self._opened = Session().__enter__()
            recording = self._recording = Recording(builder, self._watches_accessed)
            if isinstance(builder, Session):
                builder.recordings.add(recording)
        recording.start()
        return recording

    def _stop(self, failed: bool) -> None:
        # A tape that is used up inside its own context has no record any more, and may have opened a builder.
        if self._recording is not None and self._recording.active:
            self._recording.stop()
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.__exit__()
            if not failed:
                opened.steady.check()
                run_effects(opened)
            if isinstance(opened, Session):
                opened.release()

    def _var(self, recording: Recording, x: Any, what: str) -> Var:
        """The variable of the builder that a tensor is."""
        if is_compiled(x):
            raise ArgumentError(
                f"{self._name}: {what} of type {x.type} was compiled into a jitted function as a constant, and would be missed "
                f"there: pass it to that function as an argument{user_line()}")
        atom = recording.builder.atom(x)
        if isinstance(atom, Literal):  # a number that became an array: from now on one that can be told from others
            x.atom = atom = recording.builder.atom(Tensor.of(np.asarray(atom.value)))
            x.builder = recording.builder
        assert isinstance(atom, Var)
        return atom


def check_tensor(name: str, x: Any, what: str) -> None:
    """Raise ArgumentTypeError unless ``x`` is traced, NotDifferentiableError unless it is of a float dtype."""
    if not isinstance(x, Tracer):
        raise ArgumentTypeError(
            f"{name}: {what} must be a tensor, a Variable or a traced array, got {type(x).__name__}: make a tensor of it with "
            f"gradxform.tape.constant, before the computation{user_line()}")
    if not is_differentiable(x.type.dtype):
        raise NotDifferentiableError(
            f"{name}: {what} must be of a float dtype, got {x.type}: cast it, or make it with constant(value, "
            f"dtype='float64'){user_line()}")


class GradientTape(Recorder):
    """Records what is computed while it is open, for derivatives of results with respect to what it watches.

    Args:
        persistent: whether more than one derivative may be asked for.
        watch_accessed_variables: whether trainable `Variable` objects that are read are watched.

    While no function is being transformed, what is computed inside consists of tensors that have values, so Python's ``if``
    and ``while`` may depend on them. Inside `gradxform.jit`, `grad` and the others a tape records what these trace.
    Tapes nest: an outer one records the derivatives that an inner one gives.

    >>> from gradxform.tape import GradientTape, constant
    >>> x = constant(3.0)
    >>> with GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = x * x
    >>> print(tape.gradient(y, x))
    tf.Tensor(6.0, shape=(), dtype=float64)
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        super().__init__()
        self._persistent = persistent
        self._watches_accessed = watch_accessed_variables
        self._used = False

    def __enter__(self) -> GradientTape:
        if self._used:
            self._used, self._recording = False, None
        self._start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop(kind is not None)

    def watch(self, tensor: Any) -> None:
        """Record from now on what is computed from ``tensor``, a tensor or a nested structure of tensors.

        Raises ArgumentTypeError for what is no tensor, NotDifferentiableError for integers, TapeError if the tape is not
        open.
        """
        recording = self._recorded("watch")
        if not recording.active:
            raise TapeError(f"GradientTape.watch: the tape is not recording: call it inside `with tape:`{user_line()}")
        for leaf in tree.leaves(tensor):
            check_tensor("GradientTape.watch", leaf, "what is watched")
            if isinstance(leaf, Variable):
                recording.watch_variable(leaf)
            else:
                recording.watch(self._var(recording, leaf, "what is watched"))

    def stop_recording(self) -> AbstractContextManager[None]:
        """Within this block the tape records nothing: what is computed there is constant to it.

        >>> from gradxform.tape import GradientTape, constant
        >>> x = constant(3.0)
        >>> with GradientTape() as tape:
        ...     tape.watch(x)
        ...     with tape.stop_recording():
        ...         scale = 1.0 / x
        ...     y = scale * x
        >>> tape.gradient(y, x).numpy()
        np.float64(0.3333333333333333)
        """
        recording = self._recorded("stop_recording")
        if not recording.active:
            raise TapeError(f"GradientTape.stop_recording: the tape is not recording{user_line()}")
        return self._paused(recording)

    @contextmanager
    def _paused(self, recording: Recording) -> Iterator[None]:
        recording.stop()
        try:
            yield
        finally:
            if self._recording is recording:  # it was not used up meanwhile
                recording.start()

    def reset(self) -> None:
        """Forget everything that was recorded and watched; what follows is recorded as on a new tape."""
        recording = self._recorded("reset")
        recording.clear()

    def watched_variables(self) -> tuple[Variable, ...]:
        """The variables that are watched, in the order in which they were first."""
        return tuple(variable for variable, _ in self._recorded("watched_variables").variables.values())

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None,
        unconnected_gradients: UnconnectedGradients = UnconnectedGradients.NONE,
    ) -> Any:
        """The derivative of the sum of all elements of ``target`` with respect to each of ``sources``.

        Args:
            target: a tensor or a nested structure of tensors.
            sources: tensors or variables in any structure, intermediate results included.
            output_gradients: cotangents in the structure of ``target``, each of its tensor's shape; None, also for one
                tensor, stands for ones.
            unconnected_gradients: what a source gets on which the target does not depend, or that is not watched.

        Returns:
            A tensor for each source, of its shape and dtype, in the structure of ``sources``. With respect to a complex
            source x + i y it is df/dx + i df/dy, TensorFlow's convention: the conjugate of `gradxform.grad`'s.

        Raises:
            TapeError: the tape is not persistent and was used.
            NotDifferentiableError: integers.
            ShapeError: ``output_gradients`` do not fit.
        """
        recording = self._read("gradient")
        leaves, treedef = tree.flatten(target)
        for leaf in leaves:
            check_tensor("GradientTape.gradient", leaf, "a target")
        seeds = self._seeds(leaves, treedef, output_gradients)
        return self._derivatives(
            recording, leaves, sources, unconnected_gradients, (),
            lambda pulled: pulled.once(seeds))

    def jacobian(
        self, target: Any, sources: Any, unconnected_gradients: UnconnectedGradients = UnconnectedGradients.NONE,
        parallel_iterations: int | None = None, experimental_use_pfor: bool = True,
    ) -> Any:
        """The derivative of each element of ``target`` with respect to each element of ``sources``.

        Args:
            target: a tensor.
            sources: tensors or variables in any structure.
            unconnected_gradients: as in `gradient`.
            parallel_iterations: how many rows (elements of ``target``) are computed at once, which bounds the memory; all
                if None.
            experimental_use_pfor: True computes rows together, batched as by `vmap`; False one after the other in a loop.

        Returns:
            A tensor of shape ``target.shape + source.shape`` for each source, in the structure of ``sources``.

        >>> from gradxform.tape import GradientTape, constant
        >>> x = constant([1.0, 2.0])
        >>> with GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = x * x
        >>> tape.jacobian(y, x).numpy()
        array([[2., 0.],
               [0., 4.]])
        """
        recording = self._read("jacobian")
        check_tensor("GradientTape.jacobian", target, "the target")
        at_once = _at_once("jacobian", parallel_iterations, experimental_use_pfor)
        array_type = target.type.strong()
        return self._derivatives(
            recording, [target], sources, unconnected_gradients, array_type.shape,
            lambda pulled: [_reshaped(rows, array_type.shape) for rows in
                            pulled.rows(basis(array_type), array_type.size, at_once)])

    def batch_jacobian(
        self, target: Any, source: Any, unconnected_gradients: UnconnectedGradients = UnconnectedGradients.NONE,
        parallel_iterations: int | None = None, experimental_use_pfor: bool = True,
    ) -> Any:
        """The Jacobian of each row of ``target`` with respect to the same row of ``source``, stacked.

        It is right only where a row of the target depends on no other row of the source: then it is the batch diagonal of
        `jacobian`, at the cost of one row's. Where rows do depend on others, the derivatives of all rows of the target are
        summed, as in TensorFlow.

        Args:
            target: a tensor of shape ``(b, ...)``, of rank 2 or more.
            source: a tensor or variable of shape ``(b, ...)``, of rank 2 or more.
            unconnected_gradients, parallel_iterations, experimental_use_pfor: as in `jacobian`.

        Returns:
            A tensor of shape ``(b, *target.shape[1:], *source.shape[1:])``.

        Raises:
            ShapeError: a rank below 2, or batch axes of different extents.

        >>> from gradxform.tape import GradientTape, constant
        >>> x = constant([[1.0, 2.0], [3.0, 4.0]])
        >>> with GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = x * x
        >>> tape.batch_jacobian(y, x).numpy()
        array([[[2., 0.],
                [0., 4.]],
        <BLANKLINE>
               [[6., 0.],
                [0., 8.]]])
        """
        recording = self._read("batch_jacobian")
        check_tensor("GradientTape.batch_jacobian", target, "the target")
        check_tensor("GradientTape.batch_jacobian", source, "the source")
        at_once = _at_once("batch_jacobian", parallel_iterations, experimental_use_pfor)
        array_type = target.type.strong()
        _check_batch(array_type.shape, source.type.shape)
        extent, *rest = array_type.shape
        row = ArrayType(array_type.dtype, tuple(rest))
        unit = np.asarray(np.eye(row.size, dtype=row.dtype)).reshape(row.size, 1, *rest)
        seeds = np.ascontiguousarray(np.broadcast_to(unit, (row.size, extent, *rest)))
        return self._derivatives(
            recording, [target], source, unconnected_gradients, array_type.shape,
            lambda pulled: [_batch_blocks(rows, row.shape) for rows in pulled.rows(seeds, row.size, at_once)],
            batched=True)

    # ------------------------------------------------------------------------------------------------------ inside

    def _recorded(self, method: str) -> Recording:
        if self._used:
            raise TapeError(
                f"GradientTape.{method}: the tape was used by an earlier gradient or jacobian, and may be used once only: make "
                f"it with GradientTape(persistent=True){user_line()}")
        if self._recording is None:
            raise TapeError(f"GradientTape.{method}: nothing was recorded: compute inside `with tape:`{user_line()}")
        return self._recording

    def _read(self, method: str) -> Recording:
        """The record, which a tape that is not persistent gives out once."""
        recording = self._recorded(method)
        recording.advance()
        recording.builder.steady.check()
        if not self._persistent:
            if recording.active:
                recording.stop()
            self._used, self._recording = True, None
        return recording

    def _seeds(self, leaves: Sequence[Any], treedef: tree.TreeDef, output_gradients: Any) -> list[Any]:
        given = [None] * len(leaves) if output_gradients is None else _children(output_gradients, treedef)
        seeds = []
        for leaf, value in zip(leaves, given, strict=True):
            array_type = leaf.type.strong()
            if value is None:
                seeds.append(ones(array_type))
                continue
            value = as_operand("GradientTape.gradient: output_gradients", value)
            if current_builder() is None and isinstance(value, Tracer):
                value = value.held()
            found = type_of(value)
            if found.shape != array_type.shape:
                raise ShapeError(
                    f"GradientTape.gradient: an output gradient has the shape of its target: expected {array_type}, got {found}"
                    f"{user_line()}")
            seeds.append(conjugated(_cast(value, array_type)))
        return seeds

    def _derivatives(
        self, recording: Recording, targets: Sequence[Any], sources: Any, unconnected: Any, target_shape: tuple[int, ...],
        derive: Any, batched: bool = False,
    ) -> Any:
        """A derivative for each of ``sources``, ``derive(pullback)`` giving those of several at a time."""
        if not isinstance(unconnected, UnconnectedGradients):
            try:
                unconnected = UnconnectedGradients(unconnected)
            except ValueError:
                raise ArgumentError(f"GradientTape: unconnected_gradients must be UnconnectedGradients.NONE or ZERO, got "
                                    f"{unconnected!r}{user_line()}") from None
        leaves, treedef = tree.flatten(sources)
        for leaf in leaves:
            check_tensor("GradientTape", leaf, "a source")
        stand_for = [[var for var in recording.vars_of(leaf) if var in recording.tracked] for leaf in leaves]
        wanted = list(dict.fromkeys(var for found in stand_for for var in found))
        atoms = [recording.builder.atom(_plain(target)) for target in targets]
        found: dict[Var, Any] = {}
        if any(atom in recording.tracked for atom in atoms):
            level = levels(recording, wanted)
            for number in sorted(set(level)):
                group = [var for var, each in zip(wanted, level, strict=True) if each == number]
                found.update(zip(group, derive(pullback(recording, group, atoms)), strict=True))
        results = []
        for leaf, standing in zip(leaves, stand_for, strict=True):
            parts = [found[var] for var in standing if found.get(var) is not None]
            if parts:
                total = parts[0]
                for part in parts[1:]:
                    total = total + part
                results.append(_result(conjugated(total)))
            elif unconnected is UnconnectedGradients.NONE:
                results.append(None)
            else:
                shape = leaf.type.shape[1:] if batched else leaf.type.shape
                results.append(_result(zeros_like(ArrayType(leaf.type.dtype, (*target_shape, *shape)))))
        if not self._persistent and isinstance(recording.builder, Session):
            recording.builder.recordings.discard(recording)
            recording.builder.release()
        return tree.unflatten(treedef, results)


def _plain(tensor: Any) -> Any:
    return tensor.alias() if isinstance(tensor, Variable) else tensor


def _children(output_gradients: Any, treedef: tree.TreeDef) -> list[Any]:
    """What ``output_gradients`` has for each tensor of the target; None stands for ones."""
    try:
        return treedef.flatten_up_to(output_gradients)
    except ValueError:
        raise TreeError(
            f"GradientTape.gradient: output_gradients must have the structure of the target, {treedef}, got "
            f"{tree.structure(output_gradients)}{user_line()}") from None


def _cast(value: Any, array_type: ArrayType) -> Any:
    if not np.can_cast(type_of(value).dtype, array_type.dtype, "same_kind"):
        raise NotDifferentiableError(
            f"GradientTape.gradient: an output gradient has the dtype of its target: expected {array_type}, got "
            f"{type_of(value)}{user_line()}")
    return value.astype(array_type.dtype) if isinstance(value, Array) else np.asarray(value, array_type.dtype)[()]


def _result(value: Any) -> Any:
    """Tensors are what is not traced by somebody else."""
    return value if isinstance(value, Tracer) else Tensor.of(value)


def _at_once(method: str, parallel_iterations: Any, use_pfor: bool) -> int | None:
    if parallel_iterations is None:
        return None if use_pfor else 1
    try:
        number = index(parallel_iterations)
    except TypeError:
        number = 0
    if number < 1:
        raise ArgumentError(
            f"GradientTape.{method}: parallel_iterations must be a positive int or None, got {parallel_iterations!r}"
            f"{user_line()}")
    return number if use_pfor else 1


def _reshaped(rows: Any, shape: tuple[int, ...]) -> Any:
    """(size, *source) -> (*target, *source)."""
    return None if rows is None else reshape(rows, (*shape, *type_of(rows).shape[1:]))


def _batch_blocks(rows: Any, shape: tuple[int, ...]) -> Any:
    """(size, b, *source) -> (b, *target, *source)."""
    if rows is None:
        return None
    _, extent, *rest = type_of(rows).shape
    turned = transpose(rows, (1, 0, *range(2, 2 + len(rest))))
    return reshape(turned, (extent, *shape, *rest))


def _check_batch(target: tuple[int, ...], source: tuple[int, ...]) -> None:
    for what, shape in (("target", target), ("source", source)):
        if len(shape) < 2:
            raise ShapeError(
                f"GradientTape.batch_jacobian: the {what} must have a batch axis and at least one more, got shape {shape}: use "
                f"jacobian{user_line()}")
    if target[0] != source[0]:
        raise ShapeError(
            f"GradientTape.batch_jacobian: target and source must have batch axes of one extent, got shapes {target} and "
            f"{source}: use jacobian{user_line()}")
