"""Programs that nobody listed, of motion and signals: kinematic chains, bundle adjustment, filters, splines, waves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.unlisted import unlisted

JOINTS = 6
FRAMES, MARKS = 50, 3_000
TAPS = 9
KNOTS = 100


def hand(q: Any, numpy: Any) -> Any:
    """Give the position of a chain of links in the plane, from the angles of its joints."""
    x = y = angle = 0.0
    for joint in range(JOINTS):
        angle = angle + q[joint]
        x, y = x + numpy.cos(angle), y + numpy.sin(angle)
    return numpy.stack([x, y])


def reach(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for each pose's distance from a target, and its gradient."""

    def distance(q: Any, target: Any) -> Any:
        return numpy.sum((hand(q, numpy) - target) ** 2)

    return library.vmap(library.value_and_grad(distance))  # type: ignore[no-any-return]


def reach_jacobians(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for each pose's Jacobian."""
    return library.vmap(library.jacfwd(lambda q: hand(q, numpy)))  # type: ignore[no-any-return]


def poses(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make angles and targets."""
    return random.standard_normal((count, JOINTS)), random.standard_normal((count, 2))


def turned(r: Any, v: Any, numpy: Any) -> Any:
    """Turn a vector about an axis by that axis' length (Rodrigues)."""
    angle = numpy.sqrt(numpy.sum(r * r) + 1e-12)
    k = r / angle
    across = numpy.stack([k[1] * v[2] - k[2] * v[1], k[2] * v[0] - k[0] * v[2], k[0] * v[1] - k[1] * v[0]])
    return v * numpy.cos(angle) + across * numpy.sin(angle) + k * numpy.sum(k * v) * (1 - numpy.cos(angle))


def projected(camera: Any, mark: Any, numpy: Any) -> Any:
    """Project a mark into a camera of nine parameters, two of them of its distortion."""
    p = turned(camera[:3], mark, numpy) + camera[3:6]
    q = -p[:2] / p[2]
    square = numpy.sum(q * q)
    return camera[6] * (1 + square * (camera[7] + camera[8] * square)) * q


def bundle(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the squares of all residuals of a bundle adjustment, and the gradient in cameras and marks."""

    def loss(cameras: Any, marks: Any, frame: Any, mark: Any, seen: Any) -> Any:
        residual = library.vmap(lambda c, p: projected(c, p, numpy))(cameras[frame], marks[mark]) - seen
        return 0.5 * numpy.sum(residual * residual)

    return library.value_and_grad(loss, argnums=(0, 1))  # type: ignore[no-any-return]


def observations(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make cameras, marks, who sees what, and where."""
    frame, mark = random.integers(0, FRAMES, count), random.integers(0, MARKS, count)
    cameras = random.standard_normal((FRAMES, 9)) * 0.1
    cameras[:, 5] -= 8
    cameras[:, 6] += 1
    return cameras, random.standard_normal((MARKS, 3)), frame, mark, random.standard_normal((count, 2))


def bundle_jacobians(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for each observation's Jacobian in its camera and mark."""
    return library.vmap(library.jacrev(lambda x: projected(x[:9], x[9:], numpy)))  # type: ignore[no-any-return]


def pairs(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make a camera and a mark for each observation."""
    x = random.standard_normal((count, 12)) * 0.1
    x[:, 5] -= 8
    return (x,)


def filtered(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the error of a filter, bent, and its gradient in the weights."""

    def error(weights: Any, x: Any, y: Any) -> Any:
        ending = x.shape[0] - TAPS + 1
        signal = sum(weights[k] * x[k : ending + k] for k in range(TAPS))
        return numpy.mean((numpy.tanh(signal) - y) ** 2)

    return library.value_and_grad(error)  # type: ignore[no-any-return]


def signals(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make weights, what comes in and what should come out."""
    return random.standard_normal(TAPS), random.standard_normal(count), random.standard_normal(count - TAPS + 1)


def spline(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the squares of a quadratic spline at many points, and the gradient in its knots."""

    def squares(knots: Any, x: Any) -> Any:
        i = numpy.clip(numpy.floor(x).astype(int), 0, KNOTS - 3)
        t = x - i
        bent = 0.5 * (1 - t) ** 2 * knots[i] + (0.5 + t * (1 - t)) * knots[i + 1] + 0.5 * t * t * knots[i + 2]
        return numpy.sum(bent**2)

    return library.value_and_grad(squares)  # type: ignore[no-any-return]


def knots(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make knots and points between them."""
    return random.standard_normal(KNOTS), random.uniform(0, KNOTS - 2, count)


def rotations(library: Any, numpy: Any) -> Callable[..., Any]:
    """Pull a cotangent back through the rotation of vectors by quaternions."""

    def rotated(q: Any, v: Any) -> Any:
        (w, x, y, z), (a, b, c) = q.T, v.T
        tx, ty, tz = 2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)
        turns = (a + w * tx + y * tz - z * ty, b + w * ty + z * tx - x * tz, c + w * tz + x * ty - y * tx)
        return numpy.stack(turns, axis=1)

    return lambda q, v, cotangent: library.vjp(rotated, q, v)[1](cotangent)


def quaternions(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make quaternions, vectors and the cotangent."""
    return tuple(random.standard_normal((count, length)) for length in (4, 3, 3))


def wave(library: Any, numpy: Any) -> Callable[..., Any]:
    """Ask for the energy of a wave on a ring after 100 steps, and the gradient in its speeds and its start."""

    def energy(speed: Any, start: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            u, v = state
            v = v + speed * (numpy.roll(u, 1) + numpy.roll(u, -1) - 2 * u) * 0.1
            return (u + v * 0.1, v), None

        (u, _), _ = library.lax.scan(step, (start, numpy.zeros_like(start)), None, length=100)
        return numpy.sum(u * u)

    return library.value_and_grad(energy, argnums=(0, 1))  # type: ignore[no-any-return]


def cells(random: np.random.Generator, count: int) -> tuple[Any, ...]:
    """Make speeds and a start."""
    return np.ones(count), random.standard_normal(count)


WORKLOADS = (
    unlisted("unlisted_motion.chain", f"kinematic chain of {JOINTS} joints, n poses, value and gradient", 20_000, reach, poses),
    unlisted("unlisted_motion.chain_jacobians", "its Jacobians", 20_000, reach_jacobians, lambda r, n: poses(r, n)[:1]),
    unlisted("unlisted_motion.bundle", "bundle adjustment, n observations, value and gradient", 20_000, bundle, observations),
    unlisted("unlisted_motion.bundle_jacobians", "its Jacobians, 2 x 12 each", 20_000, bundle_jacobians, pairs),
    unlisted("unlisted_motion.filter", f"filter of {TAPS} weights, n numbers, value and gradient", 100_000, filtered, signals),
    unlisted("unlisted_motion.spline", "quadratic spline at n points, value and gradient", 100_000, spline, knots),
    unlisted("unlisted_motion.rotations", "n rotations by quaternions, pulled back", 100_000, rotations, quaternions),
    unlisted("unlisted_motion.wave", "100 steps of a wave on n cells, value and gradient", 1_000, wave, cells),
)
