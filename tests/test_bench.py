"""The benchmark's arithmetic: who is compared with whom, what is promised over a whole run, and what is written down."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

bench = pytest.importorskip("bench", reason="the benchmark is not part of the package")

from bench import markdown, scaling, summary  # noqa: E402
from bench.machine import Limits  # noqa: E402
from bench.probes import Memory, Probe  # noqa: E402
from bench.process import missing  # noqa: E402
from bench.record import Record, merge, read, write  # noqa: E402
from bench.report import amount, duration  # noqa: E402
from bench.runner import Measurement  # noqa: E402
from bench.summary import Outcome  # noqa: E402
from bench.workload import Call, Contender, Workload, disagreement, leaves  # noqa: E402
from bench.workloads import GROUPS, NAMES, load  # noqa: E402

LIMITS = Limits(threads=2, bandwidth=10e9, float64=1e11, float32=2e11)


def contender(name: str, **options: object) -> Contender:
    """Make one that is never run."""
    return Contender(name, lambda size: Call("0", {}), **options)  # type: ignore[arg-type]


def outcome(name: str, times: dict[str, dict[int, float]], **options: object) -> Outcome:
    """Make a workload whose contenders took so many seconds at each size; those with a `!` compute something else."""
    contenders = tuple(
        contender(row.rstrip("!*"), expected=(lambda _: 0) if row.endswith("!") else None, yardstick=row.endswith("*"))
        for row in times
    )
    sizes = tuple(sorted({size for row in times.values() for size in row}))
    workload = Workload(name, name, sizes, contenders, lambda size: 0, **options)  # type: ignore[arg-type]
    measurements = [
        Measurement(name, row.rstrip("!*"), size, samples=(seconds,))
        for row, taken in times.items()
        for size, seconds in taken.items()
    ]
    return Outcome(workload, measurements)


def line(outcomes: list[Outcome], beginning: str) -> summary.Line:
    """Find a promise by the beginning of its text."""
    (found,) = [line for line in summary.promised(outcomes) if line.text.startswith(beginning)]
    return found


def test_fastest_row_is_held_against_fastest_peer() -> None:
    times = {
        "gradxform": {10: 2.0},
        "gradxform, otherwise": {10: 1.0},
        "gradxform, value!": {10: 0.1},
        "C++": {10: 0.8},
        "C++, same array": {10: 0.5},
        "NumPy, by hand*": {10: 0.2},
        "JAX": {10: 6.0},
        "JAX, folding": {10: 5.0},
        "JAX, value!": {10: 0.3},
        "torch eager": {10: 4.0},
        "torch compiled": {10: 3.0},
    }
    (standing,) = summary.standings(outcome("w", times))
    assert standing.seconds == 1.0
    assert (standing.peer, standing.ratio) == ("torch compiled", 3.0)
    assert (standing.jax, standing.torch, standing.torch_compiled) == (5.0, 3.0, 3.0)
    assert standing.native == 1.0 / 0.8


def test_fast_maths_is_held_against_fast_maths() -> None:
    relaxed = {"gradxform": {10: 2.0}, "gradxform, fast maths": {10: 1.0}}
    (standing,) = summary.standings(outcome("w", {**relaxed, "JAX": {10: 3.0}, "Numba": {10: 1.2}, "C++": {10: 0.5}}))
    assert (standing.peer, standing.ratio) == ("Numba", 1.2)
    assert (standing.seconds, standing.jax, standing.native) == (2.0, 1.5, 2.0)
    (standing,) = summary.standings(outcome("w", {**relaxed, "JAX": {10: 3.0}, "Numba": {10: 2.0}}))
    assert (standing.peer, standing.ratio) == ("JAX", 1.5)
    assert not summary.standings(outcome("w", {"gradxform, fast maths": {10: 1.0}, "JAX": {10: 3.0}}))


def test_each_workload_counts_once() -> None:
    many = outcome("many", {"gradxform": {1: 1.0, 2: 1.0, 3: 1.0}, "JAX": {1: 2.0, 2: 2.0, 3: 2.0}})
    single = outcome("single", {"gradxform": {1: 1.0}, "JAX": {1: 32.0}})
    found = line([many, single], "geometric mean against JAX")
    assert found.value == pytest.approx(8.0)
    assert found.kept is True


def test_means_without_a_bound_are_for_comparison() -> None:
    times = {"gradxform": {1: 2.0}, "C++": {1: 4.0}, "Numba": {1: 1.0}, "torch eager": {1: 10.0}, "JAX": {1: 6.0}}
    plain = outcome("plain", {"gradxform": {1: 1.0}, "JAX": {1: 27.0}})
    library, ours, native, unlisted = summary.compared([outcome("w", times), plain])
    assert library.value == pytest.approx(9.0)  # 3 and 27
    assert (ours.value, native.value) == (0.5, pytest.approx(0.25))
    assert str(native).endswith(": 0.25, for comparison")
    assert native.kept is None
    assert unlisted.value is None


def test_programs_that_nobody_listed_stand_for_themselves() -> None:
    listed = outcome("w", {"gradxform": {1: 1.0}, "JAX": {1: 4.0}})
    other = outcome("other", {"gradxform": {1: 2.0}, "JAX": {1: 1.0}}, listed=False)
    assert line([listed, other], "geometric mean against JAX").value == 4.0
    assert line([listed, other], "least against its best peer, of any").value == 4.0
    *_, unlisted = summary.compared([listed, other])
    assert unlisted.value == 0.5


def test_what_is_behind_is_named() -> None:
    ahead = outcome("ahead", {"gradxform": {1: 1.0}, "JAX": {1: 2.0}})
    behind = outcome("behind", {"gradxform": {1: 1.0}, "Numba": {1: 0.5}})
    product = outcome("product", {"gradxform": {1: 1.0}, "torch eager": {1: 0.96}}, products=True)
    least = line([ahead, behind, product], "least against its best peer, of any")
    assert (least.value, least.kept) == (0.5, False)
    assert least.note == "behind 1 0.50 Numba"
    assert line([ahead, behind, product], "least against its best peer, bound by").kept is True


def test_fused_work_is_held_against_native() -> None:
    near = outcome("near", {"gradxform": {1: 1.2}, "C++": {1: 1.0}}, fused=True)
    far = outcome("far", {"gradxform": {1: 9.0}, "C++": {1: 1.0}})
    assert line([near, far], "fused work over C++").value == pytest.approx(1.2)


def test_gradient_over_value_is_taken_at_the_largest_promised_size() -> None:
    times = {"gradxform": {1: 1.0, 100: 4.0}, "gradxform, value!": {1: 1.0, 100: 2.0}}
    assert line([outcome("w", times)], "gradient over value").value == 2.0


def test_first_calls_and_memory() -> None:
    made = outcome("w", {"gradxform": {1: 1.0}, "JAX": {1: 1.0}}, fused=True)
    held = 100 * 2**20
    probes = [
        Probe("w", "gradxform", 1, (0.02, 0.04, 0.03), (0.004,), Memory(9, held // 2, held // 2, held // 2 + held // 2)),
        Probe("w", "JAX", 1, (0.09, 0.12, 0.10), (0.05,), None),
    ]
    run = [Outcome(made.workload, made.measurements, probes)]
    assert line(run, "cold first call").value == pytest.approx(0.3)
    assert line(run, "first call with a warm").value == pytest.approx(4.0)
    peak = line(run, "peak memory")
    assert peak.value == pytest.approx((held + held // 2 - summary.SLACK) / held)
    assert peak.kept is False
    assert peak.note.startswith("w 1.4")


def test_growth_of_compile_time() -> None:
    sizes = (10, 100, 1_000, 10_000)
    made = outcome("unrolled_compile", {"gradxform": {n: 1e-5 * n**1.1 for n in sizes}})
    assert line([made], "exponent of compile time").value == pytest.approx(1.1)


def test_nothing_measured_is_neither_kept_nor_missed() -> None:
    assert all(promise.kept is None and "not measured" in str(promise) for promise in summary.promised([]))


@pytest.mark.parametrize(
    ("one", "every", "transferred", "serial", "scales"),
    [
        (0.018, 0.010, 0, False, True),
        (0.012, 0.010, 0, False, False),
        (0.012, 0.010, int(0.9 * 10e9 * 0.010), False, True),
        (0.012, 0.010, 0, True, None),
        (0.00012, 0.0001, 0, False, None),
        (None, None, 0, False, None),
    ],
)
def test_scaling(one: float | None, every: float | None, transferred: int, serial: bool, scales: bool | None) -> None:
    row = scaling.Scaled("w", "gradxform", 1, one, every, transferred, serial=serial)
    assert row.scales(LIMITS) is scales


def test_bits() -> None:
    nan, zero = np.array([np.nan, 0.0]), np.array([np.nan, -0.0])
    assert scaling.same_bits([nan], [nan.copy()])
    assert not scaling.same_bits([nan], [zero])
    assert not scaling.same_bits([np.zeros(2)], [np.zeros((2, 1))])


def test_results_that_differ_break_a_promise() -> None:
    rows = [scaling.Scaled("w", "gradxform", 7), scaling.Scaled("w", "gradxform", 8, different="between processes")]
    promise = scaling.promised(rows, LIMITS)[-1]
    assert (promise.value, promise.kept) == (1, False)
    assert "BITS DIFFER at 8: between processes" in scaling.told(rows, LIMITS)


def test_disagreement_says_where() -> None:
    workload = outcome("w", {"gradxform": {1: 1.0}}).workload
    wanted = [np.array([1.0, 2.0])]
    assert disagreement([np.array([1.0, 2.0])], wanted, workload) is None
    assert "differs at (1,)" in str(disagreement([np.array([1.0, 2.1])], wanted, workload))
    assert "differs at (0,)" in str(disagreement([np.array([math.nan, 2.0])], wanted, workload))
    assert "shape" in str(disagreement([np.array([1.0])], wanted, workload))
    assert "dtype" in str(disagreement([np.array([1.0, 2.0], np.float32)], wanted, workload))
    assert "gave 0 arrays" in str(disagreement([], wanted, workload))


def test_leaves_are_in_the_order_of_keys() -> None:
    assert [leaf.item() for leaf in leaves({"b": 1, "a": (2, [3])})] == [2, 3, 1]


def test_records_are_written_read_and_merged(tmp_path: Path) -> None:
    workload = load("elementwise")
    rows = [
        Measurement("elementwise", "gradxform", 1_000, samples=(1e-6, 3e-6, 2e-6), bytes=16_000),
        Measurement("elementwise", "JAX", 1_000, samples=(9e-6,)),
        Measurement("elementwise", "Numba", 1_000, skipped="numba not installed"),
    ]
    probes = [Probe("elementwise", "gradxform", 100, (0.03,), (0.004,), Memory(10, 80, 80, 81))]
    about: dict[str, object] = {"processor": "p", "threads": 2, "time": "t", "g++": None, "python": "3", "packages": {}}
    first = Record(about, LIMITS, [Outcome(workload, rows, probes)])
    write(first, tmp_path / "first.json")
    again = read(tmp_path / "first.json")
    assert again == first
    second = Record(about, None, [Outcome(workload, rows[:1])], [scaling.Scaled("elementwise", "gradxform", 10, 2.0, 1.0)])
    both = merge([again, second])
    assert both.limits == LIMITS
    assert [len(outcome.measurements) for outcome in both.outcomes] == [1]
    assert both.scaled == second.scaled
    page = markdown.page(first)
    assert "| `elementwise` | 1,000 | 2 µs | JAX | 4.5 | 4.5 |  | cold 30 ms, warm 4 ms | 1 B beside 160 B |" in page


def test_units() -> None:
    assert [duration(seconds) for seconds in (2.5, 0.0123, 4e-6, 7e-9)] == ["2.5 s", "12.3 ms", "4 µs", "7 ns"]
    assert [amount(count) for count in (3, 4_500, 2_000_000, 1.5e9)] == ["3 B", "4.5 kB", "2 MB", "1.5 GB"]


def test_labels_are_moved_apart_in_order() -> None:
    pytest.importorskip("matplotlib")
    from bench.plots import apart

    heights = apart({"low": 0.5, "same": 0.5, "high": 0.99, "top": 1.0}, 0.1)
    assert heights["low"] == 0.5
    assert heights["same"] == pytest.approx(0.6)
    assert heights["high"] == pytest.approx(0.85)
    assert heights["top"] == pytest.approx(0.95)


def test_every_workload_is_listed_once_and_consistent() -> None:
    assert len(set(NAMES)) == len(NAMES) == sum(map(len, GROUPS.values()))
    for name in NAMES:
        workload = load(name)
        assert workload.name == name
        names = [contender.name for contender in workload.contenders]
        assert len(set(names)) == len(names), name
        for contender in workload.contenders:
            assert contender.sizes is None or set(contender.sizes) <= set(workload.every_size), name


def test_what_is_missing_is_named() -> None:
    assert missing(("numpy", "no_such_module", "$no_such_program")) == ["no_such_module", "no_such_program"]
