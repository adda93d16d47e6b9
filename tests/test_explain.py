"""explain: its text says what is known of a program from elsewhere; the command line; notebooks."""

from __future__ import annotations

import hashlib
import html
import importlib.resources
import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gradxform as gx
from gradxform.__main__ import main
from gradxform.dtypes import float64, int64
from gradxform.errors import ArgumentTypeError
from gradxform.ir.highlighting import highlighted, notebook_html, tokens
from gradxform.loopir.expression import Apply, Constant, Symbol, index_add, index_mul, integer
from gradxform.loopir.printer import expression_text, extents_text, position_text
from gradxform.window.command import CommandError, parse_shape, parse_static, values_of
from gradxform.window.explanation import Explanation
from gradxform.window.graph import heat_level, quoted
from gradxform.window.page import embedded
from gradxform.window.text import difference


def explain(f, *args, measure: bool = False, **kwargs) -> Explanation:
    return gx.explain(f, *args, measure=measure, **kwargs)


def section(text: str, title: str) -> str:
    """What stands under the first title that begins so."""
    found = re.search(rf"^{title}.*\n-+\n((?:  .*\n|\n(?!\S))*)", text + "\n", re.MULTILINE)
    assert found is not None, title
    return found[1]


def loss(w, x, y):
    z = x @ w
    return np.mean(np.logaddexp(0.0, z) - y * z)


def logistic() -> Explanation:
    return explain(gx.value_and_grad(loss), np.zeros(20), np.ones((1000, 20)), np.ones(1000))


# ------------------------------------------------------------------------------------------------------- known programs


def test_a_product_says_its_flops_and_where_it_lies() -> None:
    m, k, n = 64, 32, 48
    found = explain(lambda x, y: np.sum(np.sin(x @ y)), np.ones((m, k)), np.ones((k, n)))
    products = [(span, estimate) for span, estimate in zip(found.spans, found.estimates, strict=True) if span.kind == "gemm"]
    assert [estimate.flops for _, estimate in products] == [2 * m * k * n]
    assert found.total.elementary_calls == m * n
    text = found.text()
    assert f"gemm {m}x{k}x{n}" in section(text, "Costs")
    decision = section(text, "Decisions")
    assert "product" in decision and f"{m * k * n:,} multiply-adds" in decision
    assert "keeps c in t1" in section(text, "Loops")
    memory = section(text, "Memory")
    assert re.search(rf"t\d+:f64\[{m},{n}\]\s+{m * n * 8:,} B", memory)
    assert f"inputs: {(m * k + k * n) * 8:,} B" in memory and "outputs: 8 B" in memory
    assert f"{found.loops.arena_bytes:,} B" in memory and found.arena["t1"] == 0


def test_a_decomposition_is_named() -> None:
    n = 100
    found = explain(lambda a: np.linalg.cholesky(a), np.eye(n))
    assert [estimate.flops for span, estimate in zip(found.spans, found.estimates, strict=True) if span.kind == "routine"] == [
        pytest.approx(n ** 3 / 3, rel=0.01)]
    text = found.text()
    assert f"cholesky {n}x{n}" in section(text, "Costs")
    assert re.search(r"routine .*cholesky", section(text, "Decisions"))


def test_fused_loops_say_what_they_compute() -> None:
    found = explain(lambda x: np.sum(np.sin(x) ** 2), np.ones(1000))
    loops = section(found.text(), "Loops: 1 nest")
    names = re.search(r"# nest 0 computes (.*): about", loops)
    assert names is not None
    # The program's variables, in its order: a sine, a square, a sum.
    assert names[1].split(", ") == [found.names(equation.outputs[0]) for equation in found.optimized.equations]
    assert len(found.optimized.equations) == 3
    assert "for " in loops and "sin(in0[" in loops
    assert found.total.flops == 2000 and found.total.elementary_calls == 1000


