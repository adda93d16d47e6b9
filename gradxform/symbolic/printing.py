"""pp and debugprint: expressions as text."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from gradxform.core.source import user_line
from gradxform.errors import ArgumentTypeError
from gradxform.ir.printer import variable_name
from gradxform.symbolic.calls import Call, Slot
from gradxform.symbolic.functions import Function
from gradxform.symbolic.graph import Apply, Node
from gradxform.symbolic.optimised import Number, ProgramOperation
from gradxform.symbolic.variables import Constant
from gradxform.symbolic.written import written_out

__all__ = ["debugprint", "pp"]

_SYMBOLS = {
    "add": "+", "sub": "-", "subtract": "-", "mul": "*", "multiply": "*", "truediv": "/", "divide": "/", "true_divide": "/",
    "div": "/", "pow": "**", "power": "**", "floordiv": "//", "floor_divide": "//", "mod": "%", "remainder": "%", "matmul": "@",
    "dot": "\\dot", "lt": "<", "less": "<", "gt": ">", "greater": ">", "le": "<=", "less_equal": "<=", "ge": ">=",
    "greater_equal": ">=", "equal": "==", "eq": "==", "not_equal": "!=", "ne": "!=", "and": "&", "and_": "&",
    "bitwise_and": "&", "or": "|", "or_": "|", "bitwise_or": "|", "xor": "^", "bitwise_xor": "^",
}
_PREFIXES = {"neg": "-", "negative": "-", "invert": "~"}


def _constant_text(node: Constant) -> str:
    value = np.asarray(node.data)
    text = str(node.data) if not value.shape else np.array2string(value, threshold=6, edgeitems=2).replace("\n", "")
    return text if isinstance(node, Number) else node.name or f"TensorConstant{{{text}}}"


def pp(expression: Any) -> str:
    """An expression in infix notation. A gradient is written out by the rules of calculus where there are such.

    What it computes is found by `grad`'s transform when a function is compiled, and then optimised: see
    ``f.maker.fgraph.outputs[0]``. Parts that are used twice are written twice: `debugprint` is for large expressions.

    >>> import gradxform.symbolic as T
    >>> x = T.dscalar("x")
    >>> T.pp(T.exp(x) * 2)
    '(exp(x) * TensorConstant{2})'
    >>> T.pp(T.function([x], T.grad(x ** 2, x)).maker.fgraph.outputs[0])
    '(2.0 * x)'
    """
    if not isinstance(expression, Node):
        raise ArgumentTypeError(
            f"pp takes a symbolic variable, got {expression!r} of type {type(expression).__name__}{user_line()}")
    texts: dict[Node, str] = {}
    root = written_out(expression)
    stack = [root]
    while stack:
        node = stack[-1]
        if node in texts:
            stack.pop()
            continue
        shown = _shown(node)
        pending = [parent for parent in shown if parent not in texts]
        if pending:
            stack.extend(pending)
            continue
        texts[node] = _leaf_text(node) if node.owner is None else _apply_text(node, node.owner, [texts[p] for p in shown])
    return texts[root]


def _shown(node: Node) -> list[Node]:
    """What is printed inside ``node``."""
    if node.owner is None:
        return []
    return [*node.owner.bodies, *node.owner.inputs] if node.owner.bodies else node.owner.inputs


def _leaf_text(node: Node) -> str:
    return _constant_text(node) if isinstance(node, Constant) else str(node)


def _apply_text(node: Node, apply: Apply, parts: list[str]) -> str:
    name = apply.op.name
    if name in _SYMBOLS and len(parts) == 2:
        return f"({parts[0]} {_SYMBOLS[name]} {parts[1]})"
    if name in _PREFIXES and len(parts) == 1:
        return f"({_PREFIXES[name]}{parts[0]})"
    if isinstance(apply.op, ProgramOperation):
        if name == "integer_pow":
            return f"({parts[0]} ** {apply.op.values['exponent']})"
        text = f"{name}{{{apply.op.params}}}({', '.join(parts)})" if apply.op.params else f"{name}({', '.join(parts)})"
    elif isinstance(apply.op, Call):
        text = _call_text(apply.op, parts)
    else:
        text = f"{name}({', '.join(parts)})"
    return text if len(apply.outputs) == 1 else f"{text}.{node.index}"


def _call_text(call: Call, parts: list[str]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, Slot):
            return parts[value.position]
        if type(value) in (tuple, list):
            inside = ", ".join(map(text, value))
            return f"[{inside}]" if type(value) is list else f"({inside}{',' if len(value) == 1 else ''})"
        if type(value) is slice:
            ends = [text(part) if part is not None else "" for part in (value.start, value.stop)]
            return ":".join([*ends, *([] if value.step is None else [text(value.step)])])
        return "..." if value is Ellipsis else str(value) if not isinstance(value, str) else repr(value)

    if call.name == "getitem":
        index = call.args[1]
        inside = ", ".join(map(text, index)) if type(index) is tuple and index else text(index)
        return f"{text(call.args[0])}[{inside}]"
    arguments = [*map(text, call.args), *[f"{key}={text(value)}" for key, value in call.kwargs.items()]]
    return f"{call.name}({', '.join(arguments)})"


def debugprint(expression: Any, file: Any = None) -> str | None:
    """Print an expression as a tree, one operation a line; what was printed before is referred to by its letter.

    A function prints what it computes after optimisation. With ``file='str'`` the text is returned.

    >>> import gradxform.symbolic as T
    >>> x = T.dscalar("x")
    >>> debugprint(T.exp(x) + x)
    add [id A] 'TensorType(float64, scalar)'
     |exp [id B] 'TensorType(float64, scalar)'
     | |x [id C] 'TensorType(float64, scalar)'
     |x [id C]
    """
    if isinstance(expression, Function):
        roots = expression.maker.fgraph.outputs
    else:
        roots = list(expression) if isinstance(expression, (list, tuple)) else [expression]
    for root in roots:
        if not isinstance(root, Node):
            raise ArgumentTypeError(
                f"debugprint takes a symbolic variable, a list of them or a function, got {root!r}{user_line()}")
    letters: dict[Node, str] = {}
    lines: list[str] = []
    stack = [(root, "") for root in reversed(roots)]
    while stack:
        node, margin = stack.pop()
        label = _label(node)
        if node in letters:
            lines.append(f"{margin}{label} [id {letters[node]}]")
            continue
        letters[node] = variable_name(len(letters)).upper()
        lines.append(f"{margin}{label} [id {letters[node]}] '{node.type}'")
        deeper = f"{margin[:-1]}| |" if margin else " |"
        stack.extend([(parent, deeper) for parent in reversed(_shown(node))])
    text = "\n".join(lines)
    if file == "str":
        return text
    print(text, file=file or sys.stdout)
    return None


def _label(node: Node) -> str:
    if node.owner is None:
        return _leaf_text(node)
    name = node.owner.op.name
    if isinstance(node.owner.op, ProgramOperation) and node.owner.op.params:
        name = f"{name}{{{node.owner.op.params}}}"
    return name if len(node.owner.outputs) == 1 else f"{name}.{node.index}"
