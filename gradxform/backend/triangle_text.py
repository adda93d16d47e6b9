"""Small triangles as LLVM text: what the blocked algorithms of `blocked_text` end in.

    solve     M X = B for a lower triangle of up to `LEAF` rows and many columns, in strips of vectors that stay in registers
    turned    the same where the columns of X are rows in memory: they are turned into columns, and back
    vector    the same for a single column, and a triangle of any size
    factor    the lower factor of a symmetric matrix of up to `LEAF` rows, and
    cotangent what becomes of the factor's cotangent
    mirror    A + A^T of a lower triangle A of any size

Element (i, j) of a triangle lies at i * row + j * step, line i of X at i * line. Strides may be negative: an upper triangle
is a lower one from its end. Diagonals are inverted once, and multiplied by, as BLAS does.
"""

from __future__ import annotations

from collections.abc import Callable

from gradxform.backend.gemm_text import Geometry, TextWriter, first_lanes, masks, transposed, vector_type
from gradxform.backend.routine_text import RoutineWriter

#: Rows of a triangle that is not divided any further.
LEAF = 32
#: Vectors of a strip, at most, and how narrow strips become at the end of the lines.
_STRIPS = (8, 4, 2, 1)
_TRIANGLE = "ptr %m, i64 %row, i64 %step"
_SOLVE = "ptr %m, i64 %row, i64 %step, ptr %x, i64 %line, i64 %n, i64 %count, i64 %unit"


def _spread(w: TextWriter, number: str, lanes: int) -> str:
    vector = f"<{lanes} x {w.element}>"
    one = w.let(f"insertelement {vector} poison, {w.element} {number}, i32 0")
    return w.let(f"shufflevector {vector} {one}, {vector} poison, <{lanes} x i32> zeroinitializer")


def _inverse(w: TextWriter, diagonal: str) -> str:
    """The inverse of the number at ``diagonal``, or 1 if the diagonal is ``%unit``."""
    found = w.let(f"fdiv {w.element} 1.0, {w.let(f'load {w.element}, ptr {diagonal}')}")
    return w.let(f"select i1 {w.let('icmp ne i64 %unit, 0')}, {w.element} 1.0, {w.element} {found}")