def test_what_an_equation_expands_to_is_said_to_be_for_it() -> None:
    found = explain(lambda x: np.fft.fft(x), np.ones((1000, 24)))  # rows are cut into parts
    (transform,) = [equation.outputs[0] for equation in found.optimized.equations if equation.operation.name.startswith("fft")]
    name = found.names(transform)
    assert [note.place for note in found.journal.of(transform) if note.decision == "routine"] != []
    (span,) = [span for span in found.spans if span.kind == "routine"]
    assert name in found.computes(span.nest) and name in found.held[found.notes[transform][-1].place]
    text = found.text()
    assert re.search(r"routine +\w+ +fft.forward, about ", section(text, "Decisions"))
    assert [key for key, value in found.own_seconds.items() if value] == []  # nothing was measured

    # The differences of eigenvalues are prepared by loops whose values the program does not know.
    found = explain(gx.grad(lambda a: np.sum(np.linalg.eigh(a + a.T)[0] ** 3)), np.eye(30))
    prepared = {found.names(var) for nest in found.prepares for var in nest}
    (apart,) = [found.names(e.outputs[0]) for e in found.optimized.equations if e.operation.name == "set_apart"]
    assert prepared == {apart} and f"prepares {apart}" in section(found.text(), "Loops")
    assert "on the way to it: " in section(found.text(), "Decisions")
    graph = json.loads(re.search(r'id="data">(.*?)</script>', found.html())[1])["graphs"][0]["dot"]  # type: ignore[index]
    assert f"prepares {apart}" in graph


def test_each_nest_says_what_it_is_for() -> None:
    found = explain(lambda a, b: (a, b + 1.0, 2.0), np.ones(3), np.ones(4))
    purposes = [found.purpose(number) for number in range(len(found.loops.nests))]
    copied, computed = (found.names(var) for var in (found.optimized.inputs[0], found.optimized.equations[0].outputs[0]))
    assert f"copies {copied}" in purposes and f"computes {computed}" in purposes and "writes out2" in purposes
    assert len(purposes) == 3 and all(purpose in found.text() for purpose in purposes)
    # A sum of parts that chunks have found is a nest of its own.
    found = explain(lambda x: np.sum(np.exp(x)), np.ones(1_000_000))
    (total,) = [found.names(e.outputs[0]) for e in found.optimized.equations if e.operation.name == "reduce_sum"]
    assert found.purpose(1) == f"computes {total}" and found.loops.nests[0].chunks > 1


def test_what_cancels_in_an_index_is_not_printed() -> None:
    i, block = Symbol("i", int64), Symbol("block", int64)
    shifted = index_add(index_mul(block, 64), index_mul(block, -64))
    assert position_text(shifted) == "0"
    assert position_text(index_add(index_add(index_mul(i, -1), index_mul(block, 3)), integer(-1))) == "block * 3 - i - 1"
    assert position_text(index_add(index_mul(i, -1), integer(99))) == "99 - i"
    assert position_text(index_mul(i, -2)) == "-i * 2"
    half = Apply("floor_divide", (index_add(i, integer(1)), integer(2)), int64)
    assert position_text(index_add(index_mul(half, 4), half)) == "((i + 1) // 2) * 5"
    assert position_text(Apply("minimum", (index_add(i, block), integer(7)), int64)) == "minimum(i + block, 7)"
    assert extents_text(integer(8), index_add(i, integer(1)), integer(1)) == "8x(i + 1)x1"
    # What is computed with values stands as it is computed.
    floats = Apply("add", (Apply("mul", (Symbol("v", float64), Constant(np.float64(2.0), float64)), float64),
                           Symbol("w", float64)), float64)
    assert expression_text(floats) == "((v * 2.0) + w)"


def test_effects_are_repeated_a_few_times_only() -> None:
    seen: list[float] = []
    found = gx.explain(lambda x: gx.debug.callback(lambda v: seen.append(float(v)), x) or x * 2.0, 3.0)
    assert found.measurement is not None and found.measurement.calls == 3
    assert seen == [3.0] * 8  # of each kind of build three calls, and one before them


