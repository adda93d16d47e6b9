"""Gradients by a tape."""

from __future__ import annotations

from typing import Any

import gradxform.tape as tf


def gradient(function: Any, *values: Any, **options: Any) -> list[Any]:
    """The derivatives of a function by each of its arguments, as NumPy has them; None where there is none."""
    sources = [tf.constant(value) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        result = function(*sources)
    found = tape.gradient(result, sources, **options)
    return [None if part is None else part.numpy() for part in found]
