"""Policies of `checkpoint`: which intermediate values the backward pass finds, instead of computing them again.

A policy is a function ``policy(operation, *operand_types, **params) -> bool`` that says whether the results of such an
operation may be kept; ``operation.name`` names it. Names of policies are JAX's.

>>> import numpy as np
>>> from gradxform.api import checkpoint, checkpoint_policies, grad
>>> f = checkpoint(lambda x: np.sin(np.sin(x)), policy=checkpoint_policies.everything_saveable)
>>> grad(f)(0.0)
np.float64(1.0)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["checkpoint_dots", "checkpoint_dots_with_no_batch_dims", "dots_saveable", "dots_with_no_batch_dims_saveable",
           "everything_saveable", "nothing_saveable", "save_any_names_but_these", "save_anything_except_these_names",
           "save_from_both_policies", "save_only_these_names"]

Saveable = Callable[..., bool]


def everything_saveable(operation: Any, *types: Any, **params: Any) -> bool:
    """Everything is kept, as without `checkpoint`."""
    return True


def nothing_saveable(operation: Any, *types: Any, **params: Any) -> bool:
    """Nothing is kept but the arguments: the default."""
    return False


def dots_saveable(operation: Any, *types: Any, **params: Any) -> bool:
    """Results of products of matrices are kept, and what is elementwise is computed again."""
    return bool(operation.name == "dot_general")


def dots_with_no_batch_dims_saveable(operation: Any, *types: Any, **params: Any) -> bool:
    """As `dots_saveable`, but for products with batch axes."""
    return bool(operation.name == "dot_general" and not any(params["batch"]))


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


@dataclass(frozen=True)
class _Names:
    """What `save_only_these_names` and its like give."""

    label: str
    names: tuple[str, ...]
    named: bool
    other_names: bool
    unnamed: bool

    def __call__(self, operation: Any, *types: Any, **params: Any) -> bool:
        if operation.name != "name":
            return self.unnamed
        return self.named if params["name"] in self.names else self.other_names

    @property
    def excluded(self) -> frozenset[str]:
        """Names whose values are not kept, though the operations that make them may be saveable."""
        return frozenset() if self.named else frozenset(self.names)

    @property
    def __name__(self) -> str:
        return f"{self.label}({','.join(map(repr, self.names))})"


def save_only_these_names(*names_which_can_be_saved: str) -> Saveable:
    """Values are kept that `checkpoint_name` gave one of these names."""
    return _Names("save_only_these_names", names_which_can_be_saved, True, False, False)


def save_any_names_but_these(*names_not_to_save: str) -> Saveable:
    """Values are kept that `checkpoint_name` gave a name that is none of these."""
    return _Names("save_any_names_but_these", names_not_to_save, False, True, False)


def save_anything_except_these_names(*names_not_to_save: str) -> Saveable:
    """All values are kept, named or not, but those that `checkpoint_name` gave one of these names."""
    return _Names("save_anything_except_these_names", names_not_to_save, False, True, True)


@dataclass(frozen=True)
class _Either:
    """What `save_from_both_policies` gives."""

    first: Saveable
    second: Saveable

    def __call__(self, operation: Any, *types: Any, **params: Any) -> bool:
        return self.first(operation, *types, **params) or self.second(operation, *types, **params)

    @property
    def __name__(self) -> str:
        return f"save_from_both_policies({self.first.__name__},{self.second.__name__})"


def save_from_both_policies(policy_1: Saveable, policy_2: Saveable) -> Saveable:
    """Values are kept that either policy keeps."""
    return _Either(policy_1, policy_2)