def test_parts_that_took_longer_than_the_whole_are_remarked_on() -> None:
    found = gx.explain(lambda x: np.sum(np.sin(x)), np.ones(10_000))
    measured = found.measurement
    assert measured is not None
    found.measurement = replace(measured, call_seconds=0.5 * found.nest_seconds)
    text = section(found.text(), "Costs")
    assert "nests took " in text and "call and outputs" not in text
    found.measurement = replace(measured, call_seconds=2.0 * found.nest_seconds)
    text = section(found.text(), "Costs")
    assert "nests took " not in text and "call and outputs" in text


def test_what_was_counted_is_shown_in_place_of_the_estimate() -> None:
    def f(x):
        return gx.lax.while_loop(lambda c: c[0] < 7, lambda c: (c[0] + 1, c[1] * 1.5), (0, x))[1]

    text = gx.explain(f, np.ones(1000)).text()
    assert re.search(r"^  7 kflop +executed$", text, re.MULTILINE)
    assert re.search(r"kflop +estimated, with assumed iterations$", explain(f, np.ones(1000)).text(), re.MULTILINE)


def test_a_stored_value_and_one_computed_anew_say_why() -> None:
    def f(x):
        y = np.exp(x)
        return y / np.sum(y), x * 2.0 + 1.0

    text = explain(f, np.ones(5000)).text()
    decisions = section(text, "Decisions")
    assert re.search(r"stored +t\d.*read by \d", decisions) or re.search(r"computed anew", decisions)
    assert re.search(r"output +out1", decisions)


def test_loops_of_the_program_have_their_inner_programs() -> None:
    def f(a, xs):
        return gx.lax.scan(lambda c, x: (np.tanh(a @ c + x), np.sum(c)), np.zeros(8), xs)[1]

    found = explain(f, np.eye(8), np.ones((50, 8)))
    text = found.text()
    assert re.search(r"loop .*50 iterations", section(text, "Decisions"))
    # Names are those of one program with all that is in it: none is used twice.
    defined = re.findall(r"\b([a-z]+):[a-z]+\d*\[", section(text, "Optimised"))
    assert len(defined) == len(set(defined))


def test_a_name_means_the_same_variable_in_all_sections() -> None:
    found = logistic()
    text = found.text()
    traced, optimised = section(text, "As traced"), section(text, "Optimised")
    kept = [line for line in traced.splitlines() if "dot_general" in line]
    assert len(kept) == 2 and kept[0] in optimised.splitlines()
    # Those that only later programs have come later in the alphabet than all that were traced.
    def names(part: str) -> set[str]:
        return set(re.findall(r"^ +([a-z]+):", part, re.MULTILINE))

    last = max(names(traced), key=lambda name: (len(name), name))
    assert all((len(name), name) > (len(last), last) for name in names(optimised) - names(traced))
    assert set(re.findall(r"^  ([a-z]+):", section(text, "Decisions"), re.MULTILINE)) == names(optimised) - {"lambda"}


def test_the_effect_of_passes() -> None:
    def f(x):
        np.cos(x)
        return np.sin(x)

    found = explain(f, np.ones(3))
    assert [record.name for record in found.passes] == ["dead"]
    assert re.search(r"dead +1 +2 -> 1 +remove equations", section(found.text(), "Passes: 1 application"))
    changed = section(found.text(passes="diff"), "Passes")
    lines = [line.strip() for line in changed.splitlines() if line.startswith(" " * 6)]
    assert [line for line in lines if line.startswith("-")] == ["-     b:f64[3] = cos a"]
    assert "Passes" not in found.text(passes=False)
    assert "none has found anything to do" in explain(np.sin, np.ones(3)).text()


def test_differences_leave_out_what_is_equal() -> None:
    before = [f"line {number}" for number in range(20)]
    after = [*before[:10], "new", *before[11:]]
    assert difference(before, after) == [
        ("~", "9 lines"), (" ", "line 9"), ("-", "line 10"), ("+", "new"), (" ", "line 11"), ("~", "8 lines")]
    assert difference(before, before) == []


