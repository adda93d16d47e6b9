"""An LSTM over n steps, hidden 128, batch 32, 64 inputs: value and gradient in all weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contenders import contenders, promises, with_torch
from bench.workload import Contender, Workload

SIZES = (100,)
INPUTS, HIDDEN, BATCH = 64, 128, 32


@functools.lru_cache(maxsize=1)
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


def build(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask gradxform and JAX for value and gradient."""
    return library.value_and_grad(build_value(library, numpy))


def build_value(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the value alone."""
    return with_scan(library.lax.scan, numpy)


def build_torch(torch: Any) -> Callable[..., Any]:
    """Write the cell out for PyTorch."""

    def call(weights: Any, inputs: Any) -> Any:
        leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
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
        return value.detach(), dict(zip(leaves, gradient, strict=True))

    return call


def build_torch_module(torch: Any) -> Callable[..., Any]:
    """Use PyTorch's own LSTM module, whose loop and cell are native; its second bias is zero."""
    prepared: list[Any] = []

    def call(weights: Any, inputs: Any) -> Any:
        if not prepared:
            module = torch.nn.LSTM(INPUTS, HIDDEN, dtype=inputs.dtype)
            with torch.no_grad():
                module.weight_ih_l0.copy_(weights["input"].T)
                module.weight_hh_l0.copy_(weights["hidden"].T)
                module.bias_ih_l0.copy_(weights["bias"])
                module.bias_hh_l0.zero_()
            prepared.append(module)
        (module,) = prepared
        states, _ = module(inputs)
        value = states.square().mean()
        parameters = (module.bias_ih_l0, module.weight_hh_l0, module.weight_ih_l0)
        bias, hidden, entering = torch.autograd.grad(value, parameters)
        return value.detach(), (bias, hidden.T, entering.T)

    return call


def workload(name: str, dtype: type, relative_tolerance: float, absolute_tolerance: float) -> Workload:
    """Make the workload in one precision."""
    chosen = functools.partial(operands, dtype=dtype)
    listed = (
        *contenders(
            chosen,
            both=build,
            torch=build_torch,
            value=build_value,
            expected_value=lambda size: expected_in(size, dtype)[0],
            loop=True,
        ),
        Contender("torch eager, its LSTM", with_torch(build_torch_module, chosen), ("torch",)),
    )
    return Workload(
        name=name,
        title=f"LSTM, n steps, hidden 128, batch 32, 64 inputs, value and gradient, {dtype.__name__}",
        sizes=SIZES,
        growth=(10, 1_000),
        # Forwards, and twice that backwards.
        flops=lambda steps: 6.0 * steps * BATCH * 4 * HIDDEN * (INPUTS + HIDDEN),
        contenders=listed,
        expected=lambda size: expected_in(size, dtype),
        promises=promises(listed, SIZES, least=1.5),
        relative_tolerance=relative_tolerance,
        absolute_tolerance=absolute_tolerance,
    )


WORKLOAD = workload("lstm", np.float64, 1e-9, 1e-13)
