"""Random functions that compute with complex numbers inside, and take and give real ones.

So the laws of `laws` hold for them as they stand: pairing, directions and differences are those of real numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from support.programs import FLOAT32, FLOAT64, INT64, Function, Seeded, Writer, inputs_for

#: Functions, and the factor and summand that bring a number of magnitude 2 into their domain, away from cuts and poles.
_FUNCTIONS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("exp", "expm1", "exp2", "sin", "cos", "sinh", "cosh", "square", "neg", "conj"), (1.0, 0.0)),
    **dict.fromkeys(("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "arccosh"), (0.25, 3.0)),
    **dict.fromkeys(("arcsin", "arccos", "arctan", "arcsinh", "arctanh", "tan", "tanh"), (0.25, 0.0)),
}
_LARGEST_ARGUMENT = 2.0


class ComplexWriter(Writer):
    """A writer of smooth functions, and of the magnitude away from 0."""

    #: Whether a step that takes any number may take a complex one.
    _widened = False

    def value(self, kinds: str = "biuf", rank: int = 0, condition: Callable[[Any], bool] | None = None) -> int | None:
        return super().value(kinds + "c" if self._widened and kinds.endswith("iuf") else kinds, rank, condition)

    def constant(self, dtype: np.dtype[Any]) -> Any:
        if dtype.kind != "c":
            return super().constant(dtype)
        number = self.pick([0.5, 1.0, -1.5, 2j, -1j, 1 + 0.5j, 0.25 - 1j])
        return number if self.chance(50) else dtype.type(number)

    def widened(self, step: Callable[[], int | None]) -> Callable[[], int | None]:
        def wide() -> int | None:
            self._widened = True
            try:
                return step()
            finally:
                self._widened = False

        return wide

    def small(self) -> int | None:
        """A complex value of moderate size."""
        return self.value("c", condition=lambda z: not z.size or bool(np.max(np.abs(z)) <= _LARGEST_ARGUMENT))

    def compose(self) -> int | None:
        x = self.value("f")
        if x is None:
            return None
        operands: tuple[Any, Any] = (x, self.partner(x))
        return self.put("complex", *(operands if self.chance(50) else operands[::-1]))

    def part(self) -> int | None:
        z = self.value("c")
        if z is None:
            return None
        name = self.pick(["real", "imag", "conj", "abs", "sign"])
        if name in ("abs", "sign") and self.values[z].size and np.min(np.abs(self.values[z])) < 0.2:
            return None
        return self.put(name, z)

    def function(self) -> int | None:
        z = self.small()
        if z is None:
            return None
        name = self.pick(list(_FUNCTIONS))
        factor, summand = _FUNCTIONS[name]
        return self.put(name, self.moved(z, factor, summand))

    def moved(self, z: Any, factor: float, summand: float) -> Any:
        for name, number, neutral in (("mul", factor, 1.0), ("add", summand, 0.0)):
            if z is not None and number != neutral:
                z = self.put(name, z, (self.values[z].dtype.type(number),))
        return z

    def quotient(self) -> int | None:
        divisor = self.small()
        if divisor is None:
            return None
        z = self.value("c", condition=lambda v: v.dtype == self.values[divisor].dtype and v.shape == self.values[divisor].shape)
        return None if z is None else self.put("div", z, self.moved(divisor, 0.25, 3.0))

    def power(self) -> int | None:
        z = self.small()
        if z is None:
            return None
        if self.chance(50):
            return self.put("integer_pow", self.moved(z, 0.25, 3.0), exponent=self.pick([-2, -1, 0, 2, 3]))
        return self.put("pow", self.moved(z, 0.25, 3.0), (self.values[z].dtype.type(0.5 - 0.25j),))

    def folded(self) -> int | None:
        z = self.value("c", rank=1)
        if z is None:
            return None
        if self.chance(60):
            return self.put(self.pick(["reduce_sum", "reduce_prod"]), z, axes=self.axes(z))
        axis = self.source.integer(0, self.values[z].ndim - 1)
        return self.put(self.pick(["cumsum", "cumprod"]), z, axis=axis, reverse=self.chance(40))

    def changed(self) -> int | None:
        """In a dtype of the other precision, or from real to complex and back."""
        x = self.value("fc")
        if x is None:
            return None
        widths = [np.dtype(np.complex128), FLOAT64] + ([np.dtype(np.complex64), FLOAT32] if FLOAT32 in self.dtypes else [])
        return self.put("convert", x, dtype=self.pick(widths))

    def smooth_steps(self) -> list[Callable[[], int | None]]:
        structural = [self.broadcast, self.reshape, self.transpose, self.slice_array, self.reverse, self.concatenate, self.pad,
                      self.dot, self.gather, self.scatter, self.binary, self.binary]
        own = [self.compose, self.compose, self.compose, self.part, self.part, self.function, self.function, self.function,
               self.quotient, self.power, self.folded, self.changed]
        return [*own, *map(self.widened, structural), self.unary, self.binary, self.compared]

    def compared(self) -> int | None:
        """A choice between two values by the parts of a complex one."""
        z = self.value("c", condition=lambda v: not v.size or bool(np.min(np.abs(v.real)) > 1e-2))
        if z is None:
            return None
        y = self.value("c", condition=lambda v: v.dtype == self.values[z].dtype and v.shape == self.values[z].shape)
        part = self.put("real", z)
        if y is None or part is None:
            return None
        condition = self.put("greater", part, (self.values[part].dtype.type(0),))
        return None if condition is None else self.put("select", condition, z, y)

    def write(self, count: int) -> Function:
        function = super().write(count)
        outputs: list[int] = []
        for number in function.outputs:
            if self.values[number].dtype.kind == "c":
                parts = (self.put("real", number), self.put("imag", number))
                outputs += [part for part in parts if part is not None]
            else:
                outputs.append(number)
        return Function(function.inputs, tuple(self.steps), tuple(outputs))


def seeded_complex(seed: int, longest: int = 16, narrow: bool = False) -> Function:
    """The random function of a seed; ``narrow``: of single precision too, whose differences say nothing."""
    source = Seeded(seed)
    writer = ComplexWriter(source, True, (FLOAT64, FLOAT32, INT64) if narrow else (FLOAT64, FLOAT64, INT64))
    inputs_for(writer, source.integer(1, 3), seed)
    return writer.write(source.integer(6, longest))