def test_where_it_was_written_and_called() -> None:
    found = logistic()
    line = inspect.getsourcelines(loss)[1]
    assert f"{__file__}:{line} (loss)" in found.text()
    assert found.called is not None and found.called.function == "explain"


def test_arguments_by_name_and_static_ones() -> None:
    @gx.jit
    def model(p, x):
        return np.tanh(x @ p["w"] + p["b"])

    found = explain(model, {"w": np.ones((3, 2)), "b": 0.5}, x=np.ones((4, 3), np.float32))
    assert found.text().startswith("model(p={'w': f64[3,2], 'b': f64[]*}, x=f32[4,3])\n")
    assert found.input_names() == ["p['b']", "p['w']", "x"]
    power = gx.jit(lambda x, n: x ** n, static_argnames="n", static_argnums=1)
    assert "x=f64[], n=3" in explain(power, 2.0, 3).text().replace("f64[]*", "f64[]")

    class Model:
        def __call__(self, x):
            return x * 2.0

    assert explain(gx.jit(Model()), np.ones(3)).text().startswith("Model(x=f64[3])\n")
    assert f"{__file__}:{inspect.getsourcelines(Model)[1] + 1} (__call__)" in explain(Model(), np.ones(3)).text()
    captured = np.ones(3)
    assert explain(lambda x: x + captured, np.ones(3)).input_names() == ["x", "captured 0"]


def test_shapes_alone_are_not_measured() -> None:
    found = gx.explain(loss, gx.ShapeDType((3,), float), gx.ShapeDType((5, 3), float), gx.ShapeDType((5,), float))
    assert found.measurement is None and "not measured" in found.text()


def test_what_is_measured() -> None:
    found = gx.explain(lambda x, y: np.sum(np.sin(x @ y)), np.ones((64, 32)), np.ones((32, 48)))
    assert found.measurement is not None and len(found.measurement.spans) == len(found.spans)
    text = found.text()
    assert re.search(r"per call, median of \d+ on \d+ threads?", text)
    costs = section(text, "Costs")
    assert "GFLOP/s" in costs and "whole call" in costs
    # The loops have the times of their parts.
    assert re.search(r"gemm t\d.*  # [\d.]+ [nu]s, [\d.]+ %", section(text, "Loops"))
    assert set(found.own_seconds) == {found.optimized.equations[0].outputs[0]}
    # What is said to have run is what there was to do: nothing here depends on data.
    assert [measured.executed.flops for measured in found.measurement.spans] == [estimate.flops for estimate in found.estimates]


def test_loops_of_unknown_length_are_assumed_and_then_counted() -> None:
    def f(x):
        return gx.lax.while_loop(lambda c: c[0] < 7, lambda c: (c[0] + 1, np.sin(c[1])), (0, x))[1]

    x = np.ones(100)
    text = explain(f, x).text()
    assert "assumed" in section(text, "Costs") or "assumed" in text
    found = gx.explain(f, x)
    assert found.measurement is not None
    assert sum(m.executed.elementary_calls for m in found.measurement.spans if m.span.parent is None) == 700


def test_machine_code_on_request() -> None:
    found = explain(np.sin, np.ones(3))
    assert "Assembly" not in found.text()
    assert len(section(found.text(assembly=True), "Assembly")) > 200
    assert "define" in found.llvm


def test_programs_without_equations() -> None:
    found = explain(lambda x: x, np.ones(3))
    assert "nest" in found.text() and found.html().startswith("<!DOCTYPE html>")
    assert explain(lambda: np.float64(2.0)).text()


@pytest.mark.parametrize("given", [3, "loss"])
def test_what_is_no_function(given: object) -> None:
    with pytest.raises(ArgumentTypeError, match=r"explain: expected a function .* got .*\n  in user code: "):
        gx.explain(given)


# ------------------------------------------------------------------------------------------------------------ notebooks


