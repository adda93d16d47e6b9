"""From recipes to LLVM text: the four variants of a function, each emitted from the one expansion.

`fast` is always inlined, so that the loop vectoriser sees straight-line arithmetic. `careful` has the same body, and for guarded
functions a cold branch to the reduction of huge arguments. `vector` takes whole vectors and treats lanes that are outside one by one.
A float32 function without an expansion of its own evaluates the float64 one and rounds, which is correct to half an ulp and a hair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gradxform.backend.elementary import huge_argument
from gradxform.backend.elementary.builder import Builder, Value

Dtype = Literal["f64", "f32"]
Variant = Literal["careful", "fast", "outside", "vector"]
Expansion = Callable[..., Value]

KIND = {"f64": "double", "f32": "float"}
PURE = "nounwind willreturn memory(none)"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a function is written: expansions of builder and arguments, or the external function that computes it.

    `reduced` belongs to guarded functions: the value from (r, -r_low, quadrant) that the reduction of huge arguments returns.
    `float32` serves the range where `float32_outside` does not hold; without it float32 goes through float64.
    """

    name: str
    arity: int
    expansion: Expansion | None
    float32: Expansion | None = None
    outside: Expansion | None = None
    float32_outside: Expansion | None = None
    reduced: Expansion | None = None
    external: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One variant of one function; `lanes` counts only for the variant `vector`."""

    name: str
    dtype: Dtype
    variant: Variant
    lanes: int = 1


@dataclass(frozen=True, slots=True)
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


def external_symbol(external: str) -> str:
    return f"gx.external.{external}"


def _signature(recipe: Recipe, wide: str) -> str:
    return ", ".join(f"{wide} %x{index}" for index in range(recipe.arity))


def _arguments(b: Builder, recipe: Recipe, kind: str) -> list[Value]:
    return [Value(b, kind, f"%x{index}") for index in range(recipe.arity)]


def _external_call(b: Builder, recipe: Recipe, arguments: list[Value]) -> Value:
    assert recipe.external is not None
    name = external_symbol(recipe.external)
    operands = ", ".join(f"double {item.text}" for item in arguments)
    # Cython's last parameter says whether to skip the dispatch to an override; a plain function ignores it.
    b.declared[f"declare double @{name}({', '.join(['double'] * recipe.arity)}, i32) {PURE}"] = None
    return b.line("double", f"call double @{name}({operands}, i32 0)")


def expand(b: Builder, recipe: Recipe, dtype: Dtype) -> Value:
    """The straight-line body; for guarded functions valid where `outside` does not hold."""
    arguments = _arguments(b, recipe, KIND[dtype])
    if dtype == "f32" and recipe.float32 is not None:
        return recipe.float32(b, *arguments)
    if dtype == "f32":
        arguments = [b.convert("fpext", item, "double") for item in arguments]
    result = _external_call(b, recipe, arguments) if recipe.expansion is None else recipe.expansion(b, *arguments)
    return b.convert("fptrunc", result, "float") if dtype == "f32" else result


def _outside(b: Builder, recipe: Recipe, dtype: Dtype) -> Value:
    arguments = _arguments(b, recipe, KIND[dtype])
    if dtype == "f32" and recipe.float32_outside is not None:
        return recipe.float32_outside(b, *arguments)
    if dtype == "f32":
        arguments = [b.convert("fpext", item, "double") for item in arguments]
    return b.constant("i1", 0) if recipe.outside is None else recipe.outside(b, *arguments)


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
    elif request.variant == "vector" and recipe.expansion is None:
        body, needs = _lane_by_lane(recipe, request, wide)
        text = _function(wide, name, signature, f"noinline {PURE}", body)
    elif request.variant == "fast" or not guarded:
        result = expand(b, recipe, request.dtype)
        attributes = {"fast": f"alwaysinline {PURE}", "careful": PURE, "vector": f"noinline {PURE}"}[request.variant]
        text = _function(wide, name, signature, attributes, [*b.lines, f"  ret {wide} {result.text}"])
    elif request.variant == "careful":
        text = _function(wide, name, signature, PURE, _careful(b, recipe, request.dtype))
    else:
        body, needs = _guarded_vector(b, recipe, request, wide)
        text = _function(wide, name, signature, f"noinline {PURE}", body)
    huge = guarded and request.variant == "careful"
    return Definition(text, tuple(b.declared), needs, huge, len(b.lines))


def _careful(b: Builder, recipe: Recipe, dtype: Dtype) -> list[str]:
    kind = KIND[dtype]
    assert recipe.reduced is not None
    test = _outside(b, recipe, dtype)
    head = [*b.lines, f"  br i1 {test.text}, label %huge, label %usual"]
    b.lines.clear()
    usual = expand(b, recipe, dtype)
    body = [*head, "usual:", *b.lines, f"  ret {kind} {usual.text}", "huge:"]
    b.lines.clear()
    # Values of the other branch do not dominate this one.
    b.known = {f"in another block: {text}": value for text, value in b.known.items()}
    x = _arguments(b, recipe, kind)[0]
    argument = b.convert("fpext", x, "double") if dtype == "f32" else x
    result_type = huge_argument.RESULT
    body_huge = [f"  %parts = call {result_type} @{huge_argument.SYMBOL}(double {argument.text})"]
    r, low, quadrant = (
        b.line(kind_of_part, f"extractvalue {result_type} %parts, {index}")
        for index, kind_of_part in enumerate(("double", "double", "i64"))
    )
    value = recipe.reduced(b, r, low, quadrant)
    finite = b.magnitude(argument) < float("inf")
    value = b.select(finite, value, float("nan"))
    value = b.convert("fptrunc", value, "float") if dtype == "f32" else value
    # The call must follow the conversion of its operand.
    conversion = [line for line in b.lines if "fpext" in line]
    others = [line for line in b.lines if "fpext" not in line]
    return [*body, *conversion, *body_huge, *others, f"  ret {kind} {value.text}"]


def _lanes(recipe: Recipe, request: Request, wide: str, indent: str) -> tuple[list[str], str]:
    """Calls of the careful version, one lane after the other."""
    kind = KIND[request.dtype]
    scalar = symbol(Request(request.name, request.dtype, "careful"))
    lines, total = [], "poison"
    for lane in range(request.lanes):
        operands = []
        for index in range(recipe.arity):
            operand = f"%lane{lane}.{index}"
            lines.append(f"{indent}{operand} = extractelement {wide} %x{index}, i64 {lane}")
            operands.append(f"{kind} {operand}")
        lines.append(f"{indent}%value{lane} = call {kind} @{scalar}({', '.join(operands)})")
        lines.append(f"{indent}%total{lane} = insertelement {wide} {total}, {kind} %value{lane}, i64 {lane}")
        total = f"%total{lane}"
    return lines, total


def _lane_by_lane(recipe: Recipe, request: Request, wide: str) -> tuple[list[str], tuple[Request, ...]]:
    lines, total = _lanes(recipe, request, wide, "  ")
    return [*lines, f"  ret {wide} {total}"], (Request(request.name, request.dtype, "careful"),)


def _guarded_vector(b: Builder, recipe: Recipe, request: Request, wide: str) -> tuple[list[str], tuple[Request, ...]]:
    test = _outside(b, recipe, request.dtype)
    any_lane = test.text
    if request.lanes > 1:
        mask, reduction = b.type("i1"), f"@llvm.vector.reduce.or.v{request.lanes}i1"
        b.declared[f"declare i1 {reduction}({mask})"] = None
        b.lines.append(f"  %any = call i1 {reduction}({mask} {test.text})")
        any_lane = "%any"
    head = [*b.lines, f"  br i1 {any_lane}, label %huge, label %usual"]
    b.lines.clear()
    usual = expand(b, recipe, request.dtype)
    body = [*head, "usual:", *b.lines, f"  ret {wide} {usual.text}", "huge:"]
    if request.lanes > 1:
        lines, total = _lanes(recipe, request, wide, "  ")
    else:
        scalar = symbol(Request(request.name, request.dtype, "careful"))
        lines, total = [f"  %value = call {wide} @{scalar}({_signature(recipe, wide)})"], "%value"
    return [*body, *lines, f"  ret {wide} {total}"], (Request(request.name, request.dtype, "careful"),)
