"""Functions for other processes, importable there by name."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradxform as gx


@gx.jit
def decorated(x: Any) -> Any:
    return np.sum(np.sin(x)) * 2.0


def plain(x: Any, power: int = 2) -> Any:
    return np.sum(x ** power)


renamed = gx.jit(plain, static_argnames="power")


class Holder:
    @staticmethod
    @gx.jit
    def method(x: Any) -> Any:
        return x * 3.0