def _strip(geometry: Geometry, vectors: int, masked: bool) -> str:
    """The solution for a strip of columns; with a mask, for the first ``%tail`` lanes of one vector."""
    w, lanes, size = TextWriter(geometry.element), geometry.lanes, geometry.item_bytes
    vector, kind = vector_type(geometry.element, lanes)
    if masked:
        mask = first_lanes(w, lanes, "%tail")

    def load(line: str, column: int) -> str:
        place = w.moved(line, column * lanes) if column else line
        if masked:
            return w.let(f"call {vector} @llvm.masked.load.{kind}.p0(ptr {place}, i32 {size}, <{lanes} x i1> {mask}, "
                         f"{vector} zeroinitializer)")
        return w.let(f"load {vector}, ptr {place}, align {size}")

    w.go("rows")
    w.at("rows")
    w.do("%i = phi i64 [0, %start], [%i.next, %known]")
    w.do("%own = phi ptr [%x, %start], [%own.next, %known]")
    w.do("%elements = phi ptr [%m, %start], [%elements.next, %known]")
    begun = [load("%own", column) for column in range(vectors)]
    w.branch(w.let("icmp sgt i64 %i, 0"), "sum", "known")
    w.at("sum")
    w.do("%left = phi i64 [%i, %rows], [%left.next, %sum]")
    w.do("%element = phi ptr [%elements, %rows], [%element.next, %sum]")
    w.do("%other = phi ptr [%x, %rows], [%other.next, %sum]")
    for column in range(vectors):
        w.do(f"%sum{column} = phi {vector} [{begun[column]}, %rows], [%next{column}, %sum]")
    factor = w.let(f"load {w.element}, ptr %element")
    factor = _spread(w, w.let(f"fneg {w.element} {factor}"), lanes)
    for column in range(vectors):
        w.do(f"%next{column} = call {vector} @llvm.fmuladd.{kind}({vector} {factor}, {vector} {load('%other', column)}, "
             f"{vector} %sum{column})")
    w.do(f"%element.next = getelementptr {w.element}, ptr %element, i64 %step")
    w.do(f"%other.next = getelementptr {w.element}, ptr %other, i64 %line")
    w.do("%left.next = add nsw i64 %left, -1")
    w.branch(w.let("icmp sgt i64 %left.next, 0"), "sum", "known")
    w.at("known")
    for column in range(vectors):
        w.do(f"%found{column} = phi {vector} [{begun[column]}, %rows], [%next{column}, %sum]")
    inverse = _spread(w, _inverse(w, w.moved("%elements", w.mul("%i", "%step"))), lanes)
    for column in range(vectors):
        value = f"{vector} {w.let(f'fmul {vector} %found{column}, {inverse}')}"
        place = w.moved("%own", column * lanes) if column else "%own"
        w.do(f"call void @llvm.masked.store.{kind}.p0({value}, ptr {place}, i32 {size}, <{lanes} x i1> {mask})" if masked
             else f"store {value}, ptr {place}, align {size}")
    w.do("%i.next = add nsw i64 %i, 1")
    w.do(f"%own.next = getelementptr {w.element}, ptr %own, i64 %line")
    w.do(f"%elements.next = getelementptr {w.element}, ptr %elements, i64 %row")
    w.branch(w.let("icmp slt i64 %i.next, %n"), "rows", "done")
    w.at("done")
    w.do("ret void")
    name = "masked" if masked else f"strip{vectors}"
    return w.function(f"internal void @{name}({_TRIANGLE}, ptr %x, i64 %line, i64 %n, i64 %unit, i64 %tail)")


def _solve(geometry: Geometry, name: str) -> str:
    w, lanes = TextWriter(geometry.element), geometry.lanes
    given = "ptr %m, i64 %row, i64 %step"
    begin = "0"
    for vectors in _STRIPS:
        width = vectors * lanes
        end = w.let(f"and i64 %count, -{width}")
        with w.loop(begin, end, str(width)) as column:
            w.do(f"call void @strip{vectors}({given}, ptr {w.moved('%x', column)}, i64 %line, i64 %n, i64 %unit, i64 0)")
        begin = end
    w.branch(w.let(f"icmp slt i64 {begin}, %count"), "some", "none")
    w.at("some")
    tail = w.sub("%count", begin)
    w.do(f"call void @masked({given}, ptr {w.moved('%x', begin)}, i64 %line, i64 %n, i64 %unit, i64 {tail})")
    w.go("none")
    w.at("none")
    w.do("ret void")
    vector, kind = vector_type(geometry.element, lanes)
    return "\n".join([
        f"declare {vector} @llvm.fmuladd.{kind}({vector}, {vector}, {vector})", *masks(geometry.element, lanes),
        *(_strip(geometry, vectors, False) for vectors in _STRIPS), _strip(geometry, 1, True),
        w.function(f"void @{name}({_SOLVE})")])


