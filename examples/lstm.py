"""Teach a small LSTM seven of Shakespeare's sonnets, character by character, and let it recite.

The network reads the text in sixteen streams at once, forty characters at a time (truncated backpropagation through time):
the state goes on from one window to the next, the derivative does not. There are three loops in each other, and each of them
is a ``lax.scan``:

* over the characters of a window, differentiated by ``value_and_grad``;
* over the windows of the text, each of which updates the parameters by Adam's rule: a whole pass over the text, gradients
  and updates included, is one call of one native function;
* in recitation, over the characters to write, each of which is drawn from what the network gives after the one before.

    python examples/lstm.py [--passes 100] [--plot FILE]

Loss is the mean negative log-probability of the next character. The exit status is 1, with a traceback, when training does not
bring it below 0.2, when an eighth sonnet, which is not trained on, is at no time predicted better than by the frequencies of
characters, or when the gradient differs from finite differences. (Later it is predicted worse and worse: so short a text is
learned by heart, which is what the loss is to show here.)

The text: William Shakespeare (1609), sonnets 18, 29, 30, 55, 60, 73 and 116, and 130 as the unseen one, in modern spelling.

S. Hochreiter, J. Schmidhuber (1997), "Long short-term memory"; F. Gers et al. (2000) for the forget gate; D. Kingma, J. Ba
(2015), "Adam: a method for stochastic optimization".
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gradxform as gx
from gradxform import lax

DATA = Path(__file__).parent / "data" / "sonnets.txt"
STREAMS, WINDOW, HIDDEN = 16, 40, 128

# ----------------------------------------------------------------------------------------------------------------------
# The network


class Parameters(NamedTuple):
    """The columns of the first three belong to the gates: input, forget, output, and the candidate."""

    characters: Any  # (vocabulary, 4 hidden): a row for each character that is read
    recurrent: Any  # (hidden, 4 hidden)
    bias: Any  # (4 hidden,)
    decoder: Any  # (hidden, vocabulary)
    decoder_bias: Any  # (vocabulary,)


class State(NamedTuple):
    hidden: Any
    cell: Any


def initial_parameters(vocabulary: int, hidden: int, random: np.random.Generator) -> Parameters:
    """Scaled normal weights; forget gates that start open, so that the derivative passes through many steps."""

    def normal(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    bias = np.zeros(4 * hidden, np.float32)
    bias[hidden : 2 * hidden] = 1.0
    return Parameters(
        characters=normal(vocabulary, 4 * hidden),
        recurrent=normal(hidden, 4 * hidden),
        bias=bias,
        decoder=normal(hidden, vocabulary),
        decoder_bias=np.zeros(vocabulary, np.float32),
    )


def initial_state(streams: int, hidden: int) -> State:
    return State(np.zeros((streams, hidden), np.float32), np.zeros((streams, hidden), np.float32))


def logistic(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def cell(parameters: Parameters, state: State, characters) -> State:
    """One step of all streams: ``characters`` are their integers."""
    gates = parameters.characters[characters] + state.hidden @ parameters.recurrent + parameters.bias
    enter, forget, leave, candidate = np.split(gates, 4, axis=-1)
    memory = logistic(forget) * state.cell + logistic(enter) * np.tanh(candidate)
    return State(logistic(leave) * np.tanh(memory), memory)


def decode(parameters: Parameters, hidden):
    return hidden @ parameters.decoder + parameters.decoder_bias


def loss(parameters: Parameters, state: State, text) -> tuple[Any, State]:
    """Mean negative log-probability of text[1:] given what came before, and the state after it; ``text`` is (time, streams)."""

    def step(state, characters):
        state = cell(parameters, state, characters)
        return state, state.hidden

    state, hidden = lax.scan(step, state, text[:-1])
    logits = decode(parameters, hidden)
    # The largest is subtracted against overflow; it does not change the result, and so needs no derivative.
    logits = logits - lax.stop_gradient(np.max(logits, axis=-1, keepdims=True))
    chosen = np.take_along_axis(logits, text[1:, :, None], axis=-1)[..., 0]
    return np.mean(np.log(np.sum(np.exp(logits), axis=-1)) - chosen), state


# ----------------------------------------------------------------------------------------------------------------------
# Training


class Training(NamedTuple):
    """The parameters, and Adam's running means of the gradient and of its square."""

    parameters: Parameters
    mean: Parameters
    square: Parameters
    updates: Any


