"""Linear algebra of small real matrices, element by element.

    { c = cholesky a } with a: f64[100000,2,2]
      ->  l = sqrt(a00) ; m = a10 / l ; n = sqrt(a11 - m * m), each of them f64[100000], and c made of them

A routine of LAPACK takes longer to call than a matrix of 4 by 4 takes to factorise, and stands between the loops before and
after it. Written out, factorisations, solutions and the products around them are loops over the stack of matrices, which are
fused with each other and vectorised along the stack. So once there is such an operation, whatever is computed of its elements
by operations of the same matrices is written out as well: sums, products, transposes. An array is put together only where
something else needs it.

Pivots are chosen as LAPACK does. Where a routine would fail, `fail_when` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from gradxform.dtypes import bool_, int32, int64, is_float
from gradxform.ir import Atom, Equation, Literal, Program, Var
from gradxform.passes.rewriting import ELEMENTWISE, Rewriter, Vocabulary, literal

#: Matrices of more rows or columns are left to LAPACK.
LARGEST = 6

Index = tuple[int, ...]
#: The elements of an array at each index of its last axes, as arrays over the first ones; numbers stand for equal elements.
Cells = dict[Index, Atom]
Matrix = list[list[Atom]]

NOT_POSITIVE_DEFINITE = "Matrix is not positive definite"
SINGULAR = "Singular matrix"


def write_small_matrices(program: Program, vocabulary: Vocabulary) -> Program:
    """``program`` with operations of small matrices written out; the same object if there are none."""
    if not any(_is_small(equation) for equation in program.equations):
        return program
    return _Writer(program, vocabulary).run()


def _is_small(equation: Equation) -> bool:
    if equation.operation.name not in _FACTORISATIONS:
        return False
    return all(is_float(x.type.dtype) and max(x.type.shape[-2:]) <= LARGEST and 0 not in x.type.shape
               for x in equation.inputs if x.type.dtype.kind == "f") and all(
        x.type.dtype.kind != "c" for x in equation.inputs)


class _Writer:
    def __init__(self, program: Program, vocabulary: Vocabulary) -> None:
        self.program = program
        self.rewriter = Rewriter(vocabulary, {})
        #: Arrays known by their elements: the number of axes that these are indices of, and the elements.
        self.known: dict[Atom, tuple[int, Cells]] = {}
        self.taken: dict[tuple[Atom, int], Cells] = {}
        self.written: dict[Atom, Atom] = {}

    def run(self) -> Program:
        rewriter = self.rewriter
        for equation in self.program.equations:
            rewriter.source = equation.source
            name = equation.operation.name
            if _is_small(equation):
                _FACTORISATIONS[name](self, equation)
                continue
            if any(x in self.known for x in equation.inputs) and len(equation.outputs) == 1:
                rule = _elementwise if name in ELEMENTWISE else _RULES.get(name)
                if rule is not None:
                    found = rule(self, equation)
                    if found is not None:
                        self.known[equation.outputs[0]] = found
                        continue
            inputs = tuple([self.whole(x) for x in equation.inputs])
            rewriter.equations.append(Equation(
                equation.operation, inputs, equation.params, equation.outputs, equation.source))
            if len(equation.outputs) == 1:
                rewriter.defined[equation.outputs[0]] = rewriter.equations[-1]
        outputs = tuple([self.whole(x) for x in self.program.outputs])
        return Program(self.program.inputs, tuple(rewriter.equations), outputs, self.program.name)

    # ---------------------------------------------------------------------------------------------------- elements

    def emit(self, name: str, *inputs: Atom, **params: Any) -> Atom:
        return self.rewriter.emit(name, *inputs, **params)

    def cells(self, atom: Atom, axes: int) -> Cells:
        """The elements of an array at each index of its last ``axes``."""
        found = self.known.get(atom)
        if found is not None and found[0] == axes:
            return found[1]
        key = (atom, axes)
        if key not in self.taken:
            self.taken[key] = self._cells_of(atom, axes)
        return self.taken[key]

    def _cells_of(self, atom: Atom, axes: int) -> Cells:
        shape = atom.type.shape
        lead, tail = shape[:len(shape) - axes], shape[len(shape) - axes:]
        rank = len(lead)
        equation = None if atom in self.known else self.rewriter.defined.get(atom)
        name = "" if equation is None else equation.operation.name
        if equation is not None and name == "broadcast":
            return self._cells_of_broadcast(equation, lead, tail)
        if equation is not None and name == "iota" and dict(equation.params)["axis"] >= rank:
            place = dict(equation.params)["axis"] - rank
            return {index: literal(index[place], atom.type.dtype) for index in _indices(tail)}
        whole = self.whole(atom)
        found: Cells = {}
        for index in _indices(tail):
            start = (*[0] * rank, *index)
            limit = (*lead, *[i + 1 for i in index])
            part = whole if not axes else self.emit("slice", whole, start=start, limit=limit, strides=(1,) * len(shape))
            found[index] = part if part.type.shape == lead else self.emit("reshape", part, shape=lead)
        return found

    def _cells_of_broadcast(self, equation: Equation, lead: Index, tail: Index) -> Cells:
        (source,), params = equation.inputs, dict(equation.params)
        rank = len(lead)
        inner = [a for a in params["axes"] if a >= rank]
        outer = tuple([a for a in params["axes"] if a < rank])
        extents = [n for a, n in zip(params["axes"], source.type.shape, strict=True) if a >= rank]
        if source in self.known and self.known[source][0] != len(inner):
            parts = self.cells(self.whole(source), len(inner))
        else:
            parts = self.cells(source, len(inner))
        found: Cells = {}
        for index in _indices(tail):
            # An extent of 1 is repeated.
            part = parts[tuple([0 if n == 1 else index[a - rank] for a, n in zip(inner, extents, strict=True)])]
            if part.type.shape and part.type.shape != lead:
                part = self.emit("broadcast", part, shape=lead, axes=outer)
            found[index] = part
        return found

    def matrix(self, atom: Atom) -> Matrix:
        cells = self.cells(atom, 2)
        rows, columns = atom.type.shape[-2:]
        return [[cells[i, j] for j in range(columns)] for i in range(rows)]

    def whole(self, atom: Atom) -> Atom:
        """The array itself: put together if it is known by its elements."""
        if atom not in self.known:
            return atom
        if atom not in self.written:
            axes, cells = self.known[atom]
            shape = atom.type.shape
            lead, tail = shape[:len(shape) - axes], shape[len(shape) - axes:]
            dtype = atom.type.dtype

            def part(index: Index) -> Atom:
                if len(index) == axes:
                    value = cells[index]
                    if value.type.shape != lead:
                        value = self.emit("broadcast", value, shape=lead, axes=())
                    return self.emit("reshape", value, shape=(*lead, *[1] * axes)) if axes else value
                parts = [part((*index, i)) for i in range(tail[len(index)])]
                return parts[0] if len(parts) == 1 else self.emit("concatenate", *parts, axis=len(lead) + len(index))

            found = part(()) if 0 not in tail else self.rewriter.full(0, atom.type)
            assert found.type.dtype == dtype
            self.written[atom] = found
        return self.written[atom]

    def define(self, var: Var, cells: Cells, axes: int) -> None:
        self.known[var] = (axes, cells)

    def define_matrix(self, var: Var, matrix: Matrix) -> None:
        self.define(var, {(i, j): x for i, row in enumerate(matrix) for j, x in enumerate(row)}, 2)

    # -------------------------------------------------------------------------------------------------- arithmetic

    def mul(self, x: Atom, y: Atom) -> Atom:
        if _is_number(x, 1) or _is_number(y, 0):
            return y
        return x if _is_number(y, 1) or _is_number(x, 0) else self.emit("mul", x, y)

    def sub(self, x: Atom, y: Atom) -> Atom:
        return x if _is_number(y, 0) else self.emit("sub", x, y)

    def add(self, x: Atom, y: Atom) -> Atom:
        if _is_number(x, 0):
            return y
        return x if _is_number(y, 0) else self.emit("add", x, y)

    def select(self, condition: Atom, x: Atom, y: Atom) -> Atom:
        if isinstance(condition, Literal):
            return x if condition.value else y
        if x is y:
            return x
        if not (condition.type.shape or x.type.shape or y.type.shape):
            return self.emit("select", condition, x, y)
        shape = next(z.type.shape for z in (condition, x, y) if z.type.shape)
        return self.emit("select", condition, *[self.rewriter.shaped(z, shape) for z in (x, y)])

    def inner(self, pairs: Sequence[tuple[Atom, Atom]], start: Atom | None, sign: int) -> Atom:
        """start plus or minus the sum of products."""
        total = start
        for x, y in pairs:
            term = self.mul(x, y)
            if total is None:
                total = term if sign > 0 else self.emit("neg", term)
            else:
                total = self.add(total, term) if sign > 0 else self.sub(total, term)
        assert total is not None
        return total

    def fail_where(self, conditions: Sequence[Atom], message: str) -> None:
        """Let the program fail if one of ``conditions`` holds anywhere."""
        bad = conditions[0]
        for other in conditions[1:]:
            bad = self.emit("logical_or", bad, other)
        if bad.type.shape:
            bad = self.emit("reduce_or", bad, axes=tuple(range(bad.type.rank)))
        operation = self.rewriter.vocabulary["fail_when"]
        self.rewriter.equations.append(Equation(operation, (bad,), (("message", message),), (), self.rewriter.source))


def _indices(extents: Sequence[int]) -> Iterator[Index]:
    return product(*[range(n) for n in extents])


def _is_number(x: Atom, value: int) -> bool:
    """Whether ``x`` is known to be that number: an element that a mask has cut off, or one of the identity."""
    return isinstance(x, Literal) and bool(x.value == value)


# ------------------------------------------------------------------------------------------------- factorisations


def _cholesky(writer: _Writer, equation: Equation) -> None:
    params = dict(equation.params)
    (a,), (result,) = equation.inputs, equation.outputs
    n, zero = a.type.shape[-1], literal(0, a.type.dtype)
    given = writer.matrix(a)
    entries = [[given[j][i] if params["upper"] else given[i][j] for j in range(n)] for i in range(n)]
    factor: Matrix = [[zero] * n for _ in range(n)]
    bad: list[Atom] = []
    for j in range(n):
        pivot = writer.inner([(x, x) for x in factor[j][:j]], entries[j][j], -1)
        # A NaN is no failure: it shows in the factor, as with NumPy.
        bad.append(writer.emit("less_equal", pivot, zero))
        root = writer.emit("sqrt", pivot)
        scale = writer.emit("div", literal(1, a.type.dtype), root)
        factor[j][j] = root
        for i in range(j + 1, n):
            left = writer.inner(list(zip(factor[i][:j], factor[j][:j], strict=True)), entries[i][j], -1)
            factor[i][j] = writer.mul(left, scale)
    if params["checked"]:
        writer.fail_where(bad, NOT_POSITIVE_DEFINITE)
    else:
        failed = bad[0]
        for other in bad[1:]:
            failed = writer.emit("logical_or", failed, other)
        nothing = literal(float("nan"), a.type.dtype)
        factor = [[writer.select(failed, nothing, x) if j <= i else x for j, x in enumerate(row)]
                  for i, row in enumerate(factor)]
    writer.define_matrix(result, _transposed(factor) if params["upper"] else factor)


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def _solved(writer: _Writer, a: Matrix, b: Matrix, lower: bool, unit: bool) -> Matrix:
    """By substitution; one triangle of ``a`` is read."""
    n, columns = len(a), len(b[0])
    one = literal(1, b[0][0].type.dtype)
    x: Matrix = [[one] * columns for _ in range(n)]
    done: list[int] = []
    for i in range(n) if lower else reversed(range(n)):
        scale = one if unit else writer.emit("div", one, a[i][i])
        for k in range(columns):
            left = writer.inner([(a[i][j], x[j][k]) for j in done], b[i][k], -1)
            x[i][k] = writer.mul(left, scale)
        done.append(i)
    return x


def _zeros_on_diagonal(writer: _Writer, a: Matrix) -> list[Atom]:
    zero = literal(0, a[0][0].type.dtype)
    return [writer.emit("equal", a[i][i], zero) for i in range(len(a))]


def _triangular_solve(writer: _Writer, equation: Equation) -> None:
    params = dict(equation.params)
    a, b = (writer.matrix(x) for x in equation.inputs)
    lower = params["lower"]
    if params["mode"] != "N":
        a, lower = _transposed(a), not lower
    if params["checked"] and not params["unit"]:
        writer.fail_where(_zeros_on_diagonal(writer, a), SINGULAR)
    writer.define_matrix(equation.outputs[0], _solved(writer, a, b, lower, params["unit"]))


def _factorised(writer: _Writer, a: Matrix) -> tuple[Matrix, list[Atom], list[Atom]]:
    """Factors, the row that each pivot was found in, and the rows in their new order."""
    factors = [list(row) for row in a]
    m, n = len(a), len(a[0])
    dtype = a[0][0].type.dtype
    zero, one = literal(0, dtype), literal(1, dtype)
    rows: list[Atom] = [literal(i, int64) for i in range(m)]
    pivots: list[Atom] = []
    for k in range(min(m, n)):
        best, place = writer.emit("abs", factors[k][k]), literal(k, int32)
        found: Atom = place
        for i in range(k + 1, m):
            size = writer.emit("abs", factors[i][k])
            larger = writer.emit("greater", size, best)
            best = writer.select(larger, size, best)
            found = writer.select(larger, literal(i, int32), found)
        pivots.append(found)
        for i in range(k + 1, m):
            here = writer.emit("equal", found, literal(i, int32))
            row, other = factors[k], factors[i]
            for j in range(n):
                row[j], other[j] = writer.select(here, other[j], row[j]), writer.select(here, row[j], other[j])
            rows[k], rows[i] = writer.select(here, rows[i], rows[k]), writer.select(here, rows[k], rows[i])
        pivot = factors[k][k]
        if k + 1 < m:
            safe = writer.select(writer.emit("equal", pivot, zero), one, pivot)
            for i in range(k + 1, m):
                factors[i][k] = writer.emit("div", factors[i][k], safe)
                for j in range(k + 1, n):
                    factors[i][j] = writer.sub(factors[i][j], writer.mul(factors[i][k], factors[k][j]))
    return factors, pivots, rows


def _lu(writer: _Writer, equation: Equation) -> None:
    factors, pivots, rows = _factorised(writer, writer.matrix(equation.inputs[0]))
    writer.define_matrix(equation.outputs[0], factors)
    for var, values in zip(equation.outputs[1:], (pivots, rows), strict=True):
        writer.define(var, {(i,): x for i, x in enumerate(values)}, 1)


def _permuted(writer: _Writer, b: Matrix, rows: Sequence[Atom]) -> Matrix:
    """The rows of ``b`` in another order."""
    result: Matrix = []
    for row in rows:
        chosen = list(b[0])
        for j in range(1, len(b)):
            here = writer.emit("equal", row, literal(j, int64))
            chosen = [writer.select(here, new, old) for new, old in zip(b[j], chosen, strict=True)]
        result.append(chosen)
    return result


def _restored(writer: _Writer, x: Matrix, rows: Sequence[Atom]) -> Matrix:
    """The rows of ``x`` back in the places that ``rows`` took them from."""
    result: Matrix = []
    for i in range(len(x)):
        chosen = list(x[0])
        for j in range(1, len(x)):
            here = writer.emit("equal", rows[j], literal(i, int64))
            chosen = [writer.select(here, new, old) for new, old in zip(x[j], chosen, strict=True)]
        result.append(chosen)
    return result


def _with_factors(writer: _Writer, factors: Matrix, rows: Sequence[Atom], b: Matrix, mode: str) -> Matrix:
    if mode == "N":
        first = _solved(writer, factors, _permuted(writer, b, rows), True, True)
        return _solved(writer, factors, first, False, False)
    turned = _transposed(factors)
    first = _solved(writer, turned, b, True, False)
    return _restored(writer, _solved(writer, turned, first, False, True), rows)


def _checked(writer: _Writer, factors: Matrix, result: Matrix, checked: bool) -> Matrix:
    zeros = _zeros_on_diagonal(writer, factors)
    if checked:
        writer.fail_where(zeros, SINGULAR)
        return result
    singular = zeros[0]
    for other in zeros[1:]:
        singular = writer.emit("logical_or", singular, other)
    nothing = literal(float("nan"), factors[0][0].type.dtype)
    return [[writer.select(singular, nothing, x) for x in row] for row in result]


def _solve(writer: _Writer, equation: Equation) -> None:
    params = dict(equation.params)
    _, factors, rows, b = equation.inputs
    matrix = writer.matrix(factors)
    order = writer.cells(rows, 1)
    found = _with_factors(writer, matrix, [order[(i,)] for i in range(len(matrix))], writer.matrix(b), params["mode"])
    writer.define_matrix(equation.outputs[0], _checked(writer, matrix, found, params["checked"]))


def _inverse(writer: _Writer, equation: Equation) -> None:
    a = writer.matrix(equation.inputs[0])
    n, dtype = len(a), a[0][0].type.dtype
    factors, _, rows = _factorised(writer, a)
    identity: Matrix = [[literal(int(i == j), dtype) for j in range(n)] for i in range(n)]
    found = _with_factors(writer, factors, rows, identity, "N")
    writer.define_matrix(equation.outputs[0], _checked(writer, factors, found, dict(equation.params)["checked"]))


def _parity(writer: _Writer, pivots: Atom, dtype: Any) -> Atom:
    """1 or -1: whether an even or odd number of rows changed places."""
    odd: Atom = literal(False, bool_)
    for (i,), pivot in writer.cells(pivots, 1).items():
        moved = writer.emit("not_equal", pivot, literal(i, int32))
        odd = moved if isinstance(odd, Literal) and not odd.value else writer.emit("logical_xor", odd, moved)
    return writer.select(odd, literal(-1, dtype), literal(1, dtype))


def _determinant(writer: _Writer, equation: Equation) -> None:
    _, factors, pivots = equation.inputs
    entries = writer.matrix(factors)
    total = _parity(writer, pivots, factors.type.dtype)
    for i in range(len(entries)):
        total = writer.mul(total, entries[i][i])
    writer.define(equation.outputs[0], {(): total}, 0)


def _determinant_sign(writer: _Writer, equation: Equation) -> None:
    _, factors, pivots = equation.inputs
    entries = writer.matrix(factors)
    total = _parity(writer, pivots, factors.type.dtype)
    for i in range(len(entries)):
        total = writer.mul(total, writer.emit("sign", entries[i][i]))
    writer.define(equation.outputs[0], {(): total}, 0)


def _log_determinant(writer: _Writer, equation: Equation) -> None:
    entries = writer.matrix(equation.inputs[1])
    total = None
    for i in range(len(entries)):
        term = writer.emit("log", writer.emit("abs", entries[i][i]))
        total = term if total is None else writer.emit("add", total, term)
    assert total is not None
    writer.define(equation.outputs[0], {(): total}, 0)


def _half(writer: _Writer, x: Matrix) -> Matrix:
    """The lower triangle with half of the diagonal."""
    dtype = x[0][0].type.dtype
    return [[y if j < i else writer.mul(y, literal(0.5, dtype)) if i == j else literal(0, dtype) for j, y in enumerate(row)]
            for i, row in enumerate(x)]


def _product(writer: _Writer, x: Matrix, y: Matrix) -> Matrix:
    return [[writer.inner([(row[k], y[k][j]) for k in range(len(y))], None, 1) for j in range(len(y[0]))] for row in x]


def _lower_triangle(x: Matrix) -> Matrix:
    return [[y if j <= i else literal(0, y.type.dtype) for j, y in enumerate(row)] for i, row in enumerate(x)]


def _cholesky_tangent(writer: _Writer, equation: Equation) -> None:
    """L f(L^-1 T L^-T) for the symmetric T of which the lower triangle is read."""
    factor, t = (_lower_triangle(writer.matrix(x)) for x in equation.inputs)
    n = len(factor)
    whole = [[t[max(i, j)][min(i, j)] for j in range(n)] for i in range(n)]
    first = _solved(writer, factor, whole, True, False)
    inside = _solved(writer, factor, _transposed(first), True, False)
    writer.define_matrix(equation.outputs[0], _product(writer, factor, _half(writer, inside)))


def _cholesky_cotangent(writer: _Writer, equation: Equation) -> None:
    """f(L^-T (P + P^T) L^-1) for P = f(L^T C)."""
    factor, ct = (_lower_triangle(writer.matrix(x)) for x in equation.inputs)
    n, turned = len(factor), _transposed(factor)
    half = _half(writer, _product(writer, turned, ct))
    whole = [[half[i][j] if j < i else half[j][i] if j > i else writer.add(half[i][i], half[i][i]) for j in range(n)]
             for i in range(n)]
    first = _solved(writer, turned, whole, False, False)
    around = _solved(writer, turned, _transposed(first), False, False)
    writer.define_matrix(equation.outputs[0], _half(writer, around))


_FACTORISATIONS: Mapping[str, Callable[[_Writer, Equation], None]] = {
    "cholesky": _cholesky, "triangular_solve": _triangular_solve, "lu": _lu, "solve": _solve, "inverse": _inverse,
    "determinant": _determinant, "determinant_sign": _determinant_sign, "log_determinant": _log_determinant,
    "cholesky_tangent": _cholesky_tangent, "cholesky_cotangent": _cholesky_cotangent,
}

# ----------------------------------------------------------------------------------- what is done with the elements

_Found = tuple[int, Cells] | None


def _axes_of(writer: _Writer, equation: Equation) -> int:
    """By how many last axes the operands are known."""
    return next(writer.known[x][0] for x in equation.inputs if x in writer.known)


def _fits(atom: Atom, shape: Index, axes: int) -> bool:
    return not atom.type.shape or (atom.type.shape == shape and all(n <= LARGEST for n in shape[len(shape) - axes:]))


def _elementwise(writer: _Writer, equation: Equation) -> _Found:
    shape = equation.outputs[0].type.shape
    # A number beside arrays is the same in all cells.
    axes = max((writer.known[x][0] for x in equation.inputs if x in writer.known and x.type.shape == shape), default=None)
    if axes is None or not all(_fits(x, shape, axes) for x in equation.inputs):
        return None
    operands = [{} if not x.type.shape and shape else writer.cells(x, axes) for x in equation.inputs]
    found: Cells = {}
    for index in _indices(shape[len(shape) - axes:]):
        parts = [cells[index] if cells else writer.whole(x) for x, cells in zip(equation.inputs, operands, strict=True)]
        if equation.operation.name == "select":
            found[index] = writer.select(parts[0], parts[1], parts[2])
        else:
            found[index] = writer.emit(equation.operation.name, *parts, **dict(equation.params))
    return axes, found


def _transpose(writer: _Writer, equation: Equation) -> _Found:
    axes, permutation = _axes_of(writer, equation), dict(equation.params)["permutation"]
    rank = len(permutation) - axes
    if permutation[:rank] != tuple(range(rank)):
        return None
    cells = writer.cells(equation.inputs[0], axes)
    order = [a - rank for a in permutation[rank:]]
    return axes, {tuple([index[a] for a in order]): x for index, x in cells.items()}


def _reshape(writer: _Writer, equation: Equation) -> _Found:
    (x,), shape = equation.inputs, equation.outputs[0].type.shape
    axes = _axes_of(writer, equation)
    lead = x.type.shape[:x.type.rank - axes]
    if shape[:len(lead)] != lead or not all(n <= LARGEST * LARGEST for n in shape[len(lead):]):
        return None
    cells = writer.cells(x, axes)
    tail = shape[len(lead):]
    values = [cells[index] for index in _indices(x.type.shape[len(lead):])]
    return len(tail), dict(zip(_indices(tail), values, strict=True))


def _broadcast(writer: _Writer, equation: Equation) -> _Found:
    """To a stack of the same matrices, or along new last axes."""
    (x,), params = equation.inputs, dict(equation.params)
    axes, shape = _axes_of(writer, equation), params["shape"]
    lead = x.type.rank - axes
    if params["axes"][:lead] != tuple(range(lead)):
        return None
    inner = params["axes"][lead:]
    first = lead if lead or not inner else len(shape) - axes
    tail = shape[first:]
    if any(a < first for a in inner) or any(n > LARGEST for n in tail):
        return None
    cells = writer.cells(x, axes)
    found: Cells = {}
    for index in _indices(tail):
        # An extent of 1 is repeated.
        part = cells[tuple([0 if n == 1 else index[a - first] for a, n in zip(inner, x.type.shape[lead:], strict=True)])]
        if part.type.shape and part.type.shape != shape[:first]:
            part = writer.emit("broadcast", part, shape=shape[:first], axes=params["axes"][:lead])
        found[index] = part
    return len(tail), found


def _slice(writer: _Writer, equation: Equation) -> _Found:
    params, (x,) = dict(equation.params), equation.inputs
    axes = _axes_of(writer, equation)
    rank = x.type.rank - axes
    bounds = list(zip(params["start"], params["limit"], params["strides"], strict=True))
    if any(bound != (0, n, 1) for bound, n in zip(bounds[:rank], x.type.shape, strict=False)):
        return None
    cells = writer.cells(x, axes)
    ranges = [range(*bound) for bound in bounds[rank:]]
    return axes, {index: cells[tuple([r[i] for r, i in zip(ranges, index, strict=True)])]
                  for index in _indices([len(r) for r in ranges])}


def _concatenate(writer: _Writer, equation: Equation) -> _Found:
    axes, axis = _axes_of(writer, equation), dict(equation.params)["axis"]
    shape = equation.outputs[0].type.shape
    place = axis - (len(shape) - axes)
    if place < 0 or any(n > LARGEST for n in shape[len(shape) - axes:]):
        return None
    found: Cells = {}
    offset = 0
    for x in equation.inputs:
        for index, part in writer.cells(x, axes).items():
            found[(*index[:place], index[place] + offset, *index[place + 1:])] = part
        offset += x.type.shape[axis]
    return axes, found


def _dot_general(writer: _Writer, equation: Equation) -> _Found:
    """Products of matrices, and of vectors, that belong together."""
    params = dict(equation.params)
    batch = len(params["batch"][0])
    if params["batch"] != (tuple(range(batch)),) * 2:
        return None
    leads = [batch, batch]
    if not batch:
        # A stack times one matrix: the axes of the stack come first in the result too, or the product stays.
        leads = [x.type.rank - writer.known[x][0] if x in writer.known else 0 for x in equation.inputs]
        vector = len(params["contracting"][0]) == equation.inputs[0].type.rank
        if all(leads) or (leads[1] and not vector):
            return None
    if any(a < lead for axes, lead in zip(params["contracting"], leads, strict=True) for a in axes):
        return None
    tails = [x.type.shape[lead:] for x, lead in zip(equation.inputs, leads, strict=True)]
    if any(n > LARGEST for tail in tails for n in tail) or any(
            x in writer.known and writer.known[x][0] != len(tail) for x, tail in zip(equation.inputs, tails, strict=True)):
        return None
    left, right = (writer.cells(x, len(tail)) for x, tail in zip(equation.inputs, tails, strict=True))
    summed = [[a - lead for a in axes] for axes, lead in zip(params["contracting"], leads, strict=True)]
    free = [[a for a in range(len(tail)) if a not in own] for tail, own in zip(tails, summed, strict=True)]
    extents = [tails[0][a] for a in summed[0]]
    found: Cells = {}
    for index in _indices([tails[side][a] for side in (0, 1) for a in free[side]]):
        pairs: list[tuple[Atom, Atom]] = []
        for inner in _indices(extents):
            places: list[Index] = []
            for side, outer in ((0, index[:len(free[0])]), (1, index[len(free[0]):])):
                at = dict(zip(free[side], outer, strict=True)) | dict(zip(summed[side], inner, strict=True))
                places.append(tuple([at[a] for a in range(len(tails[side]))]))
            pairs.append((left[places[0]], right[places[1]]))
        found[index] = writer.inner(pairs, None, 1)
    return len(free[0]) + len(free[1]), found


def _reduce_sum(writer: _Writer, equation: Equation) -> _Found:
    (x,), reduced = equation.inputs, dict(equation.params)["axes"]
    axes = _axes_of(writer, equation)
    rank = x.type.rank - axes
    lead = x.type.shape[:rank]
    outer = tuple([a for a in reduced if a < rank])
    inner = [a - rank for a in reduced if a >= rank]
    kept = [a for a in range(axes) if a not in inner]
    sums: Cells = {}
    for index, part in writer.cells(x, axes).items():
        place = tuple([index[a] for a in kept])
        sums[place] = part if place not in sums else writer.add(sums[place], part)
    if outer:
        sums = {index: writer.emit("reduce_sum", writer.rewriter.shaped(part, lead), axes=outer)
                for index, part in sums.items()}
    return len(kept), sums


def _same(writer: _Writer, equation: Equation) -> _Found:
    """Derivatives have been taken: what stops them is gone."""
    return writer.known[equation.inputs[0]]


_RULES: Mapping[str, Callable[[_Writer, Equation], _Found]] = {
    "stop_gradient": _same,
    "transpose": _transpose, "reshape": _reshape, "broadcast": _broadcast, "slice": _slice, "concatenate": _concatenate,
    "dot_general": _dot_general, "reduce_sum": _reduce_sum,
}