def _turned(geometry: Geometry, name: str) -> str:
    """X has ``count`` columns, ``across`` apart; ``line`` is 1 or -1."""
    w, lanes, size, group = TextWriter(geometry.element), geometry.lanes, geometry.item_bytes, geometry.group
    dtype = "float64" if geometry.element == "double" else "float32"
    solve, packer = f"gx.triangle.solve.{dtype}", f"gx.gemm.{dtype}.turn"
    vector, _ = vector_type(geometry.element, group)
    most = _STRIPS[0] * lanes
    block = w.let(f"alloca [{LEAF * most} x {w.element}], align 64")
    backward = w.let("icmp slt i64 %line, 0")
    last = w.sub("%n", "1")
    low = w.let(f"select i1 {backward}, ptr {w.moved('%x', w.sub('0', last))}, ptr %x")
    with w.loop("0", "%count", str(most)) as first:
        valid = w.least(str(most), w.sub("%count", first))
        width = w.let(f"and i64 {w.add(valid, str(lanes - 1))}, -{lanes}")
        here = w.moved(low, w.mul(first, "%across"))
        w.do(f"call void @{packer}(ptr {block}, i64 {width}, ptr {here}, i64 %across, i64 1, i64 {valid}, i64 %n)")
        begin = w.let(f"select i1 {backward}, ptr {w.moved(block, w.mul(last, width))}, ptr {block}")
        line = w.let(f"select i1 {backward}, i64 {w.sub('0', width)}, i64 {width}")
        w.do(f"call void @{solve}(ptr %m, i64 %row, i64 %step, ptr {begin}, i64 {line}, i64 %n, i64 {width}, i64 %unit)")
        whole_rows, whole_lines = (w.let(f"and i64 {extent}, -{group}") for extent in (valid, "%n"))

        def single(rows: tuple[str, str], lines: tuple[str, str], here: str = here, width: str = width) -> None:
            with w.loop(*rows) as row, w.loop(*lines) as place:
                one = w.let(f"load {w.element}, ptr {w.moved(block, w.add(w.mul(place, width), row))}")
                w.do(f"store {w.element} {one}, ptr {w.moved(here, w.add(w.mul(row, '%across'), place))}")

        with w.loop("0", whole_rows, str(group)) as row, w.loop("0", whole_lines, str(group)) as place:
            source = w.moved(block, w.add(w.mul(place, width), row))
            target = w.moved(here, w.add(w.mul(row, "%across"), place))
            values = []
            for _ in range(group):
                values.append(w.let(f"load {vector}, ptr {source}, align {size}"))
                source = w.moved(source, width)
            for value in transposed(w, vector, values):
                w.do(f"store {vector} {value}, ptr {target}, align {size}")
                target = w.moved(target, "%across")
        single(("0", whole_rows), (whole_lines, "%n"))
        single((whole_rows, valid), ("0", "%n"))
    w.do("ret void")
    return "\n".join([
        "declare i64 @llvm.smin.i64(i64, i64)", f"declare void @{solve}(ptr, i64, i64, ptr, i64, i64, i64, i64)",
        f"declare void @{packer}(ptr, i64, ptr, i64, i64, i64, i64)",
        w.function(f"void @{name}({_TRIANGLE}, ptr %x, i64 %line, i64 %across, i64 %n, i64 %count, i64 %unit)")])


