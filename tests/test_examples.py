"""The examples run as a user runs them, each in its own process; expected values are those published."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
DATA = EXAMPLES / "data" / "nist"
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def run_example(name: str, *arguments: str, timeout: float = 300.0) -> str:
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, f"{name} {arguments}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def numbers_after(text: str, label: str) -> list[float]:
    """The numbers in what follows the first occurrence of a label, up to the end of its line."""
    line = text.split(label, 1)[1].splitlines()[0]
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", line)]


def load_example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert specification is not None and specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, name, example)
    specification.loader.exec_module(example)
    return example


def certified_parameters(name: str) -> list[float]:
    """The certified column, read independently of the example: the third of the four numbers of a ``bN =`` line."""
    values = []
    for line in (DATA / f"{name}.dat").read_text().splitlines():
        label, _, rest = line.partition("=")
        columns = rest.split()
        if label.strip().startswith("b") and label.strip()[1:].isdigit() and len(columns) == 4:
            values.append(float(columns[2]))
    return values


@pytest.mark.parametrize("solver", ["accelerated", "scipy"])
def test_nist_regression_reaches_nine_digits_on_every_set_and_start(solver: str, tmp_path: Path) -> None:
    table_file = tmp_path / "digits.json"
    output = run_example("nist_regression.py", "--solver", solver, "--json", str(table_file))
    table = json.loads(table_file.read_text())
    rows = table["rows"]

    names = sorted(path.stem for path in DATA.glob("*.dat"))
    assert len(names) == 18
    assert sorted((row["set"], row["start"]) for row in rows) == [(name, start) for name in names for start in (1, 2)]
    assert "18 sets, 36 fits" in output

    for column in ("parameters", "deviations", "residual_sum", "residual_deviation"):
        worst = min(rows, key=lambda row: row[column])
        assert worst[column] >= 9.0, (column, worst)
        assert table["fewest"][column] == worst[column]
        assert all(row[column] <= 11.0 for row in rows)
    for row in rows:
        assert row["values"] == pytest.approx(certified_parameters(row["set"]), rel=1e-9, abs=0.0)


def test_nist_regression_plots_and_prints_its_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    together, folder = tmp_path / "all.png", tmp_path / "each"
    output = run_example(
        "nist_regression.py", "--sets", "Misra1a", "Nelson", "--plot", str(together), "--plots", str(folder)
    )
    lines = [line.split() for line in output.splitlines()]
    assert [line[:3] for line in lines if line and line[0] in {"Misra1a", "Nelson"}] == [
        ["Misra1a", "lower", "1"],
        ["Misra1a", "lower", "2"],
        ["Nelson", "average", "1"],
        ["Nelson", "average", "2"],
    ]
    assert together.read_bytes().startswith(SIGNATURE)
    assert sorted(path.name for path in folder.iterdir()) == ["Misra1a.png", "Nelson.png"]
    assert all(path.read_bytes().startswith(SIGNATURE) for path in folder.iterdir())


def test_nist_regression_fails_when_digits_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    example = load_example("nist_regression", monkeypatch)
    assert example.correct_digits([1.0, 2.002], [1.0, 2.0]) == pytest.approx(3.0, abs=1e-6)
    assert example.correct_digits(2.0, 2.0) == 11.0
    assert example.correct_digits(float("nan"), 2.0) == 0.0
    assert example.correct_digits(-2.0, 2.0) == 0.0

    monkeypatch.setitem(example.SOLVERS, "accelerated", lambda problem, start: start)
    monkeypatch.setattr(example, "polish", lambda problem, b: b)
    assert example.main(["--sets", "Misra1a"]) == 1


def test_theano_tutorial_prints_what_the_document_prints() -> None:
    output = run_example("theano_tutorial.py")
    assert "gradxform  2.0 * x\n" in output
    assert "[[0.25       0.19661193]\n              [0.19661193 0.10499359]]" in output
    for call, result in {
        "f(4), a float here, for an integer has no derivative": "8.0",
        "hessian": "[[2. 0.]",
        "T.Rop(y, W, V) at [[1, 1], [1, 1]], [[2, 2], [2, 2]], [0, 1]": "[2. 2.]",
        "T.Lop(y, W, v) at [2, 2], [0, 1]": "[[0. 0.]",
        "T.grad(T.sum(gy * v), x) at [4, 4], [2, 2]": "[4. 4.]",
        "T.Rop(gy, x, v) at [4, 4], [2, 2]": "[4. 4.]",
    }.items():
        assert f"{call}\n  gradxform  {result}" in output
    assert output.rstrip().endswith("all results equal those of the document")


def test_gradient_tape_tutorial_prints_what_the_document_prints() -> None:
    output = run_example("gradient_tape_tutorial.py")
    assert "gradxform: shape=(2, 2, 2, 2), dtype=float32\n[[[[48.  0.]\n   [ 0.  0.]]\n\n  [[ 0. 12.]" in output
    assert "gradxform: shape=(2, 2, 2, 2, 2, 2), dtype=float32\n[[[[[[24.  0.]" in output
    assert "gradxform: shape=(2, 2, 2, 2, 2), dtype=float32" in output
    assert output.rstrip().endswith("all results equal those of the document")


def test_tour_shows_every_stage() -> None:
    output = run_example("tour.py")
    for part in ("make_ir(f)", ".program", ".optimized", ".loops", ".llvm", ".assembly", ".cost", "jvp of grad", "hvp"):
        assert part in output, part
    assert "under jit the same function is refused" in output
    assert "tour.py" in output.split("is refused")[1].split("7. Look inside")[0], "the error names the user's line"
    assert output.rstrip().endswith("every result was as expected")


def test_kalman_finds_the_published_variances(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "nile.png"
    output = run_example("kalman.py", "--plot", str(picture))
    assert picture.read_bytes().startswith(SIGNATURE)
    # Durbin and Koopman (2012), section 2.10; the diffuse log-likelihood as other programs give it for these data.
    assert numbers_after(output, "local level: log-likelihood")[0] == pytest.approx(-632.5456, abs=1e-4)
    assert numbers_after(output, "variance of the noise")[0] == pytest.approx(15099.0, rel=1e-3)
    assert numbers_after(output, "variance of the level")[0] == pytest.approx(1469.1, rel=1e-3)


def test_kalman_fails_on_other_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example = load_example("kalman", monkeypatch)
    changed = tmp_path / "nile.csv"
    changed.write_text(example.DATA.read_text(encoding="ascii").replace("1899,774", "1899,1100"), encoding="ascii")
    monkeypatch.setattr(example, "DATA", changed)
    with pytest.raises(AssertionError):
        example.main([])


def test_ode_parameters_converges_in_order_and_fits(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "lynx.png"
    output = run_example("ode_parameters.py", "--plot", str(picture))
    assert picture.read_bytes().startswith(SIGNATURE)
    assert numbers_after(output, "\n  order  ") == pytest.approx([4.0, 5.0], abs=0.2)
    for name, published in {"birth": 0.55, "hunt": 0.028, "death": 0.80, "feed": 0.024}.items():
        value, deviation = numbers_after(output, f"\n  {name} ")
        assert abs(value - published) < deviation, name
    first, second = re.findall(r"\n  half the sum of squares ([\d.]+)", output)
    assert float(first) == pytest.approx(float(second), rel=1e-8)


def test_ode_parameters_has_the_coefficients_of_dormand_and_prince(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order conditions that each row must meet: its sum is its node, and the error estimate sees no constant."""
    example = load_example("ode_parameters", monkeypatch)
    assert [sum(row) for row in example.STAGES] == pytest.approx(example.NODES, abs=1e-14)
    weights = [*example.STAGES[-1], 0.0]
    for power in range(5):
        assert sum(w * c**power for w, c in zip(weights, example.NODES, strict=True)) == pytest.approx(1 / (power + 1))
        if power < 4:
            terms = [w * c**power for w, c in zip(example.ERROR, example.NODES, strict=True)]
            assert sum(terms) == pytest.approx(0.0, abs=1e-15)