def adam(training: Training, gradient: Parameters, rate, first: float = 0.9, second: float = 0.99) -> Training:
    updates = training.updates + 1
    mean = gx.tree.map_leaves(lambda m, g: first * m + (1.0 - first) * g, training.mean, gradient)
    square = gx.tree.map_leaves(lambda s, g: second * s + (1.0 - second) * g**2, training.square, gradient)

    def updated(parameter, m, s):
        return parameter - rate * (m / (1.0 - first**updates)) / (np.sqrt(s / (1.0 - second**updates)) + 1e-8)

    return Training(gx.tree.map_leaves(updated, training.parameters, mean, square), mean, square, updates)


def clipped(gradient: Parameters, limit: float) -> Parameters:
    """The gradient, shortened to ``limit`` where it is longer."""
    length = np.sqrt(sum(np.sum(g**2) for g in gradient))
    return gx.tree.map_leaves(lambda g: g * np.minimum(1.0, limit / length), gradient)


def pass_over(training: Training, windows, rate) -> tuple[Training, Any]:
    """One pass over the text, with an update after each window. Returns the losses of the windows."""

    def update(carry, window):
        training, state = carry
        (value, state), gradient = gx.value_and_grad(loss, has_aux=True)(training.parameters, state, window)
        return (adam(training, clipped(gradient, 1.0), rate), state), value

    streams = windows.shape[2]
    state = initial_state(streams, training.parameters.recurrent.shape[0])
    (training, _), losses = lax.scan(update, (training, state), windows)
    return training, losses