def _factor(geometry: Geometry, name: str) -> str:
    """In a block on the stack, of which line j is column j of the factor; 1: not positive definite."""
    w, lanes, size = TextWriter(geometry.element), geometry.lanes, geometry.item_bytes
    vector, kind = vector_type(geometry.element, lanes)
    suffix = kind[-3:]
    block = w.let(f"alloca [{LEAF * LEAF} x {w.element}], align 64")
    w.do(f"call void @llvm.memset.p0.i64(ptr {block}, i8 0, i64 {LEAF * LEAF * size}, i1 false)")

    def elements(move: Callable[[str, str], None]) -> None:
        with w.loop("0", "%n") as i, w.loop("0", w.add(i, "1")) as j:
            move(w.moved("%a", w.add(w.mul(i, "%row"), w.mul(j, "%step"))),
                 w.moved(block, w.add(w.mul(j, str(LEAF)), i)))

    def copy(source: str, target: str) -> None:
        w.do(f"store {w.element} {w.let(f'load {w.element}, ptr {source}')}, ptr {target}")

    elements(copy)
    with w.loop("0", "%n") as j:
        line = w.moved(block, w.mul(j, str(LEAF)))
        pivot = w.moved(line, j)
        found = w.let(f"load {w.element}, ptr {pivot}")
        good = w.name("good")
        w.branch(w.let(f"fcmp ogt {w.element} {found}, 0.0"), good, "bad")
        w.at(good)
        root = w.let(f"call {w.element} @llvm.sqrt.{suffix}({w.element} {found})")
        inverse = _spread(w, w.let(f"fdiv {w.element} 1.0, {root}"), lanes)
        values = []
        for column in range(0, LEAF, lanes):
            place = w.moved(line, column)
            old = w.let(f"load {vector}, ptr {place}, align {size}")
            values.append(w.let(f"fmul {vector} {old}, {inverse}"))
            w.do(f"store {vector} {values[-1]}, ptr {place}, align {size}")
        w.do(f"store {w.element} {root}, ptr {pivot}")
        with w.loop(w.add(j, "1"), "%n") as other:
            factor = w.let(f"load {w.element}, ptr {w.moved(line, other)}")
            factor = _spread(w, w.let(f"fneg {w.element} {factor}"), lanes)
            target = w.moved(block, w.mul(other, str(LEAF)))
            for column, value in zip(range(0, LEAF, lanes), values, strict=True):
                place = w.moved(target, column)
                old = w.let(f"load {vector}, ptr {place}, align {size}")
                new = w.let(f"call {vector} @llvm.fmuladd.{kind}({vector} {factor}, {vector} {value}, {vector} {old})")
                w.do(f"store {vector} {new}, ptr {place}, align {size}")
    elements(lambda target, source: copy(source, target))
    w.do("ret i64 0")
    w.at("bad")
    w.do("ret i64 1")
    return "\n".join([
        f"declare {vector} @llvm.fmuladd.{kind}({vector}, {vector}, {vector})",
        f"declare {w.element} @llvm.sqrt.{suffix}({w.element})", "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        w.function(f"i64 @{name}(ptr %a, i64 %row, i64 %step, i64 %n)")])


#: How many vectors of products are summed side by side.
_SUMS = 4


def _vector(geometry: Geometry, name: str) -> str:
    """``row`` or ``step``, and ``line``, are 1 or -1."""
    w, lanes, size = TextWriter(geometry.element), geometry.lanes, geometry.item_bytes
    vector, kind = vector_type(geometry.element, lanes)
    backward = w.let("icmp slt i64 %line, 0")

    def lowest(pointer: str, count: str) -> str:
        """Where a range of ``count`` elements begins in memory, of which ``pointer`` is the first."""
        return w.let(f"select i1 {backward}, ptr {w.moved(pointer, w.sub('1', count))}, ptr {pointer}")

    def load(pointer: str, place: str, kind: str) -> str:
        return w.let(f"load {kind}, ptr {w.moved(pointer, place)}, align {size}")

    def fused(a: str, b: str, c: str, single: bool = False) -> str:
        of, suffix = (w.element, kind[-3:]) if single else (vector, kind)
        return w.let(f"call {of} @llvm.fmuladd.{suffix}({of} {a}, {of} {b}, {of} {c})")

    def known(i: str, value: str, place: str) -> str:
        inverse = _inverse(w, w.moved("%m", w.mul(i, w.add("%row", "%step"))))
        found = w.let(f"fmul {w.element} {value}, {inverse}")
        w.do(f"store {w.element} {found}, ptr {place}")
        return found

    def sums(count: str, of: str, width: int, begin: str, many: int, step: Callable[[str, int, str], str],
             started: list[str]) -> list[str]:
        """A loop with sums in registers."""
        body, done, before = w.name("loop"), w.name("done"), w.label
        index, totals = f"%{w.name('i')}", [f"%{w.name('sum')}" for _ in range(many)]
        w.branch(w.let(f"icmp slt i64 {begin}, {count}"), body, done)
        w.at(body)
        following = f"%{w.name('next')}"
        place = len(w.lines)
        w.lines += [""] * (many + 1)
        new = [step(w.add(index, str(position * width)), position, totals[position]) for position in range(many)]
        w.do(f"{following} = add nsw i64 {index}, {many * width}")
        w.lines[place] = f"{index} = phi i64 [{begin}, %{before}], [{following}, %{body}]"
        for position in range(many):
            w.lines[place + 1 + position] = (
                f"{totals[position]} = phi {of} [{started[position]}, %{before}], [{new[position]}, %{body}]")
        w.branch(w.let(f"icmp slt i64 {following}, {count}"), body, done)
        w.at(done)
        return [w.let(f"phi {of} [{started[position]}, %{before}], [{new[position]}, %{body}]") for position in range(many)]

    def by_rows() -> None:
        with w.loop("0", "%n") as i:
            place = w.moved("%x", w.mul(i, "%line"))
            row, x = lowest(w.moved("%m", w.mul(i, "%row")), i), lowest("%x", i)
            wide, whole = (w.let(f"and i64 {i}, -{width}") for width in (_SUMS * lanes, lanes))
            totals = sums(wide, vector, lanes, "0", _SUMS, lambda j, _, total: fused(
                load(row, j, vector), load(x, j, vector), total), ["zeroinitializer"] * _SUMS)
            (first,) = sums(whole, vector, lanes, wide, 1, lambda j, _, total: fused(
                load(row, j, vector), load(x, j, vector), total), totals[:1])
            totals = [first, *totals[1:]]
            while len(totals) > 1:
                totals = [w.let(f"fadd {vector} {a}, {b}") for a, b in zip(totals[::2], totals[1::2], strict=True)]
            reduced = w.let(f"call reassoc {w.element} @llvm.vector.reduce.fadd.{kind}({w.element} -0.0, {vector} {totals[0]})")
            (total,) = sums(i, w.element, 1, whole, 1, lambda j, _, total: fused(
                load(row, j, w.element), load(x, j, w.element), total, True), [reduced])
            old = w.let(f"load {w.element}, ptr {place}")
            known(i, w.let(f"fsub {w.element} {old}, {total}"), place)

    def by_columns() -> None:
        with w.loop("0", "%n") as j:
            place = w.moved("%x", w.mul(j, "%line"))
            found = known(j, w.let(f"load {w.element}, ptr {place}"), place)
            number = w.let(f"fneg {w.element} {found}")
            many = _spread(w, number, lanes)
            after = w.add(j, "1")
            rest = w.sub("%n", after)
            column = lowest(w.moved("%m", w.add(w.mul(after, "%row"), w.mul(j, "%step"))), rest)
            x = lowest(w.moved("%x", w.mul(after, "%line")), rest)
            whole = w.let(f"and i64 {rest}, -{lanes}")
            with w.loop("0", whole, str(lanes)) as i:
                new = fused(many, load(column, i, vector), load(x, i, vector))
                w.do(f"store {vector} {new}, ptr {w.moved(x, i)}, align {size}")
            with w.loop(whole, rest) as i:
                new = fused(number, load(column, i, w.element), load(x, i, w.element), True)
                w.do(f"store {w.element} {new}, ptr {w.moved(x, i)}, align {size}")

    w.either(w.let("icmp eq i64 %step, %line"), by_rows, by_columns)
    w.do("ret void")
    return "\n".join([
        *(f"declare {of} @llvm.fmuladd.{suffix}({of}, {of}, {of})"
          for of, suffix in ((vector, kind), (w.element, kind[-3:]))),
        f"declare {w.element} @llvm.vector.reduce.fadd.{kind}({w.element}, {vector})",
        w.function(f"void @{name}({_TRIANGLE}, ptr %x, i64 %line, i64 %n, i64 %unit)")])


#: Rows and columns of the squares in which a triangle is mirrored.
_TILE = 16


def _address(w: RoutineWriter, pointer: str, i: str, j: str, kind: str) -> str:
    return w.offset(pointer, w.value(f"add nsw i64 {w.value(f'mul nsw i64 {i}, %lead')}, {j}"), kind)


def _cotangent(geometry: Geometry, name: str) -> str:
    """What Cholesky's decomposition of a small matrix did to the factor's cotangent, undone row by row from the last one."""
    w, kind = RoutineWriter(0, 0), geometry.element

    def load(pointer: str) -> str:
        return w.value(f"load {kind}, ptr {pointer}")

    def subtract(place: str, a: str, b: str) -> None:
        product = w.value(f"fmul contract {kind} {a}, {b}")
        w.line(f"store {kind} {w.value(f'fsub contract {kind} {load(place)}, {product}')}, ptr {place}")

    with w.loop(0, "%n") as step:
        j = w.value(f"sub nsw i64 {w.value('sub nsw i64 %n, 1')}, {step}")
        below = w.value(f"add nsw i64 {j}, 1")
        diagonal, pivot = _address(w, "%y0", j, j, kind), load(_address(w, "%x0", j, j, kind))
        with w.loop(below, "%n") as i:
            place = _address(w, "%y0", i, j, kind)
            quotient = w.value(f"fdiv {kind} {load(place)}, {pivot}")
            w.line(f"store {kind} {quotient}, ptr {place}")
            subtract(diagonal, load(_address(w, "%x0", i, j, kind)), quotient)
        scaled = w.value(f"fdiv {kind} {load(diagonal)}, {pivot}")
        with w.loop(0, j) as c:
            subtract(_address(w, "%y0", j, c, kind), scaled, load(_address(w, "%x0", j, c, kind)))
        with w.loop(below, "%n") as i:
            factor = load(_address(w, "%y0", i, j, kind))
            with w.loop(0, j) as c:
                subtract(_address(w, "%y0", j, c, kind), factor, load(_address(w, "%x0", i, c, kind)))
            with w.loop(0, j) as c:
                subtract(_address(w, "%y0", i, c, kind), factor, load(_address(w, "%x0", j, c, kind)))
        w.line(f"store {kind} {w.value(f'fmul {kind} {scaled}, 0.5')}, ptr {diagonal}")
    return _function(f"void @{name}(ptr noalias readonly %x0, ptr noalias %y0, i64 %n, i64 %lead)", w)


def _mirror(geometry: Geometry, name: str) -> str:
    """A + A^T of a lower triangle A."""
    w, kind = RoutineWriter(0, 0), geometry.element

    def least(a: str, b: str) -> str:
        return w.value(f"select i1 {w.value(f'icmp slt i64 {a}, {b}')}, i64 {a}, i64 {b}")

    with w.loop(0, "%n", _TILE) as block:
        last = least(w.value(f"add nsw i64 {block}, {_TILE}"), "%n")
        with w.loop(0, last, _TILE) as other:
            beyond = w.value(f"add nsw i64 {other}, {_TILE}")
            with w.loop(block, last) as i, w.loop(other, least(beyond, i)) as j:
                value = w.value(f"load {kind}, ptr {_address(w, '%a', i, j, kind)}")
                w.line(f"store {kind} {value}, ptr {_address(w, '%a', j, i, kind)}")
    with w.loop(0, "%n") as i:
        place = _address(w, "%a", i, i, kind)
        value = w.value(f"load {kind}, ptr {place}")
        w.line(f"store {kind} {w.value(f'fmul {kind} {value}, 2.0')}, ptr {place}")
    return _function(f"void @{name}(ptr %a, i64 %n, i64 %lead)", w)


def _function(head: str, w: RoutineWriter) -> str:
    body = "\n".join(["start:", *w.lines, "ret void"])
    return f'define {head} nounwind "prefer-vector-width"="512" {{\n{body}\n}}'


#: What is written as it is to be, and what LLVM has to make good code of.
_WRITERS = {"solve": _solve, "turned": _turned, "factor": _factor, "vector": _vector}
LOOPS = {"cotangent": _cotangent, "mirror": _mirror}


def module_text(geometry: Geometry, function: str, symbol: str) -> str:
    """The module of ``gx.triangle.FUNCTION.DTYPE``."""
    return (_WRITERS.get(function) or LOOPS[function])(geometry, symbol)