def test_lstm_learns(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "loss.png"
    output = run_example("lstm.py", "--passes", "25", "--plot", str(picture))
    assert picture.read_bytes().startswith(SIGNATURE)
    along, numeric = numbers_after(output, "derivative along a random direction:")
    assert along == pytest.approx(numeric, rel=1e-6)
    first, last = numbers_after(output, "loss at the start")
    assert last < 2.2 < 3.8 < first
    unseen, by_frequencies = numbers_after(output, "least loss of the unseen sonnet")
    assert unseen < by_frequencies - 0.5
    assert "\nShall I compare thee" in output


def test_implicit_layer_solves_its_three_equations(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "implicit.png"
    output = run_example("implicit_layer.py", "--plot", str(picture))
    assert picture.read_bytes().startswith(SIGNATURE)
    assert numbers_after(output, "iterations")[-1] < 1e-10
    assert "0 of 240 points on the wrong side" in output
    assert output.count("largest error") == 3


def test_implicit_layer_fails_where_a_derivative_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    example = load_example("implicit_layer", monkeypatch)
    right = example.kepler_derivatives

    def wrong(mean_anomaly: np.ndarray, eccentricity: np.ndarray) -> tuple[np.ndarray, ...]:
        anomaly, gradient, hessian = right(mean_anomaly, eccentricity)
        return anomaly, gradient * (1.0 + 1e-8), hessian

    monkeypatch.setattr(example, "kepler_derivatives", wrong)
    with pytest.raises(AssertionError, match="gradient"):
        example.check_kepler()