def windows_of(text: np.ndarray, streams: int, window: int) -> np.ndarray:
    """The text cut into streams and these into windows: (windows, window + 1, streams), overlapping by the one character."""
    count = (text.size // streams - 1) // window
    length = count * window + 1
    starts = np.linspace(0, text.size - length, streams).astype(int)
    positions = starts[None, None, :] + np.arange(window + 1)[None, :, None] + window * np.arange(count)[:, None, None]
    return np.ascontiguousarray(text[positions])


# ----------------------------------------------------------------------------------------------------------------------
# Recitation


def recite(parameters: Parameters, opening, noise):
    """Reads ``opening`` and goes on for as many characters as ``noise`` has rows, each drawn by the Gumbel trick.

    The largest of logits plus Gumbel noise is a draw from the distribution; noise of zeros takes the likeliest.
    """

    def read(state, character):
        return cell(parameters, state, character), None

    def write(carry, noise):
        state, character = carry
        state = cell(parameters, state, character)
        character = np.argmax(decode(parameters, state.hidden) + noise, axis=-1)
        return (state, character), character

    state, _ = lax.scan(read, initial_state(1, parameters.recurrent.shape[0]), opening[:-1, None])
    _, characters = lax.scan(write, (state, opening[-1:]), noise)
    return characters[:, 0]


# ----------------------------------------------------------------------------------------------------------------------
# The command


def check_gradient(parameters: Parameters, text: np.ndarray, random: np.random.Generator) -> None:
    """The derivative along a random direction in double precision, against central differences."""
    double = gx.tree.map_leaves(lambda x: x.astype(np.float64), parameters)
    direction = gx.tree.map_leaves(lambda x: random.standard_normal(x.shape), double)
    state = gx.tree.map_leaves(lambda x: x.astype(np.float64), initial_state(text.shape[1], parameters.recurrent.shape[0]))
    gradient = gx.jit(gx.grad(lambda parameters: loss(parameters, state, text)[0]))(double)
    along = sum(np.sum(g * d) for g, d in zip(gradient, direction, strict=True))

    value = gx.jit(lambda parameters: loss(parameters, state, text)[0])
    step = 1e-5
    ahead, behind = (value(gx.tree.map_leaves(lambda x, d, h=h: x + h * d, double, direction)) for h in (step, -step))
    numeric = (ahead - behind) / (2.0 * step)
    print(f"derivative along a random direction: {along:.9f}, by finite differences {numeric:.9f}")
    np.testing.assert_allclose(along, numeric, rtol=1e-6)


def plot(path: Path, losses: np.ndarray, unseen: np.ndarray, frequencies: float) -> None:
    """The loss of each window during training, and that of the unseen sonnet after each pass."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.5, 4.0), layout="constrained")
    passes = np.arange(losses.size) / losses.shape[1]
    axes.plot(passes, losses.ravel(), linewidth=0.8, color="C0", label="each window of seven sonnets")
    axes.plot(np.arange(len(losses)) + 1, unseen, linewidth=1.4, color="C3", label="a sonnet not seen in training")
    axes.axhline(frequencies, color="0.5", linestyle="--", linewidth=1.0, label="by the frequencies of characters")
    axes.set(xlabel="passes over the text", ylabel="loss per character (nats)", ylim=(0.0, 5.0))
    axes.set_title(f"LSTM of {HIDDEN} cells on seven sonnets", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    print(f"wrote {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Teach a small LSTM seven of Shakespeare's sonnets.")
    parser.add_argument("--passes", type=int, default=100, metavar="N", help="how often the text is read, default 100")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture of the loss")
    options = parser.parse_args(arguments)
    random = np.random.default_rng(1609)

    whole = DATA.read_text(encoding="ascii")
    letters, codes = np.unique(np.array(list(whole)), return_inverse=True)
    sonnets = whole.split("\n\n")
    unseen_length = len(sonnets[-1])
    text, unseen = codes[:-unseen_length], codes[-unseen_length:, None]
    windows = windows_of(text, STREAMS, WINDOW)
    print(f"{len(sonnets) - 1} sonnets of {text.size} characters, {letters.size} different; {len(windows)} windows a pass")

    parameters = initial_parameters(letters.size, HIDDEN, random)
    check_gradient(parameters, windows[0], random)
    counts = np.bincount(text, minlength=letters.size) + 1.0
    frequencies = float(-np.mean(np.log(counts / np.sum(counts))[unseen]))

    compiled = gx.jit(pass_over)
    evaluate = gx.jit(lambda parameters, text: loss(parameters, initial_state(1, HIDDEN), text)[0])
    zeros = gx.tree.map_leaves(np.zeros_like, parameters)
    training = Training(parameters, zeros, zeros, np.float32(0.0))
    losses, unseen_losses = [], []
    print("pass  loss of its windows  loss of an unseen sonnet  seconds, compilation included")
    began = time.perf_counter()
    for number in range(1, options.passes + 1):
        # The rate falls to zero in the end, for the last bit of the loss.
        rate = np.float32(0.008 * np.cos(0.5 * np.pi * (number - 1) / options.passes))
        training, values = compiled(training, windows, rate)
        losses.append(values)
        unseen_losses.append(evaluate(training.parameters, unseen))
        if number in {1, options.passes} or number % 20 == 0:
            seconds = time.perf_counter() - began
            print(f"{number:>4}  {np.mean(values):>19.4f}  {unseen_losses[-1]:>24.4f}  {seconds:.2f}", flush=True)
    first, last, best = losses[0][0], np.mean(losses[-1]), min(unseen_losses)
    print(f"loss at the start {first:.4f}, in the last pass {last:.4f}")
    print(f"least loss of the unseen sonnet {best:.4f}; by the frequencies of characters {frequencies:.4f}")

    opening = "Shall I compare thee"
    noise = 0.3 * random.gumbel(size=(400, 1, letters.size)).astype(np.float32)
    recited = gx.jit(recite)(training.parameters, codes[: len(opening)], noise)
    print(f"\n{opening}{''.join(letters[recited])}\n")
    if options.plot is not None:
        plot(options.plot, np.array(losses), np.array(unseen_losses), frequencies)

    assert abs(first - np.log(letters.size)) < 0.2, first
    assert last < 0.2 or options.passes < 100, last
    assert best < frequencies - 0.5 or options.passes < 20, (best, frequencies)
    return 0


if __name__ == "__main__":
    sys.exit(main())
