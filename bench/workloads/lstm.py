"""An LSTM over 100 steps, hidden 128, batch 32, 64 inputs: value and gradient in all weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers import with_folding
from bench.workload import Call, Contender, Promise, Workload

STEPS = 100
INPUTS, HIDDEN, BATCH = 64, 128, 32


@functools.cache
def operands(steps: int, dtype: type = np.float64) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Make weights as they are initialised, and a batch of sequences."""
    random = np.random.default_rng(5)
    bound = HIDDEN**-0.5
    weights = {
        "bias": random.uniform(-bound, bound, 4 * HIDDEN),
        "hidden": random.uniform(-bound, bound, (HIDDEN, 4 * HIDDEN)),
        "input": random.uniform(-bound, bound, (INPUTS, 4 * HIDDEN)),
    }
    xs = random.standard_normal((steps, BATCH, INPUTS))
    return {name: weight.astype(dtype) for name, weight in weights.items()}, xs.astype(dtype)


def with_scan(scan: Callable[..., Any], numpy: Any) -> Callable[[Any, Any], Any]:
    """Write the mean square of all hidden states."""

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + numpy.exp(-x))

    def loss(weights: Any, xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            hidden, cell = carry
            gates = x @ weights["input"] + hidden @ weights["hidden"] + weights["bias"]
            enter, forget = sigmoid(gates[:, :HIDDEN]), sigmoid(gates[:, HIDDEN : 2 * HIDDEN])
            candidate, leave = numpy.tanh(gates[:, 2 * HIDDEN : 3 * HIDDEN]), sigmoid(gates[:, 3 * HIDDEN :])
            cell = forget * cell + enter * candidate
            hidden = leave * numpy.tanh(cell)
            return (hidden, cell), hidden

        start = numpy.zeros((BATCH, HIDDEN), xs.dtype)
        _, states = scan(step, (start, start), xs)
        return numpy.mean(states * states)

    return loss


@functools.cache
def expected_in(steps: int, dtype: type) -> tuple[np.floating[Any], dict[str, np.ndarray]]:
    """Go back through time by hand, in float64."""
    weights, xs = operands(steps, dtype)
    weights = {name: weight.astype(np.float64) for name, weight in weights.items()}
    xs = xs.astype(np.float64)
    hidden = cell = np.zeros((BATCH, HIDDEN))
    kept = []
    for x in xs:
        gates = x @ weights["input"] + hidden @ weights["hidden"] + weights["bias"]
        enter, forget, candidate, leave = np.split(gates, 4, axis=1)
        enter, forget, leave = (1 / (1 + np.exp(-gate)) for gate in (enter, forget, leave))
        candidate = np.tanh(candidate)
        before, entering = cell, hidden
        cell = forget * cell + enter * candidate
        hidden = leave * np.tanh(cell)
        kept.append((x, entering, before, enter, forget, candidate, leave, np.tanh(cell), hidden))
    count = steps * BATCH * HIDDEN
    value = sum(np.sum(row[-1] ** 2) for row in kept) / count
    gradient = {name: np.zeros_like(weight) for name, weight in weights.items()}
    hidden_bar = cell_bar = np.zeros((BATCH, HIDDEN))
    for x, entering, before, enter, forget, candidate, leave, bent, hidden in reversed(kept):
        hidden_bar = hidden_bar + 2 / count * hidden
        cell_bar = cell_bar + hidden_bar * leave * (1 - bent**2)
        gates_bar = np.concatenate(
            [
                cell_bar * candidate * enter * (1 - enter),
                cell_bar * before * forget * (1 - forget),
                cell_bar * enter * (1 - candidate**2),
                hidden_bar * bent * leave * (1 - leave),
            ],
            axis=1,
        )
        gradient["bias"] += gates_bar.sum(axis=0)
        gradient["hidden"] += entering.T @ gates_bar
        gradient["input"] += x.T @ gates_bar
        hidden_bar = gates_bar @ weights["hidden"].T
        cell_bar = cell_bar * forget
    return dtype(value), {name: array.astype(dtype) for name, array in gradient.items()}


def gradxform(dtype: type) -> Callable[[int], Call]:
    """gradxform."""

    def prepare(size: int) -> Call:
        import gradxform as gx

        weights, xs = operands(size, dtype)
        return Call("f(w, x)", {"f": gx.jit(gx.value_and_grad(with_scan(gx.lax.scan, np))), "w": weights, "x": xs})

    return prepare


def jax_scan(dtype: type) -> Callable[[int], Call]:
    """JAX."""

    def prepare(size: int) -> Call:
        import jax
        import jax.numpy as jnp

        weights, xs = jax.tree_util.tree_map(jnp.asarray, operands(size, dtype))
        f = jax.jit(jax.value_and_grad(with_scan(jax.lax.scan, jnp)))
        return Call("ready(f(w, x))", {"f": f, "w": weights, "x": xs, "ready": jax.block_until_ready})

    return prepare


def torch_cell(dtype: type) -> Callable[[int], Call]:
    """torch eager, the cell written out."""

    def prepare(size: int) -> Call:
        import torch

        torch.set_num_threads(torch_threads())
        weights, xs = operands(size, dtype)
        leaves = {name: torch.from_numpy(weight.copy()).requires_grad_() for name, weight in weights.items()}
        inputs = torch.from_numpy(xs)

        def call() -> tuple[Any, dict[str, Any]]:
            hidden = cell = torch.zeros(BATCH, HIDDEN, dtype=inputs.dtype)
            states = []
            for x in inputs:
                gates = x @ leaves["input"] + hidden @ leaves["hidden"] + leaves["bias"]
                enter, forget, candidate, leave = gates.chunk(4, dim=1)
                cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
                hidden = torch.sigmoid(leave) * torch.tanh(cell)
                states.append(hidden)
            value = torch.stack(states).square().mean()
            gradient = torch.autograd.grad(value, list(leaves.values()))
            return value.detach().numpy(), {n: g.numpy() for n, g in zip(leaves, gradient, strict=True)}

        return Call("f()", {"f": call})

    return prepare


def torch_module(dtype: type) -> Callable[[int], Call]:
    """torch eager, its own LSTM module, whose loop and cell are native; its second bias is zero."""

    def prepare(size: int) -> Call:
        import torch

        torch.set_num_threads(torch_threads())
        weights, xs = operands(size, dtype)
        inputs = torch.from_numpy(xs)
        module = torch.nn.LSTM(INPUTS, HIDDEN, dtype=inputs.dtype)
        with torch.no_grad():
            module.weight_ih_l0.copy_(torch.from_numpy(weights["input"].T.copy()))
            module.weight_hh_l0.copy_(torch.from_numpy(weights["hidden"].T.copy()))
            module.bias_ih_l0.copy_(torch.from_numpy(weights["bias"]))
            module.bias_hh_l0.zero_()
        parameters = (module.bias_ih_l0, module.weight_hh_l0, module.weight_ih_l0)

        def call() -> tuple[Any, tuple[Any, ...]]:
            states, _ = module(inputs)
            value = states.square().mean()
            bias, hidden, entering = torch.autograd.grad(value, parameters)
            return value.detach().numpy(), (bias.numpy(), hidden.numpy().T, entering.numpy().T)

        return Call("f()", {"f": call})

    return prepare


def torch_threads() -> int:
    """Give torch as many threads as every contender has."""
    import os

    return int(os.environ["OMP_NUM_THREADS"])


def contenders(dtype: type) -> tuple[Contender, ...]:
    """List who does it."""
    return (
        Contender("gradxform", gradxform(dtype), ("gradxform",)),
        Contender("JAX", jax_scan(dtype), ("jax",)),
        Contender("JAX, folding", with_folding(jax_scan(dtype)), ("jax",)),
        Contender("torch eager, cell", torch_cell(dtype), ("torch",)),
        Contender("torch eager, its LSTM", torch_module(dtype), ("torch",)),
    )


PROMISES = tuple(
    Promise(f"{peer} / gradxform", lambda m, peer=peer: m.ratio(peer, "gradxform", STEPS), at_least=1.5)  # type: ignore[misc]
    for peer in ("JAX", "JAX, folding", "torch eager, cell", "torch eager, its LSTM")
)

WORKLOAD = Workload(
    name="lstm",
    title="LSTM, 100 steps, hidden 128, batch 32, 64 inputs, value and gradient, float64",
    sizes=(STEPS,),
    contenders=contenders(np.float64),
    expected=lambda size: expected_in(size, np.float64),
    promises=PROMISES,
    relative_tolerance=1e-9,
)