def test_notebooks_show_the_objects() -> None:
    lowered = gx.jit(lambda x: np.where(x < 0.5, x, 2.0)).lower(np.ones(300))
    for shown in (lowered.program, lowered.optimized, lowered.loops):
        plain = re.sub(r"<[^>]*>", "", shown._repr_html_())
        assert html.unescape(plain) == str(shown)
    assert all(title in lowered._repr_html_() for title in ("As traced", "Optimised", "Loops"))


def test_a_notebook_gets_the_page_in_a_frame() -> None:
    found = explain(np.sin, np.ones(3))
    frame = found._repr_html_()
    page = re.fullmatch(r'<iframe srcdoc="([^"]*)" style="[^"]*height:\d+px[^"]*" sandbox="allow-scripts" title="[^"]*">'
                        r"</iframe>", frame)
    assert page is not None and html.unescape(page[1]) == found.html()


@pytest.mark.parametrize("text", ["", "a < b & c", "for i1 in 0 .. 3:  # <script>", "x:f64[3,?] = sin[a=-1.5e-3] y", "\"'"])
def test_highlighting_keeps_the_text(text: str) -> None:
    assert "".join([part for _, part in tokens(text)]) == text
    marked = highlighted(text, {"comment": 'class="c"', "type": 'class="t"', "number": 'class="n"'})
    assert html.unescape(re.sub(r"<[^>]*>", "", marked)) == text
    assert "<script>" not in notebook_html(text)


def test_what_is_embedded_cannot_end_the_script() -> None:
    hostile = {"</script><!-- <script>": ["&amp;", "\u2028", "'\"\\"]}
    text = embedded(hostile)
    assert json.loads(text) == hostile
    assert not set("<>&\u2028") & set(text)


def test_the_vendored_library_is_the_one_that_is_named() -> None:
    assets = importlib.resources.files("gradxform.window").joinpath("assets")
    digest = hashlib.sha256(assets.joinpath("viz-global.js").read_bytes()).hexdigest()
    notice = assets.joinpath("NOTICE.txt").read_text("utf-8")
    assert f"SHA-256 {digest}" in notice
    # Whoever gets a page gets the licences.
    assert html.escape(notice) in explain(np.sin, np.ones(3)).html()


def test_the_language_of_graphs_takes_any_text() -> None:
    assert quoted('a"b\\N\nc\x01&lt;') == '"a\\"b\\\\N\\nc?&amp;lt;"'


def test_heat_grows_with_time() -> None:
    levels = [heat_level(seconds, 2.0) for seconds in (0.0, 1e-9, 0.1, 0.5, 1.0, 2.0)]
    assert levels == sorted(levels) and levels[0] == 0 and levels[1] == 1 and levels[-1] == 9


def test_saving_by_the_file_name(tmp_path: Path) -> None:
    found = explain(np.sin, np.ones(3))
    found.save(tmp_path / "page.html")
    found.save(str(tmp_path / "text.txt"), assembly=True)
    assert (tmp_path / "page.html").read_text("utf-8") == found.html()
    assert (tmp_path / "text.txt").read_text("utf-8") == found.text(assembly=True)


# ------------------------------------------------------------------------------------------------------- the command line

