"""One nest as LLVM text: its loops, expressions, checks of indices, calls of BLAS and of its parts.

An index error is noted in a status word, ``(site + 1) << 48 | index``; the loop goes on with index 0, so that it stays
a loop that vectorises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from gradxform.backend.careful import thunk
from gradxform.backend.elementary import Request, roster, symbol
from gradxform.backend.host_call import signature_text
from gradxform.backend.instructions import constant_text, instruction, memory_type, type_name
from gradxform.backend.liveness import free_symbols, touched
from gradxform.backend.module import Module
from gradxform.dtypes import DType, bool_
from gradxform.loopir.expression import Apply, Constant, Expression, Index, Load, Symbol
from gradxform.loopir.loops import (
    Accumulate,
    Buffer,
    Call,
    For,
    If,
    Let,
    Matrix,
    Multiply,
    Nest,
    Part,
    Region,
    Reserve,
    Statement,
    Store,
    While,
    bodies,
    written,
)

#: Local buffers up to this size lie on the stack.
STACK_BYTES = 32 * 1024
#: Within loops, products of fewer multiply-adds are not worth BLAS' own threads: those wait for each other every time.
SERIAL_PRODUCT = 1 << 24
#: Nests estimated to run longer than this stay functions of their own.
OUTLINE_WORK = 2_000.0
#: Indices beyond are reported as this one.
FARTHEST_INDEX = (1 << 47) - 1
VECTOR_LANES = {"f64": 8, "f32": 16}

#: A long loop asks after this many estimated nanoseconds whether the user wants to interrupt it.
POLL_WORK = 20_000_000.0
#: The status of a kernel that ended early, because an exception is waiting.
ABORTED = -1
#: Other threads get their turn and signal handlers run here; what they raise waits in the thread's state for the entry
#: point.
POLL = """declare i32 @gx.python.PyGILState_Ensure()
declare void @gx.python.PyGILState_Release(i32)
declare i32 @gx.python.PyErr_CheckSignals()
declare ptr @gx.python.PyEval_SaveThread()
declare void @gx.python.PyEval_RestoreThread(ptr)
define internal i32 @gx.poll() noinline cold nounwind {
  %state = call i32 @gx.python.PyGILState_Ensure()
  %thread = call ptr @gx.python.PyEval_SaveThread()
  call void @gx.python.PyEval_RestoreThread(ptr %thread)
  %code = call i32 @gx.python.PyErr_CheckSignals()
  call void @gx.python.PyGILState_Release(i32 %state)
  ret i32 %code
}"""
#: A tape is a slot of two words: the address of its elements, and for how many there is room.
GROW_TAPE = """declare ptr @gx.c.realloc(ptr, i64)
declare i32 @gx.python.PyGILState_Ensure()
declare void @gx.python.PyGILState_Release(i32)
declare ptr @gx.python.PyErr_NoMemory()
define internal i32 @gx.grow(ptr %slot, i64 %position, i64 %size) noinline cold nounwind {
  %wanted = add i64 %position, 64
  %twice = mul i64 %wanted, 2
  %bytes = mul i64 %twice, %size
  %old = load ptr, ptr %slot
  %new = call ptr @gx.c.realloc(ptr %old, i64 %bytes)
  %missing = icmp eq ptr %new, null
  br i1 %missing, label %fail, label %keep
keep:
  %room = getelementptr ptr, ptr %slot, i64 1
  store ptr %new, ptr %slot
  store i64 %twice, ptr %room
  ret i32 0
fail:
  %state = call i32 @gx.python.PyGILState_Ensure()
  %error = call ptr @gx.python.PyErr_NoMemory()
  call void @gx.python.PyGILState_Release(i32 %state)
  ret i32 1
}"""

#: A call of a Python object with a text and two addresses; what it raises waits in the thread's state.
CALL_PYTHON = """declare i32 @gx.python.PyGILState_Ensure()
declare void @gx.python.PyGILState_Release(i32)
declare ptr @gx.python.PyObject_CallFunction(ptr, ptr, ...)
declare void @gx.python.Py_DecRef(ptr)
@gx.format.call = private constant [4 x i8] c"snn\\00"
define internal i32 @gx.call(ptr %function, ptr %signature, ptr %operands, ptr %results) noinline cold nounwind {
  %state = call i32 @gx.python.PyGILState_Ensure()
  %from = ptrtoint ptr %operands to i64
  %to = ptrtoint ptr %results to i64
  %answer = call ptr (ptr, ptr, ...) @gx.python.PyObject_CallFunction(
      ptr %function, ptr @gx.format.call, ptr %signature, i64 %from, i64 %to)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %end, label %release
release:
  call void @gx.python.Py_DecRef(ptr %answer)
  br label %end
end:
  call void @gx.python.PyGILState_Release(i32 %state)
  %code = zext i1 %failed to i32
  ret i32 %code
}"""

EXTREMA = {"maximum_number": "maxnum", "minimum_number": "minnum"}

Variant = Literal["fast", "careful", "called"]


class NestWriter:
    """Writes one variant of one nest. Also the Sink of `instructions.instruction`."""

    def __init__(self, module: Module, name: str, nest: Nest, variant: Variant) -> None:
        self.module = module
        self.name = name
        self.nest = nest
        self.variant = variant
        self.lines: list[str] = []
        self.entry_lines: list[str] = []
        self.exit_lines: list[str] = []
        self.label = "start"
        self.counter = 0
        self.depth = 0
        self.symbols: dict[Symbol, str] = {}
        self.guarded = False
        self.checked = False
        self.buffers = [b for b in touched(nest.body) if b.space != "local"]
        self.pointers = {b: f"%{b.name}" for b in (*self.buffers, *nest.locals)}
        self.one_by_one = True  # whether no loop around the present place may be vectorised
        self.serial_products = False  # whether BLAS is to use one thread
        self.aborts = False  # whether it may end before its end
        self.twin = False  # whether it runs only when the fast form was outside its range
        self.arguments: list[str] | None = None  # of a part: the symbols that it takes

    # ------------------------------------------------------------------------------------------- Sink's methods

    def fresh(self) -> str:
        self.counter += 1
        return f"%u{self.counter}"

    def append(self, line: str) -> None:
        self.lines.append(line)

    def declare(self, line: str) -> None:
        self.module.declarations[line] = None

    def elementary(self, name: str, dtype: Literal["f64", "f32"]) -> str:
        """The symbol of the form of an elementary function that suits the place of the call."""
        record = roster()[name]
        if name == "pow" and dtype == "f64" and self.one_by_one:
            # One after the other, C's table look-up has a sixth of the latency of the expansion without branches.
            self.module.imports["gx.c.pow"] = None
            self.declare("declare double @gx.c.pow(double, double) nounwind willreturn memory(none)")
            return "gx.c.pow"
        if self.twin and record.guarded:
            called, text, cell = thunk(name, dtype)
            self.module.imports[cell] = None
            self.declare(text)
            return called
        if self.variant == "fast" and self.depth > 0:
            request = Request(name, dtype, "fast")
            if record.guarded:
                self.module.requests[Request(name, dtype, "outside")] = None
        elif self.variant == "called" and self.depth > 0:
            vector = Request(name, dtype, "vector", VECTOR_LANES[dtype])
            request = Request(name, dtype, "careful")
            self.module.requests[vector] = None
            self.module.vectors[symbol(vector)] = None
        else:
            request = Request(name, dtype, "careful")
        self.module.requests[request] = None
        return symbol(request)

    # ---------------------------------------------------------------------------------------------- expressions

    def temporary(self, text: str) -> str:
        name = self.fresh()
        self.lines.append(f"{name} = {text}")
        return name

    def block(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def start_block(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def value(self, expression: Expression, memo: dict[int, str]) -> str:
        """The SSA value (or constant) of an expression."""
        if isinstance(expression, Constant):
            return constant_text(expression.value, expression.dtype)
        if isinstance(expression, Symbol):
            return self.symbols[expression]
        found = memo.get(id(expression))
        if found is None:
            if isinstance(expression, Load):
                found = self.load(expression.buffer, expression.index, memo)
            else:
                found = self.apply(expression, memo)
            memo[id(expression)] = found
        return found

    def apply(self, expression: Apply, memo: dict[int, str]) -> str:
        operation = expression.operation
        if operation == "guard":
            return self.guard(expression, memo)
        arguments = [self.value(operand, memo) for operand in expression.operands]
        if operation == "checked_index":
            return self.checked_index(*arguments)
        dtypes = [operand.dtype for operand in expression.operands]
        start = len(self.lines)
        result = instruction(operation, arguments, dtypes, expression.dtype, self)
        if self.depth > 0:
            self.watch_calls(start, arguments, dtypes)
        return result

    def watch_calls(self, start: int, arguments: Sequence[str], dtypes: Sequence[DType]) -> None:
        """Note where a fast form may be outside its range; let called forms be vectorised."""
        for position in range(start, len(self.lines)):
            line = self.lines[position]
            if " call " not in line or "@gx." not in line:
                continue
            name = line.split("@gx.", 1)[1].split("(", 1)[0]
            if self.variant == "fast" and name.endswith(".fast") and roster()[name.split(".")[0]].guarded:
                function, kind, _ = name.split(".")
                operand = line.split("(", 1)[1].rsplit(")", 1)[0]
                outside = self.fresh()
                old, new = self.fresh(), self.fresh()
                self.lines += [
                    f"{outside} = call i1 @{symbol(Request(function, kind, 'outside'))}({operand})",  # type: ignore[arg-type]
                    f"{old} = load i1, ptr %outside",
                    f"{new} = or i1 {old}, {outside}",
                    f"store i1 {new}, ptr %outside",
                ]
                self.guarded = True
            elif self.variant == "called" and name.count(".") == 1:
                function, kind = name.split(".")
                if function in roster():
                    record, lanes = roster()[function], VECTOR_LANES[kind]
                    vector = symbol(Request(function, kind, "vector", lanes))  # type: ignore[arg-type]
                    mangled = f"_ZGV_LLVM_N{lanes}{'v' * record.arity}_gx.{name}({vector})"
                    group = self.module.attribute_group(
                        f'nounwind memory(none) willreturn "vector-function-abi-variant"="{mangled}"')
                    self.lines[position] = f"{line} {group}"

    def guard(self, expression: Apply, memo: dict[int, str]) -> str:
        condition, value, otherwise = expression.operands
        test = self.value(condition, memo)
        before = self.label
        yes, no, done = self.block("guard"), self.block("else"), self.block("join")
        simple = isinstance(otherwise, (Constant, Symbol))
        self.append(f"br i1 {test}, label %{yes}, label %{done if simple else no}")
        self.start_block(yes)
        first = self.value(value, dict(memo))
        yes_end = self.label
        self.append(f"br label %{done}")
        if simple:
            second, no_end = self.value(otherwise, memo), before
        else:
            self.start_block(no)
            second = self.value(otherwise, dict(memo))
            no_end = self.label
            self.append(f"br label %{done}")
        self.start_block(done)
        return self.temporary(f"phi {type_name(expression.dtype)} [{first}, %{yes_end}], [{second}, %{no_end}]")

    def checked_index(self, index: str, extent: str, axis: str) -> str:
        self.checked = True
        site = len(self.module.sites) + 1
        self.module.sites.append((int(axis), int(extent)))
        inside = self.temporary(f"icmp ult i64 {index}, {extent}")
        shown = index
        for name, bound in (("smax", -FARTHEST_INDEX), ("smin", FARTHEST_INDEX)):
            self.declare(f"declare i64 @llvm.{name}.i64(i64, i64)")
            shown = self.temporary(f"call i64 @llvm.{name}.i64(i64 {shown}, i64 {bound})")
        tagged = self.temporary(f"or i64 {self.temporary(f'and i64 {shown}, {(1 << 48) - 1}')}, {site << 48}")
        old = self.temporary("load i64, ptr %bad")
        self.append(f"store i64 {self.temporary(f'select i1 {inside}, i64 {old}, i64 {tagged}')}, ptr %bad")
        return self.temporary(f"select i1 {inside}, i64 {index}, i64 0")

    def address(self, buffer: Buffer, index: Index, memo: dict[int, str]) -> str:
        pointer = self.base(buffer)
        linear, offset = "", 0
        for part, stride in zip(index, buffer.strides, strict=True):
            if isinstance(part, Constant):
                offset += int(part.value) * stride
                continue
            term = self.value(part, memo)
            if stride != 1:
                term = self.temporary(f"mul nsw i64 {term}, {stride}")
            linear = term if not linear else self.temporary(f"add nsw i64 {linear}, {term}")
        if offset:
            linear = f"{offset}" if not linear else self.temporary(f"add nsw i64 {linear}, {offset}")
        if not linear:
            return pointer
        return self.temporary(f"getelementptr inbounds {memory_type(buffer.dtype)}, ptr {pointer}, i64 {linear}")

    def base(self, buffer: Buffer) -> str:
        """The address of a buffer's first element; that of a tape may change while the kernel runs."""
        pointer = self.pointers[buffer]
        return self.temporary(f"load ptr, ptr {pointer}") if buffer.space == "tape" else pointer

    def load(self, buffer: Buffer, index: Index, memo: dict[int, str]) -> str:
        address = self.address(buffer, index, memo)
        return self.load_from(buffer.dtype, address)

    def load_from(self, dtype: DType, address: str) -> str:
        loaded = self.temporary(f"load {memory_type(dtype)}, ptr {address}")
        return self.temporary(f"icmp ne i8 {loaded}, 0") if dtype == bool_ else loaded

    def store_to(self, dtype: DType, value: str, address: str) -> None:
        if dtype == bool_:
            value = self.temporary(f"zext i1 {value} to i8")
        self.append(f"store {memory_type(dtype)} {value}, ptr {address}")

    # ----------------------------------------------------------------------------------------------- statements

    def statements(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, Let):
                self.symbols[statement.symbol] = self.value(statement.value, {})
            elif isinstance(statement, Store):
                memo: dict[int, str] = {}
                value = self.value(statement.value, memo)
                self.store_to(statement.buffer.dtype, value, self.address(statement.buffer, statement.index, memo))
            elif isinstance(statement, Accumulate):
                self.accumulate(statement)
            elif isinstance(statement, For):
                self.loop(statement)
            elif isinstance(statement, Part):
                self.part(statement)
            elif isinstance(statement, While):
                self.while_loop(statement)
            elif isinstance(statement, If):
                self.branch(statement)
            elif isinstance(statement, Reserve):
                self.reserve(statement)
            elif isinstance(statement, Call):
                self.call_python(statement)
            else:
                self.multiply(statement)

    def accumulate(self, statement: Accumulate) -> None:
        memo: dict[int, str] = {}
        dtype = statement.buffer.dtype
        value = self.value(statement.value, memo)
        address = self.address(statement.buffer, statement.index, memo)
        if statement.operation != "set":
            old = self.load_from(dtype, address)
            if dtype.kind == "f" and statement.operation in ("add", "mul"):
                value = self.temporary(f"f{statement.operation} reassoc contract {type_name(dtype)} {old}, {value}")
            elif statement.operation in EXTREMA:
                # NaN makes this poison; the schedule counts NaN beside it, and selects this value only if there is none.
                register = type_name(dtype)
                name = f"llvm.{EXTREMA[statement.operation]}.f{8 * dtype.itemsize}"
                self.declare(f"declare {register} @{name}({register}, {register})")
                value = self.temporary(f"call nnan nsz {register} @{name}({register} {old}, {register} {value})")
            else:
                value = instruction(statement.operation, [old, value], [dtype, dtype], dtype, self)
        self.store_to(dtype, value, address)

    def loop(self, loop: For) -> None:
        begin, end = self.value(loop.begin, {}), self.value(loop.end, {})
        body, done = self.block("loop"), self.block("done")
        before = self.label
        self.append(f"br i1 {self.temporary(f'icmp slt i64 {begin}, {end}')}, label %{body}, label %{done}")
        self.start_block(body)
        # One symbol may count several loops, one after the other.
        index = f"%{self.block(loop.symbol.name + '.')}"
        phi = len(self.lines)
        self.append("")
        self.symbols[loop.symbol] = index
        self.depth += 1
        outer, self.one_by_one = self.one_by_one, loop.ordered
        if loop.work:
            self.poll(index, loop.work)
        self.statements(loop.body)
        self.one_by_one = outer
        self.depth -= 1
        following = self.temporary(f"add nuw nsw i64 {index}, 1")
        self.lines[phi] = f"{index} = phi i64 [{begin}, %{before}], [{following}, %{self.label}]"
        again = self.temporary(f"icmp slt i64 {following}, {end}")
        self.append(f"br i1 {again}, label %{body}, label %{done}")
        self.start_block(done)

    def while_loop(self, loop: While) -> None:
        again, body, done = self.block("again"), self.block("loop"), self.block("done")
        before = self.label
        self.append(f"br label %{again}")
        self.start_block(again)
        number, following = self.fresh(), self.fresh()
        phi = len(self.lines)
        self.append("")
        self.depth += 1
        outer, self.one_by_one = self.one_by_one, True
        self.statements(loop.head)
        test = self.value(loop.condition, {})
        self.append(f"br i1 {test}, label %{body}, label %{done}")
        self.start_block(body)
        self.poll(number, loop.work)
        self.statements(loop.body)
        self.one_by_one = outer
        self.depth -= 1
        self.append(f"{following} = add i64 {number}, 1")
        self.append(f"br label %{again}")
        self.lines[phi] = f"{number} = phi i64 [0, %{before}], [{following}, %{self.label}]"
        self.start_block(done)

    def branch(self, statement: If) -> None:
        test = self.value(statement.condition, {})
        yes, no, done = self.block("then"), self.block("else"), self.block("join")
        self.append(f"br i1 {test}, label %{yes}, label %{no}")
        for label, body in ((yes, statement.then), (no, statement.otherwise)):
            self.start_block(label)
            self.statements(body)
            self.append(f"br label %{done}")
        self.start_block(done)

    def poll(self, number: str, work: float) -> None:
        """Every so many iterations, ask whether the user wants to interrupt; then leave the nest."""
        period = max(1, int(POLL_WORK / max(work, 1.0)))
        mask = (1 << (period.bit_length() - 1)) - 1
        self.take(POLL)
        ask, go_on = self.block("poll"), self.block("on")
        due = self.temporary(f"icmp eq i64 {self.temporary(f'and i64 {number}, {mask}')}, {mask}")
        self.append(f"br i1 {due}, label %{ask}, label %{go_on}, !prof !{self.module.rarely()}")
        self.start_block(ask)
        self.abort_unless_zero(self.temporary("call i32 @gx.poll()"), go_on)
        self.start_block(go_on)

    def take(self, text: str) -> None:
        """Add a helper function to the module, with what it declares and imports."""
        for line in text.splitlines():
            if line.startswith("declare "):
                self.declare(line)
                self.module.imports[line.split("@", 1)[1].split("(", 1)[0]] = None
        self.declare("\n".join(line for line in text.splitlines() if not line.startswith("declare ")))

    def abort_unless_zero(self, code: str, go_on: str) -> None:
        """Go on at ``go_on`` if ``code`` is 0; else note that the kernel is to end, and leave the nest."""
        self.aborts = True
        stop = self.block("stop")
        self.append(f"br i1 {self.temporary(f'icmp eq i32 {code}, 0')}, label %{go_on}, label %{stop}")
        self.start_block(stop)
        self.append(f"store atomic i64 {ABORTED}, ptr %status monotonic, align 8")
        self.append("br label %leave")

    def reserve(self, statement: Reserve) -> None:
        """Grow a tape that is full: a call now and then."""
        position = self.value(statement.position, {})
        slot = self.pointers[statement.buffer]
        room = self.temporary(f"getelementptr ptr, ptr {slot}, i64 1")
        full = self.temporary(f"icmp sge i64 {position}, {self.temporary(f'load i64, ptr {room}')}")
        grow, go_on = self.block("grow"), self.block("on")
        self.append(f"br i1 {full}, label %{grow}, label %{go_on}, !prof !{self.module.rarely()}")
        self.start_block(grow)
        self.take(GROW_TAPE)
        size = statement.buffer.strides[0] * statement.buffer.dtype.itemsize
        self.abort_unless_zero(self.temporary(f"call i32 @gx.grow(ptr {slot}, i64 {position}, i64 {size})"), go_on)
        self.start_block(go_on)

    def call_python(self, statement: Call) -> None:
        """A call of a Python object, with the addresses of operands and results as integers; see host_call.py."""
        pending, ready, go_on = self.block("pending"), self.block("ready"), self.block("on")
        # After an index error values are not what the program says, and Python must not see them.
        self.checked = self.aborts = True
        noted = self.temporary("load atomic i64, ptr %status monotonic, align 8")
        noted = self.temporary(f"or i64 {noted}, {self.temporary('load i64, ptr %bad')}")
        self.append(f"br i1 {self.temporary(f'icmp eq i64 {noted}, 0')}, label %{ready}, label %{pending}")
        self.start_block(pending)
        self.append("br label %leave")
        self.start_block(ready)
        self.take(CALL_PYTHON)
        arguments, results = (self.regions(regions) for regions in (statement.arguments, statement.results))
        signature = signature_text(statement)
        name = self.module.text_constant(signature)
        function = f"@gx.callback.{self.module.callback(statement.callback)}"
        self.declare(f"{function} = external global i8")
        code = self.temporary(f"call i32 @gx.call(ptr {function}, ptr {name}, ptr {arguments}, ptr {results})")
        self.abort_unless_zero(code, go_on)
        self.start_block(go_on)

    def regions(self, regions: Sequence[Region]) -> str:
        """An array of the addresses of regions."""
        if not regions:
            return "null"
        array = f"%{self.block('regions')}"
        self.entry_lines.append(f"{array} = alloca [{len(regions)} x ptr], align 8")
        for position, region in enumerate(regions):
            pointer = self.base(region.buffer)
            offset = self.value(region.offset, {})
            address = self.temporary(
                f"getelementptr inbounds {memory_type(region.buffer.dtype)}, ptr {pointer}, i64 {offset}")
            slot = self.temporary(f"getelementptr ptr, ptr {array}, i64 {position}")
            self.append(f"store ptr {address}, ptr {slot}")
        return array

    def part(self, part: Part) -> None:
        """A call of a function that holds the part; it gets the buffers and symbols that it uses."""
        self.counter += 1
        writer = NestWriter(self.module, f"{self.name}.part{self.counter}", replace(self.nest, body=part.body, locals=()),
                            self.variant)
        writer.buffers = list(touched(part.body))
        writer.pointers = {b: f"%{b.name}" for b in writer.buffers}
        writer.depth = self.depth
        writer.one_by_one = self.one_by_one
        symbols = list(free_symbols(part.body))
        for symbol_used in symbols:
            writer.symbols[symbol_used] = f"%arg.{symbol_used.name}"
        writer.arguments = [f"{type_name(s.dtype)} %arg.{s.name}" for s in symbols]
        self.module.functions.append(writer.function())
        given = [f"ptr {self.pointers[b]}" for b in writer.buffers] + ["ptr %status"]
        given += [f"{type_name(s.dtype)} {self.symbols[s]}" for s in symbols]
        self.temporary(f"call i1 @{writer.name}({', '.join(given)})")
        if writer.aborts:
            self.aborts = True
            status = self.temporary("load atomic i64, ptr %status monotonic, align 8")
            go_on = self.block("on")
            self.append(f"br i1 {self.temporary(f'icmp eq i64 {status}, {ABORTED}')}, label %leave, label %{go_on}")
            self.start_block(go_on)

    def multiply(self, statement: Multiply) -> None:
        """A BLAS call: row-major C = A B is the column-major transpose C' = B' A'."""
        if self.depth > 0 and statement.batch * statement.rows * statement.inner * statement.columns < SERIAL_PRODUCT:
            self.serial_products = True
        double = statement.result.buffer.dtype.itemsize == 8
        kind, name = ("double", "dgemm") if double else ("float", "sgemm")
        self.module.imports[f"gx.blas.{name}"] = None
        self.declare(f"declare void @gx.blas.{name}(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr)")
        left, right = _blas_form(statement.left, statement.inner), _blas_form(statement.right, statement.columns)
        slots = {
            "transa": ("i8", right[0]), "transb": ("i8", left[0]), "m": ("i32", statement.columns),
            "n": ("i32", statement.rows), "k": ("i32", statement.inner), "lda": ("i32", right[1]),
            "ldb": ("i32", left[1]), "ldc": ("i32", max(statement.columns, 1)),
            "alpha": (kind, "1.0"), "beta": (kind, "0.0"),
        }
        addresses = {}
        for key, (type_text, content) in slots.items():
            slot = f"%{self.block('gemm')}.{key}"
            self.entry_lines.append(f"{slot} = alloca {type_text}")
            self.append(f"store {type_text} {content}, ptr {slot}")
            addresses[key] = slot
        matrices = (statement.right, statement.left, statement.result)
        starts = [self.value(matrix.offset, {}) for matrix in matrices]
        body, done = self.block("loop"), self.block("done")
        before = self.label
        self.append(f"br label %{body}")
        self.start_block(body)
        number, following = self.fresh(), self.fresh()
        self.append(f"{number} = phi i64 [0, %{before}], [{following}, %{body}]")
        a, b, c = (self.matrix_address(m, start, number, kind) for m, start in zip(matrices, starts, strict=True))
        order = [addresses[key] for key in ("transa", "transb", "m", "n", "k", "alpha")]
        order += [a, addresses["lda"], b, addresses["ldb"], addresses["beta"], c, addresses["ldc"]]
        self.append(f"call void @gx.blas.{name}({', '.join(f'ptr {x}' for x in order)})")
        self.append(f"{following} = add i64 {number}, 1")
        again = self.temporary(f"icmp slt i64 {following}, {statement.batch}")
        self.append(f"br i1 {again}, label %{body}, label %{done}")
        self.start_block(done)

    def matrix_address(self, matrix: Matrix, start: str, number: str, kind: str) -> str:
        step = self.temporary(f"mul nsw i64 {number}, {matrix.batch_stride}")
        offset = self.temporary(f"add nsw i64 {step}, {start}")
        return self.temporary(f"getelementptr inbounds {kind}, ptr {self.base(matrix.buffer)}, i64 {offset}")

    # ------------------------------------------------------------------------------------------------- function

    def function(self) -> str:
        """The nest as one function; after it, `guarded` says whether its result can be true."""
        self.local_buffers()
        self.statements(self.nest.body)
        written, handed_out = self.stores(self.nest.body), self.seen_by_python(self.nest.body)
        parameters = [
            f"ptr noalias {'readonly ' if b not in written else ''}{'' if b in handed_out else 'captures(none) '}"
            f"{self.pointers[b]}" for b in self.buffers
        ]
        parameters.append("ptr noalias %status")
        if self.arguments is not None:
            parameters += self.arguments
        elif self.nest.chunk is not None:
            parameters.append("i64 %chunk")
        head, tail = list(self.entry_lines), list(self.exit_lines)
        if self.serial_products:
            for name, line in (("get", "declare i32 @gx.openblas.get()"), ("set", "declare void @gx.openblas.set(i32)")):
                self.module.imports[f"gx.openblas.{name}"] = None
                self.declare(line)
            head += ["%blas.threads = call i32 @gx.openblas.get()", "call void @gx.openblas.set(i32 1)"]
            tail.append("call void @gx.openblas.set(i32 %blas.threads)")
        if self.aborts:
            tail = ["br label %leave", "leave:", *tail]
        if self.guarded:
            head += ["%outside = alloca i1", "store i1 false, ptr %outside"]
        if self.checked:
            head += ["%bad = alloca i64", "store i64 0, ptr %bad"]
            report, over = self.block("report"), self.block("over")
            found, wrong = self.fresh(), self.fresh()
            tail += [f"{found} = load i64, ptr %bad", f"{wrong} = icmp ne i64 {found}, 0",
                     f"br i1 {wrong}, label %{report}, label %{over}", f"{report}:",
                     f"store atomic i64 {found}, ptr %status monotonic, align 8", f"br label %{over}", f"{over}:"]
        if self.guarded:
            result = self.fresh()
            tail += [f"{result} = load i1, ptr %outside", f"ret i1 {result}"]
        else:
            tail.append("ret i1 false")
        outlined = self.nest.work > OUTLINE_WORK or self.nest.chunk is not None or self.arguments is not None
        outline = "noinline " if outlined and not self.twin else ""
        cold = "noinline optnone cold " if self.twin else ""
        attributes = f'{outline}{cold}nounwind "prefer-vector-width"="512"'
        body = "\n".join(["start:", *head, *self.lines, *tail])
        return f"define internal i1 @{self.name}({', '.join(parameters)}) {attributes} {{\n{body}\n}}"

    def local_buffers(self) -> None:
        if self.nest.chunk is not None and self.arguments is None:
            self.symbols[self.nest.chunk] = "%chunk"
        total = 0
        for buffer in self.nest.locals:
            pointer = self.pointers[buffer]
            if total + buffer.nbytes <= STACK_BYTES:
                total += buffer.nbytes
                element = memory_type(buffer.dtype)
                self.entry_lines.append(f"{pointer} = alloca [{max(buffer.size, 1)} x {element}], align 64")
            else:
                self.module.imports["gx.c.malloc"] = self.module.imports["gx.c.free"] = None
                self.declare("declare noalias ptr @gx.c.malloc(i64)")
                self.declare("declare void @gx.c.free(ptr)")
                self.entry_lines.append(f"{pointer} = call ptr @gx.c.malloc(i64 {buffer.nbytes})")
                self.exit_lines.append(f"call void @gx.c.free(ptr {pointer})")

    def stores(self, statements: Sequence[Statement]) -> set[Buffer]:
        found: set[Buffer] = set()
        for statement in statements:
            found.update(written(statement))
            if isinstance(statement, Reserve):
                found.add(statement.buffer)
            for body in bodies(statement):
                found |= self.stores(body)
        return found


    def seen_by_python(self, statements: Sequence[Statement]) -> set[Buffer]:
        """Buffers whose addresses are given to functions that LLVM does not see."""
        found: set[Buffer] = set()
        for statement in statements:
            if isinstance(statement, Call):
                found.update(region.buffer for region in (*statement.arguments, *statement.results))
            for body in bodies(statement):
                found |= self.seen_by_python(body)
        return found


def _blas_form(matrix: Matrix, columns: int) -> tuple[int, int]:
    """The transposition flag (as a character code) and the leading dimension of a row-major operand, seen column-major."""
    if matrix.column_stride in (0, 1) and (matrix.row_stride == 0 or matrix.row_stride >= columns):
        return ord("N"), max(matrix.row_stride, columns, 1)
    return ord("T"), max(matrix.column_stride, 1)
