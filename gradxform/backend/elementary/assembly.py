"""From recipes to LLVM text: the four variants of a function, each emitted from the one expansion.

`fast` is always inlined, so that the loop vectoriser sees straight-line arithmetic. `careful` has the same body, and
for guarded functions a cold branch to the reduction of huge arguments. `vector` takes whole vectors and treats lanes
that are outside one by one. A float32 function without an expansion of its own evaluates the float64 one and rounds,
which is correct to half an ulp and a hair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from gradxform.backend.elementary import huge_argument
from gradxform.backend.elementary.builder import Builder, Value
from gradxform.data_class import data_class

Dtype = Literal["f64", "f32"]
Variant = Literal["careful", "fast", "outside", "vector"]
Expansion = Callable[..., Value]

KIND = {"f64": "double", "f32": "float"}
PURE = "nounwind willreturn memory(none)"
#: What is inlined only once loops are vectorised: the vectoriser takes no loop with a branch, but it takes calls.
LATE = '"inlined-late"'


@data_class(frozen=True, slots=True)
class Recipe:
    """How a function is written: expansions of builder and arguments.

    Without `float32`, float32 goes through float64. `beyond` belongs to guarded functions: the float64 value where
    `outside` holds, in scalar code. Where `rare` holds, the value is that of `rarely`, which costs so much more that it is
    evaluated only where some lane needs it: such a function is called, never inlined before loops are vectorised.
    """

    name: str
    arity: int
    expansion: Expansion
    float32: Expansion | None = None
    outside: Expansion | None = None
    beyond: Expansion | None = None
    rare: Expansion | None = None
    rarely: Expansion | None = None


@data_class(frozen=True, slots=True)
class Request:
    """One variant of one function; `lanes` counts only for the variant `vector`."""

    name: str
    dtype: Dtype
    variant: Variant
    lanes: int = 1


@data_class(frozen=True, slots=True)
class Definition:
    text: str
    declarations: tuple[str, ...]
    needs: tuple[Request, ...]
    huge: bool
    instructions: int


def symbol(request: Request) -> str:
    """The name of the emitted function, without the leading @."""
    base = f"gx.{request.name}.{request.dtype}"
    if request.variant == "careful":
        return base
    return f"{base}.x{request.lanes}" if request.variant == "vector" else f"{base}.{request.variant}"


def _signature(recipe: Recipe, wide: str) -> str:
    return ", ".join(f"{wide} %x{index}" for index in range(recipe.arity))


def _arguments(b: Builder, recipe: Recipe, kind: str) -> list[Value]:
    return [Value(b, kind, f"%x{index}") for index in range(recipe.arity)]


def _evaluate(b: Builder, recipe: Recipe, dtype: Dtype, double: Expansion, single: Expansion | None) -> Value:
    """One of the expansions, the arguments of float32 widened where only a float64 expansion exists."""
    arguments = _arguments(b, recipe, KIND[dtype])
    if dtype == "f64":
        return double(b, *arguments)
    if single is not None:
        return single(b, *arguments)
    result = double(b, *(b.convert("fpext", item, "double") for item in arguments))
    return result if result.kind == "i1" else b.convert("fptrunc", result, "float")


def expand(b: Builder, recipe: Recipe, dtype: Dtype) -> Value:
    """The straight-line body; for guarded functions valid where `outside` does not hold."""
    return _evaluate(b, recipe, dtype, recipe.expansion, recipe.float32)


def _outside(b: Builder, recipe: Recipe, dtype: Dtype) -> Value:
    if recipe.outside is None:
        return b.constant("i1", 0)
    return _evaluate(b, recipe, dtype, recipe.outside, recipe.outside)


def _function(result: str, name: str, signature: str, attributes: str, body: list[str]) -> str:
    return "\n".join([f"define internal {result} @{name}({signature}) {attributes} {{", *body, "}"])


def define(recipe: Recipe, request: Request) -> Definition:
    """The text of one variant."""
    lanes = request.lanes if request.variant == "vector" else 1
    kind = KIND[request.dtype]
    b = Builder(lanes)
    wide = b.type(kind)
    name, signature = symbol(request), _signature(recipe, wide)
    guarded = recipe.outside is not None
    needs: tuple[Request, ...] = ()
    if request.variant == "outside":
        result = _outside(b, recipe, request.dtype)
        body = [*b.lines, f"  ret i1 {result.text}"]
        text = _function("i1", name, signature, f"alwaysinline {PURE}", body)
    elif recipe.rare is not None:
        inlined = f"alwaysinline {LATE}" if request.variant == "vector" else "noinline"
        text = _function(wide, name, signature, f"{inlined} {PURE}", _branching(b, recipe, request, wide))
    elif request.variant == "fast" or not guarded:
        result = expand(b, recipe, request.dtype)
        attributes = {"fast": f"alwaysinline {PURE}", "careful": PURE, "vector": f"noinline {PURE}"}[request.variant]
        text = _function(wide, name, signature, attributes, [*b.lines, f"  ret {wide} {result.text}"])
    elif request.variant == "careful":
        text = _function(wide, name, signature, PURE, _careful(b, recipe, request.dtype))
    else:
        body, needs = _guarded_vector(b, recipe, request, wide)
        text = _function(wide, name, signature, f"noinline {PURE}", body)
    huge = f"@{huge_argument.SYMBOL}(" in text
    return Definition(text, tuple(b.declared), needs, huge, len(b.lines))


def _careful(b: Builder, recipe: Recipe, dtype: Dtype) -> list[str]:
    kind = KIND[dtype]
    assert recipe.beyond is not None
    test = _outside(b, recipe, dtype)
    body = [*b.lines, f"  br i1 {test.text}, label %beyond, label %usual"]
    for label, double, single in (("usual", recipe.expansion, recipe.float32), ("beyond", recipe.beyond, None)):
        # Values of one branch do not dominate the other; new names follow on the old ones.
        branch = Builder(declared=b.declared, first_name=b.first_name + len(b.known))
        result = _evaluate(branch, recipe, dtype, double, single)
        body.extend([f"{label}:", *branch.lines, f"  ret {kind} {result.text}"])
        b = branch
    return body


def _branching(b: Builder, recipe: Recipe, request: Request, wide: str) -> list[str]:
    """What is rare behind a branch; the builder holds all lines at the end."""
    assert recipe.rare is not None and recipe.rarely is not None
    rare = Builder(b.lanes, declared=b.declared)
    mask = _evaluate(rare, recipe, request.dtype, recipe.rare, recipe.rare)
    head, found = rare.lines.copy(), mask.text
    if b.lanes > 1:
        head += [f"  %lanes = bitcast {b.type('i1')} {mask.text} to i{b.lanes}", f"  %any = icmp ne i{b.lanes} %lanes, 0"]
        found = "%any"
    b.first_name = len(rare.known)
    usual = expand(b, recipe, request.dtype)
    tail = Builder(b.lanes, declared=b.declared, first_name=b.first_name + len(b.known))
    other = _evaluate(tail, recipe, request.dtype, recipe.rarely, None)
    either = tail.select(Value(tail, "i1", mask.text), other, Value(tail, usual.kind, usual.text))
    body = [*head, *b.lines, f"  br i1 {found}, label %rare, label %usual", "usual:", f"  ret {wide} {usual.text}",
            "rare:", *tail.lines, f"  ret {wide} {either.text}"]
    b.lines += [*rare.lines, *tail.lines]
    return body


def _lanes(recipe: Recipe, request: Request, wide: str) -> tuple[list[str], str]:
    """Calls of the careful version, one lane after the other."""
    kind = KIND[request.dtype]
    scalar = symbol(Request(request.name, request.dtype, "careful"))
    lines, total = [], "poison"
    for lane in range(request.lanes):
        operands = []
        for index in range(recipe.arity):
            operand = f"%lane{lane}.{index}"
            lines.append(f"  {operand} = extractelement {wide} %x{index}, i64 {lane}")
            operands.append(f"{kind} {operand}")
        lines.append(f"  %value{lane} = call {kind} @{scalar}({', '.join(operands)})")
        lines.append(f"  %total{lane} = insertelement {wide} {total}, {kind} %value{lane}, i64 {lane}")
        total = f"%total{lane}"
    return lines, total


def _guarded_vector(b: Builder, recipe: Recipe, request: Request, wide: str) -> tuple[list[str], tuple[Request, ...]]:
    test = _outside(b, recipe, request.dtype)
    any_lane = test.text
    if request.lanes > 1:
        mask, reduction = b.type("i1"), f"@llvm.vector.reduce.or.v{request.lanes}i1"
        b.declared[f"declare i1 {reduction}({mask})"] = None
        b.lines.append(f"  %any = call i1 {reduction}({mask} {test.text})")
        any_lane = "%any"
    head = [*b.lines, f"  br i1 {any_lane}, label %beyond, label %usual"]
    b.lines.clear()
    usual = expand(b, recipe, request.dtype)
    body = [*head, "usual:", *b.lines, f"  ret {wide} {usual.text}", "beyond:"]
    if request.lanes > 1:
        lines, total = _lanes(recipe, request, wide)
    else:
        scalar = symbol(Request(request.name, request.dtype, "careful"))
        lines, total = [f"  %value = call {wide} @{scalar}({_signature(recipe, wide)})"], "%value"
    return [*body, *lines, f"  ret {wide} {total}"], (Request(request.name, request.dtype, "careful"),)