MODULE = """
import numpy as np

def loss(w, x):
    return np.sum(np.sin(x @ w))

def power(x, n=2):
    return x ** n

class Model:
    @staticmethod
    def forward(x):
        return np.tanh(x)

table = [1, 2]
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models_to_explain.py").write_text(MODULE)
    (tmp_path / "needy_to_explain.py").write_text("import surely_not_installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "models_to_explain", raising=False)
    return tmp_path


def test_shapes() -> None:
    assert parse_shape("f64[100,3]") == (np.dtype("float64"), (100, 3))
    assert parse_shape("f32[8]") == parse_shape(" f32[8,] ") == (np.dtype("float32"), (8,))
    assert parse_shape("100,3") == parse_shape("[100, 3]") == (np.dtype("float64"), (100, 3))
    assert parse_shape("f64") == parse_shape("f64[]") == (np.dtype("float64"), ())
    assert parse_shape("i64[5]") == (np.dtype("int64"), (5,))
    assert parse_shape("bool[2]") == (np.dtype("bool"), (2,)) and parse_shape("c128[0]") == (np.dtype("complex128"), (0,))
    assert parse_static(["n=(1, 2)", "mode=fast", "x=1e3"]) == {"n": (1, 2), "mode": "fast", "x": 1000.0}
    values = values_of([parse_shape(text) for text in ("f32[2,3]", "i32[4]", "f64", "c64[5]", "bool")])
    assert [np.asarray(value).dtype.name for value in values] == ["float32", "int32", "float64", "complex64", "bool"]
    assert [np.shape(value) for value in values] == [(2, 3), (4,), (), (5,), ()]
    assert not values[1].any() and np.std(values[0]) > 0.1


@pytest.mark.parametrize("text", ["", "f64[3", "3 4", "float64[3]", "q7[3]", "f643,2", "f64[-1]", "f64[2.5]"])
def test_shapes_that_cannot_be_read(text: str) -> None:
    with pytest.raises(CommandError, match="--shapes: "):
        parse_shape(text)


def test_the_command_in_a_process_of_its_own(models: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "gradxform", "explain", *arguments], capture_output=True, text=True,
                              env=environment, timeout=300)

    # Where the package is, wherever the working directory is.
    environment = {**os.environ, "PYTHONPATH": str(Path(gx.__file__).parents[1])}

    done = run("models_to_explain:loss", "--shapes", "f64[10]", "f64[50,10]", "--transform", "grad", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert "wrote page.html" in done.stdout and "seed 0" in done.stdout
    assert (models / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    done = run("models_to_explain.py:los", "--shapes", "3")
    assert done.returncode == 2 and "models_to_explain.py has no attribute 'los'; it defines loss, power, Model" in done.stderr


def test_what_the_command_prints(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "models_to_explain:loss", "--shapes", "f64[10]", "f32[50,10]", "--transform", "grad",
                 "--transform", "jacfwd", "--no-measure", "--passes"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("jacfwd_grad_loss(w=f64[10], x=f32[50,10])") and "not measured" in text and "seed 0" in text
    assert "runpy" not in text and "explained" not in text
    assert main(["explain", "models_to_explain.py:power", "--shapes", "7", "--static", "n=3", "--no-measure",
                 "--assembly"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("power(x=f64[7], n=3)") and "Assembly" in text
    assert main(["explain", "models_to_explain:Model.forward", "--shapes", "f64", "--no-measure"]) == 0
    assert "tanh" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["nowhere_to_be_found:f"], "module 'nowhere_to_be_found' is not found, neither installed nor in "),
    (["needy_to_explain:f"], "imports 'surely_not_installed', which is not found"),
    (["models_to_explain:missing"], "has no attribute 'missing'; it defines loss, power, Model"),
    (["models_to_explain"], "expected module:function or path/to/file.py:function"),
    (["missing.py:f"], "there is no file missing.py"),
    (["models_to_explain:table"], "is no function but [1, 2] of type list"),
    (["models_to_explain:loss", "--shapes", "3"], "does not take 1 positional argument: missing a required argument: 'x'"),
    (["models_to_explain:power", "--shapes", "3", "--static", "m=3"], "got an unexpected keyword argument 'm'"),
    (["models_to_explain:loss", "--shapes", "f64[3", "3"], "cannot read 'f64[3'"),
    (["models_to_explain:power", "--shapes", "3", "--static", "n"], "expected name=value"),
    (["models_to_explain:loss", "--shapes", "3", "2,4"], "could not be explained for 3, 2,4: matmul"),
    (["models_to_explain:power", "--shapes", "f64[900000000000000000]"], "no arrays can be made for f64[9"),
    (["models_to_explain:loss", "--shapes", "3", "2,3", "--html", "not/there/page.html"], "page.html cannot be written: No"),
])
def test_complaints_of_the_command(
    models: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main(["explain", *arguments, "--no-measure"]) == 2
    shown = capsys.readouterr().err
    assert complaint in shown and "python -m gradxform explain: " in shown
