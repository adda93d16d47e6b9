"""One nest as LLVM text: its loops, expressions, checks of indices, products, calls of its parts.

An index error is noted in a status word, ``(site + 1) << 48 | index``; the loop goes on with index 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from gradxform.backend import gemm
from gradxform.backend.careful import thunk
from gradxform.backend.contract_text import write_contract
from gradxform.backend.elementary import Request, roster, symbol
from gradxform.backend.fork_text import write_fork
from gradxform.backend.host_call import signature_text
from gradxform.backend.instructions import (
    ELEMENTARY_OPERATIONS,
    SPECIAL_DECLARATION,
    constant_text,
    instruction,
    memory_type,
    type_name,
)
from gradxform.backend.liveness import free_symbols, touched
from gradxform.backend.module import FOUR_VECTORS, NOT_UNROLLED, NOTE_CALL, ONE_VECTOR, TWO_VECTORS, Module
from gradxform.backend.native import write_native
from gradxform.backend.prefetch_text import write_prefetches
from gradxform.backend.quotient_text import reciprocal_parts, write_in_order, write_quotient
from gradxform.backend.stream_text import streamable, targets, write_streamed
from gradxform.backend.turn_text import columns_place, rows_of, write_turned
from gradxform.dtypes import DType, bool_, float64
from gradxform.loopir.expression import INDEX_CHECKS, Apply, Constant, Expression, Index, Load, Symbol, known, parts
from gradxform.loopir.loops import (
    WORKSPACE,
    Accumulate,
    Buffer,
    Call,
    Contract,
    For,
    Fork,
    If,
    Let,
    Matrix,
    Multiply,
    Native,
    Nest,
    Part,
    Region,
    Reserve,
    Statement,
    Store,
    While,
    bodies,
    operands,
    written,
)

#: Local buffers up to this size lie on the stack.
STACK_BYTES = 32 * 1024
#: Local buffers of whole pages get some more, so that no two begin at the same place of a page: a load waits for what has just
#: been stored at its place of another page.
PAGE, STAGGER = 4096, 512
#: Nests estimated to run longer than this stay functions of their own.
OUTLINE_WORK = 2_000.0
#: Indices beyond are reported as this one.
FARTHEST_INDEX = (1 << 47) - 1
#: Loops of at most so many iterations are vectorised without interleaving.
FEW_ITERATIONS = 64
#: Loops of as many iterations are worth preparing for.
MANY_ITERATIONS = 32
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

#: Notes the first index that is out of range.
NOTE_INDEX = f"""define internal {NOTE_CALL}void @gx.note(ptr captures(none) %status, i64 %index, i64 %site)
    noinline cold nounwind willreturn memory(argmem: readwrite) {{
  %old = load atomic i64, ptr %status monotonic, align 8
  %first = icmp eq i64 %old, 0
  br i1 %first, label %note, label %end
note:
  %below = icmp slt i64 %index, {-FARTHEST_INDEX}
  %least = select i1 %below, i64 {-FARTHEST_INDEX}, i64 %index
  %above = icmp sgt i64 %least, {FARTHEST_INDEX}
  %shown = select i1 %above, i64 {FARTHEST_INDEX}, i64 %least
  %low = and i64 %shown, {(1 << 48) - 1}
  %tagged = or i64 %low, %site
  store atomic i64 %tagged, ptr %status monotonic, align 8
  br label %end
end:
  ret void
}}"""

EXTREMA = ("maximum", "minimum")

THREEFRY = "gradxform.threefry2x32"
#: Several vectors of random words are made at a time in nests estimated to run for so many nanoseconds.
LONG_WORK = 50_000.0

#: Functions that C libraries evaluate by tables, to little more than half a unit in the last place.
LOOKED_UP = ("exp", "log")

Variant = Literal["fast", "careful", "called"]


class NestWriter:
    """Writes one variant of one nest. Also the Sink of `instructions.instruction`."""

    #: Further parameters of every function of the nest, handed from one to the other: ``"ptr %name"``.
    handed_on: tuple[str, ...] = ()

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
        self.loops: list[tuple[Symbol, str]] = []  # the symbols of those around the present place, and their ends
        self.guarded = False
        self.straight_checks = False  # whether the loop around the present place is to be vectorised with its checks
        self.calls_python = _calls_python(nest.body)
        self.watched: list[tuple[int, str]] = []  # the sites of such loops, and their extents
        self.buffers = [b for b in touched(nest.body) if b.space != "local"]
        self.pointers = {b: f"%{b.name}" for b in (*self.buffers, *nest.locals)}
        self.one_by_one = True  # whether no loop around the present place may be vectorised
        self.aborts = False  # whether it may end before its end
        self.changing: set[Symbol | Buffer] | None = None  # what changes in the loop around, if that may become one of vectors
        self.twin = False  # whether it runs only when the fast form was outside its range
        self.arguments: list[str] | None = None  # of a part: the symbols that it takes
        self.streamable = streamable(nest.body)
        self.streams = False  # whether it stores past the caches
        # Blocks that hold a loop's elements from an index on, in columns of so many, of which the first is at a place.
        self.diverted: dict[Buffer, tuple[str, Symbol, str, int, int]] = {}

    # ------------------------------------------------------------------------------------------- Sink's methods

    def fresh(self) -> str:
        self.counter += 1
        return f"%u{self.counter}"

    def append(self, line: str) -> None:
        self.lines.append(line)

    def declare(self, line: str) -> None:
        self.module.declarations[line] = None
        if line.startswith(SPECIAL_DECLARATION):
            self.module.imports[line.split("@", 1)[1].split("(", 1)[0]] = None

    def elementary(self, name: str, dtype: Literal["f64", "f32"]) -> str:
        """The symbol of the form of an elementary function that suits the place of the call."""
        record = roster()[name]
        if dtype == "f64" and self.one_by_one and (name == "pow" or (name in LOOKED_UP and self.depth > 0)):
            # One after the other, C's table look-up has half the latency of the expansion without branches, or less.
            self.module.imports[f"gx.c.{name}"] = None
            arguments = ", ".join(["double"] * record.arity)
            self.declare(f"declare double @gx.c.{name}({arguments}) nounwind willreturn memory(none)")
            return f"gx.c.{name}"
        if self.twin and record.guarded:
            called, text, cell = thunk(name, dtype)
            self.module.imports[cell] = None
            self.declare(text)
            return called
        if self.variant == "fast" and self.depth > 0 and not record.branches:
            request = Request(name, dtype, "fast")
            if record.guarded:
                self.module.requests[Request(name, dtype, "outside")] = None
        elif self.variant in ("called", "fast") and self.depth > 0:
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
        if operation in INDEX_CHECKS:
            return self.checked_index(operation, *arguments)
        dtypes = [operand.dtype for operand in expression.operands]
        exact = operation == "div" and expression.dtype == float64 and not self.module.fast_math
        if exact and self.stays(expression.operands[1]):
            return write_quotient(self.module, self.temporary, *arguments)
        if exact and self.one_by_one and self.depth > 0 and not self.twin:
            divisor = expression.operands[1]
            divided = reciprocal_parts(float(divisor.value)) if isinstance(divisor, Constant) else None
            if divided is not None:
                return write_in_order(self, arguments[0], arguments[1], divided)
        start = len(self.lines)
        result = instruction(operation, arguments, dtypes, expression.dtype, self)
        if self.depth > 0:
            self.watch_calls(start, arguments, dtypes)
        return result

    def stays(self, expression: Expression) -> bool:
        """Whether a value is the same in all iterations of the loop of vectors around."""
        if self.changing is None or isinstance(expression, Constant):
            return self.changing is not None
        if isinstance(expression, Symbol):
            return expression not in self.changing
        if isinstance(expression, Load):
            return expression.buffer not in self.changing and all(map(self.stays, expression.index))
        return all(map(self.stays, expression.operands))

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
            elif self.variant in ("called", "fast") and name.count(".") == 1:
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

    def checked_index(self, operation: str, index: str, extent: str, axis: str) -> str:
        """The index, or 0 and an error noted. The status is not touched while indices are good.

        In a loop that is to be vectorised the largest index (as a number without sign) is kept, and looked at when the nest
        ends; elsewhere there is a branch that is hardly ever taken, which also sees to what counts from the end.
        """
        self.module.sites.append((int(axis), int(extent)))
        site = len(self.module.sites)
        relative = operation == "relative_index"
        if self.straight_checks and int(extent) > 0:
            if relative:
                wrapped = self.temporary(f"add i64 {index}, {extent}")
                index = self.temporary(f"select i1 {self.temporary(f'icmp slt i64 {index}, 0')}, i64 {wrapped}, i64 {index}")
            self.watched.append((site, extent))
            self.declare("declare i64 @llvm.umax.i64(i64, i64)")
            old = self.temporary(f"load i64, ptr %farthest{site}")
            self.append(f"store i64 {self.temporary(f'call i64 @llvm.umax.i64(i64 {old}, i64 {index})')}, ptr %farthest{site}")
            return self.temporary(f"select i1 {self.temporary(f'icmp ult i64 {index}, {extent}')}, i64 {index}, i64 0")
        rare, wrong, done = self.block("rare"), self.block("wrong"), self.block("index")
        before = self.label
        outside = self.temporary(f"icmp uge i64 {index}, {extent}")
        self.append(f"br i1 {outside}, label %{rare}, label %{done}, !prof !{self.module.rarely()}")
        self.start_block(rare)
        found = index
        if relative:
            found = self.temporary(f"add i64 {index}, {extent}")
            # Only what is less than 0 counts from the end: a sum that wraps around is beyond the extent as well.
            negative = self.temporary(f"icmp ult i64 {found}, {extent}")
            self.append(f"br i1 {negative}, label %{done}, label %{wrong}")
            self.start_block(wrong)
            shown = self.temporary(f"icmp slt i64 {index}, 0")
            shown = self.temporary(f"select i1 {shown}, i64 {found}, i64 {index}")
        else:
            shown = index
        self.take(NOTE_INDEX)
        self.append(f"call {NOTE_CALL}void @gx.note(ptr %status, i64 {shown}, i64 {site << 48})")
        last = self.label
        self.append(f"br label %{done}")
        self.start_block(done)
        ways = [f"[{index}, %{before}]", *([f"[{found}, %{rare}]"] if relative else []), f"[0, %{last}]"]
        return self.temporary(f"phi i64 {', '.join(ways)}")

    def look_at(self, site: int, extent: str) -> None:
        """Note the index that a vectorised loop has found to be farthest, if that is out of range."""
        wrong, right = self.block("wrong"), self.block("right")
        farthest = self.temporary(f"load i64, ptr %farthest{site}")
        outside = self.temporary(f"icmp uge i64 {farthest}, {extent}")
        self.append(f"br i1 {outside}, label %{wrong}, label %{right}, !prof !{self.module.rarely()}")
        self.start_block(wrong)
        self.take(NOTE_INDEX)
        self.append(f"call {NOTE_CALL}void @gx.note(ptr %status, i64 {farthest}, i64 {site << 48})")
        self.append(f"br label %{right}")
        self.start_block(right)

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
                self.store_to(statement.buffer.dtype, value, self.target(statement, memo))
            elif isinstance(statement, Accumulate):
                self.accumulate(statement)
            elif isinstance(statement, For):
                self.loop(statement)
            elif isinstance(statement, Part):
                self.part(statement)
            elif isinstance(statement, Fork):
                write_fork(self, statement)
            elif isinstance(statement, While):
                self.while_loop(statement)
            elif isinstance(statement, If):
                self.branch(statement)
            elif isinstance(statement, Reserve):
                self.reserve(statement)
            elif isinstance(statement, Call):
                self.call_python(statement)
            elif isinstance(statement, Native):
                write_native(self, statement)
            elif isinstance(statement, Contract):
                write_contract(self, statement)
            else:
                self.multiply(statement)

    def target(self, statement: Store, memo: dict[int, str]) -> str:
        """The address that a statement stores to."""
        diverted = self.diverted.get(statement.buffer)
        if diverted is None:
            return self.address(statement.buffer, statement.index, memo)
        block, along, start, lanes, first = diverted
        lane = self.temporary(f"sub nsw i64 {self.symbols[along]}, {start}")
        if lanes:
            lane = self.temporary(f"add nsw i64 {lane}, {columns_place(statement, lanes, first)}")
        return self.temporary(f"getelementptr inbounds {memory_type(statement.buffer.dtype)}, ptr {block}, i64 {lane}")

    def stream_past(self) -> None:
        """Add the function that stores past the caches, and what waits for it at the end."""
        self.take("declare void @gx.memory.stream(ptr, ptr, i64)")
        self.streams = True

    def accumulate(self, statement: Accumulate) -> None:
        memo: dict[int, str] = {}
        dtype = statement.buffer.dtype
        value = self.value(statement.value, memo)
        address = self.address(statement.buffer, statement.index, memo)
        if statement.operation != "set":
            old = self.load_from(dtype, address)
            if dtype.kind == "f" and statement.operation in ("add", "mul"):
                value = self.temporary(f"f{statement.operation} reassoc contract {type_name(dtype)} {old}, {value}")
            elif dtype.kind == "f" and statement.operation in EXTREMA:
                # NaN stays. Which of two zeros is the greater one NumPy leaves open too; to tell them apart would take three
                # more instructions beside the two for NaN.
                register = type_name(dtype)
                name = f"llvm.{statement.operation}.f{8 * dtype.itemsize}"
                self.declare(f"declare {register} @{name}({register}, {register})")
                value = self.temporary(f"call nsz {register} @{name}({register} {old}, {register} {value})")
            else:
                value = instruction(statement.operation, [old, value], [dtype, dtype], dtype, self)
        self.store_to(dtype, value, address)

    def loop(self, loop: For) -> None:
        streamed = {} if self.twin else targets(self, loop)
        if streamed:
            write_streamed(self, loop, streamed)
            return
        rows = {} if self.twin else rows_of(self, loop)
        if rows:
            write_turned(self, loop, rows)
            return
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
        checks, self.straight_checks = self.straight_checks, self.vectorises(loop)
        changing, self.changing = self.changing, self.changing_in(loop)
        if loop.work:
            self.poll(index, loop.work)
        self.loops.append((loop.symbol, end))
        if not (self.straight_checks or self.twin):
            write_prefetches(self, loop)
        self.statements(loop.body)
        self.loops.pop()
        self.one_by_one, self.straight_checks, self.changing = outer, checks, changing
        self.depth -= 1
        following = self.temporary(f"add nuw nsw i64 {index}, 1")
        self.lines[phi] = f"{index} = phi i64 [{begin}, %{before}], [{following}, %{self.label}]"
        again = self.temporary(f"icmp slt i64 {following}, {end}")
        # An expansion keeps the units busy with one vector. With two of them in flight the constants that both need no
        # longer fold into the instructions, and are loaded again and again when there are more than registers.
        # Nor would the iterations of a block fill several.
        single = _is_block(loop) or (not self.twin and any("call " in line and "@gx." in line for line in self.lines[phi:]))
        hints = [ONE_VECTOR] if single else []
        # Rounds of random words wait for one another. Where it is worth the time to compile it, several vectors go through
        # them together, more than a processor would find by looking ahead.
        if self.nest.work >= LONG_WORK and not self.twin and any(f"@{THREEFRY}(" in line for line in self.lines[phi:]):
            # Of bytes LLVM makes longer vectors by itself.
            narrow = any(isinstance(statement, Store) and statement.buffer.dtype.itemsize < 4 for statement in loop.body)
            hints = [TWO_VECTORS if narrow else FOUR_VECTORS]
        whole = loop.symbol.extent % VECTOR_LANES["f64"] == 0 or any(map(bodies, loop.body))
        if not loop.ordered and 0 < loop.symbol.extent <= FEW_ITERATIONS and whole:
            # Short loops have been unrolled where that pays. LLVM would do it before it makes vectors, and then make none;
            # where vectors leave a rest it may.
            hints.append(NOT_UNROLLED)
        self.append(f"br i1 {again}, label %{body}, label %{done}{self.module.loop_hints(*hints)}")
        self.start_block(done)

    def changing_in(self, loop: For) -> set[Symbol | Buffer] | None:
        """The symbols and buffers that change in an innermost loop of many iterations; None of other loops."""
        if loop.ordered or self.twin or loop.symbol.extent < MANY_ITERATIONS or any(map(bodies, loop.body)):
            return None
        symbols = (statement.symbol for statement in loop.body if isinstance(statement, Let))
        return {loop.symbol, *symbols, *(buffer for statement in loop.body for buffer in written(statement))}

    def vectorises(self, loop: For) -> bool:
        """Whether vectors pay although indices are looked up one by one: in innermost loops with elementary functions.

        Not where Python is called: it must not be, once an index is out of range.
        """
        if loop.ordered or self.variant == "careful" or self.calls_python or any(map(bodies, loop.body)):
            return False
        return any(isinstance(part, Apply) and part.operation in ELEMENTARY_OPERATIONS
                   for statement in loop.body for operand in operands(statement) for part in parts(operand))

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

    def take_note(self) -> None:
        """Add the function that notes an error in the status."""
        self.take(NOTE_INDEX)

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
        self.aborts = True
        noted = self.temporary("load atomic i64, ptr %status monotonic, align 8")
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

    def another(self, name: str, nest: Nest) -> NestWriter:
        """The writer of a function that belongs to this one."""
        return NestWriter(self.module, name, nest, self.variant)

    def part(self, part: Part) -> None:
        """A call of a function that holds the part; it gets the buffers and symbols that it uses."""
        self.counter += 1
        writer = self.another(f"{self.name}.part{self.counter}", replace(self.nest, body=part.body, locals=()))
        writer.buffers = list(touched(part.body))
        writer.pointers = {b: f"%{b.name}" for b in writer.buffers}
        writer.depth = self.depth
        writer.one_by_one = self.one_by_one
        writer.calls_python = self.calls_python
        symbols = list(free_symbols(part.body))
        for symbol_used in symbols:
            writer.symbols[symbol_used] = f"%arg.{symbol_used.name}"
        writer.arguments = [f"{type_name(s.dtype)} %arg.{s.name}" for s in symbols]
        self.module.functions.append(writer.function())
        given = [f"ptr {self.pointers[b]}" for b in writer.buffers] + ["ptr %status", *self.handed_on]
        given += [f"{type_name(s.dtype)} {self.symbols[s]}" for s in symbols]
        self.temporary(f"call i1 @{writer.name}({', '.join(given)})")
        if writer.aborts:
            self.aborts = True
            status = self.temporary("load atomic i64, ptr %status monotonic, align 8")
            go_on = self.block("on")
            self.append(f"br i1 {self.temporary(f'icmp eq i64 {status}, {ABORTED}')}, label %leave, label %{go_on}")
            self.start_block(go_on)

    def multiply(self, statement: Multiply) -> None:
        """A call of the driver of products; see gemm."""
        left, right, result = statement.left, statement.right, statement.result
        dtype = result.buffer.dtype
        plan = gemm.plan_of(statement)
        driver = f"gx.gemm.{dtype.name}"
        self.module.imports[driver] = None
        self.declare(f"declare void @{driver}(ptr, ptr, ptr, ptr, ptr)")
        for function in plan.functions:
            self.module.imports[function] = None
            self.declare(f"declare void @{function}()")
        counts = f"[{len(plan.numbers)} x i64]", f"[{len(plan.functions)} x ptr]"
        numbers = ", ".join(f"i64 {number}" for number in plan.numbers)
        functions = ", ".join(f"ptr @{function}" for function in plan.functions)
        record = self.module.record(f"{{ {', '.join(counts)} }} {{ {counts[0]} [{numbers}], {counts[1]} [{functions}] }}")
        places = [self.matrix_address(matrix) for matrix in (left, right, result)]
        self.append(f"call void @{driver}(ptr {record}, {', '.join(f'ptr {place}' for place in places)}, "
                    f"ptr {self.pointers[WORKSPACE]})")

    def matrix_address(self, matrix: Matrix) -> str:
        pointer, start = self.base(matrix.buffer), self.value(matrix.offset, {})
        return self.temporary(f"getelementptr inbounds {memory_type(matrix.buffer.dtype)}, ptr {pointer}, i64 {start}")

    # ------------------------------------------------------------------------------------------------- function

    def function(self) -> str:
        """The nest as one function; after it, `guarded` says whether its result can be true."""
        self.local_buffers()
        self.statements(self.nest.body)
        written, handed_out = self.stores(self.nest.body), self.seen_by_functions(self.nest.body)
        parameters = [
            f"ptr noalias {'readonly ' if b not in written else ''}{'' if b in handed_out else 'captures(none) '}"
            f"{self.pointers[b]}" for b in self.buffers
        ]
        parameters += ["ptr noalias %status", *self.handed_on]
        if self.arguments is not None:
            parameters += self.arguments
        elif self.nest.chunk is not None:
            parameters.append("i64 %chunk")
        head, tail = list(self.entry_lines), list(self.exit_lines)
        if self.streams:
            # What went past the caches is ordered with nothing else.
            tail.insert(0, "fence seq_cst")
        if self.aborts:
            tail = ["br label %leave", "leave:", *tail]
        if self.guarded:
            head += ["%outside = alloca i1", "store i1 false, ptr %outside"]
        if self.watched:
            written_before, self.lines = self.lines, []
            for site, extent in self.watched:
                head += [f"%farthest{site} = alloca i64", f"store i64 0, ptr %farthest{site}"]
                self.look_at(site, extent)
            tail += self.lines
            self.lines = written_before
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
                spare = STAGGER // buffer.dtype.itemsize if buffer.size and buffer.nbytes % PAGE == 0 else 0
                self.entry_lines.append(f"{pointer} = alloca [{max(buffer.size + spare, 1)} x {element}], align 64")
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


    def seen_by_functions(self, statements: Sequence[Statement]) -> set[Buffer]:
        """Buffers whose addresses are given to functions that LLVM does not see."""
        found: set[Buffer] = set()
        for statement in statements:
            if isinstance(statement, (Call, Native)):
                found.update(region.buffer for region in (*statement.arguments, *statement.results))
            if isinstance(statement, Native) and statement.workspace:
                found.add(WORKSPACE)
            if isinstance(statement, Fork):
                found.update(touched(statement.body))
            for body in bodies(statement):
                found |= self.seen_by_functions(body)
        return found


def _calls_python(statements: Sequence[Statement]) -> bool:
    return any(isinstance(s, Call) or any(map(_calls_python, bodies(s))) for s in statements)


def _is_block(loop: For) -> bool:
    """Whether a loop goes over a block of few iterations: from some index to that plus a number, or less."""
    if not (isinstance(loop.end, Apply) and loop.end.operation == "minimum"):
        return False
    reach = loop.end.operands[0]
    return isinstance(reach, Apply) and reach.operation == "add" and reach.operands[0] is loop.begin and (
        (known(reach.operands[1]) or FEW_ITERATIONS + 1) <= FEW_ITERATIONS)
