"""Loops under `disable_jit`: Python runs them, and their functions get the values themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradxform import tree
from gradxform.api.stepping import given, steppable
from gradxform.api.tracing import as_values, types_of
from gradxform.core.source import user_line
from gradxform.errors import ArgumentTypeError
from gradxform.lax.progress import Meter, stepped_bar
from gradxform.lax.staging import merged_carry, operand_leaves, strong
from gradxform.operands import cast, promote_operands, stack


def pair(purpose: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        shown = f"a {type(result).__name__} of {len(result)}" if isinstance(result, (tuple, list)) else repr(result)
        raise ArgumentTypeError(
            f"{purpose}: the function must return a pair (carry, y), got {shown}: return (carry, None) if there is "
            f"nothing to stack{user_line()}")
    return result[0], result[1]


def scan_in_python(
    purpose: str, function: Callable[..., Any], init: Any, elements: Sequence[Any], xs_tree: tree.TreeDef, length: int,
    reverse: bool, meter: Meter | None,
) -> tuple[Any, Any]:
    """The loop as Python runs it: ``function`` gets the values themselves."""
    carry = PythonCarry(purpose, init)
    steps: list[list[Any]] = [[]] * length
    y_tree = None
    with stepped_bar(meter, length) as advance:
        for position in reversed(range(length)) if reverse else range(length):
            element = tree.unflatten(xs_tree, [given(x[position]) for x in elements])
            next_carry, y = pair(purpose, function(carry.value, element))
            carry.update(next_carry)
            leaves, y_tree = tree.flatten(y)
            steps[position] = as_values(leaves, f"{purpose}: the result")
            advance()
    assert y_tree is not None
    # A Python scalar in the first carry may have let the first result have another dtype than the others.
    stacked = [steppable(strong(stack(promote_operands(purpose, *ys)))) for ys in zip(*steps, strict=True)]
    return carry.result(), tree.unflatten(y_tree, stacked)


class PythonCarry:
    """A carry of a loop that Python runs; its types are checked as those of a recorded one."""

    def __init__(self, purpose: str, init: Any) -> None:
        self.purpose = purpose
        self.leaves, self.tree = operand_leaves(purpose, "the carry", init)
        self.value = tree.unflatten(self.tree, [given(x) for x in self.leaves])
        self.types = types_of(self.leaves)

    def update(self, value: Any) -> None:
        leaves, treedef = tree.flatten(value)
        leaves = as_values(leaves, f"{self.purpose}: the carry")
        self.types = merged_carry(self.purpose, self.tree, self.types, treedef, types_of(leaves))
        self.leaves = [steppable(cast(x, t.dtype, t.weak)) for x, t in zip(leaves, self.types, strict=True)]
        self.value = tree.unflatten(self.tree, [given(x) for x in self.leaves])

    def result(self) -> Any:
        return tree.unflatten(self.tree, [steppable(strong(x)) for x in self.leaves])
