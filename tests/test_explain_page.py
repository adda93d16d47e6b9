"""The page of `explain` in a real browser: the graph, the panel, zooming, hostile names, darkness; nothing leaves the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradxform as gx
from gradxform.window.explanation import Explanation

pytest.importorskip("selenium", reason="selenium drives the browser")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
            "--window-size=1280,900")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests of the module."""
    binary = next((path for path in map(shutil.which, BROWSERS) if path), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium and chromedriver to be found")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.set_script_timeout(60)
    yield found
    found.quit()


Open = Callable[[Explanation], None]


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of an explanation from a file, and looks in the end at what it has complained of and asked for."""
    path = tmp_path / "page.html"

    def open_page(explanation: Explanation) -> None:
        explanation.save(path)
        browser.get(path.as_uri())
        settled(browser)

    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]})
    for log in ("browser", "performance"):
        browser.get_log(log)
    yield open_page
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"}
    # The browser's own pages are its own affair.
    assert {url for url in asked if not url.startswith(("data:", "blob:", "chrome:", "chrome-untrusted:"))} == {path.as_uri()}


def settled(browser: Any) -> None:
    state = "return document.documentElement.dataset.state"
    WebDriverWait(browser, 90).until(lambda b: b.execute_script(state) in ("drawn", "failed"))
    assert browser.execute_script(state) == "drawn"


def count(browser: Any, selector: str) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, selector))


def press(browser: Any, selector: str) -> None:
    """A click in the middle of the first such element, be it part of a drawing."""
    browser.execute_script(
        "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))", selector)


def tab(browser: Any, name: str) -> Any:
    browser.find_element(By.CSS_SELECTOR, f"nav button[data-section={name}]").click()
    return browser.find_element(By.ID, name)


def view(browser: Any) -> list[float]:
    text = browser.find_element(By.CSS_SELECTOR, ".stage svg").get_dom_attribute("viewBox")
    return [float(number) for number in text.split()]


def loss(w, x, y):
    z = x @ w
    return np.mean(np.logaddexp(0.0, z) - y * z)


def explain(f: Any, *args: Any) -> Explanation:
    return gx.explain(f, *args, measure=False)


def test_a_graph_with_a_node_for_each_equation_and_a_box_for_each_nest(browser: Any, show: Open) -> None:
    found = explain(gx.value_and_grad(loss), np.zeros(20), np.ones((1000, 20)), np.ones(1000))
    show(found)
    assert count(browser, ".stage svg g.node.equation") == len(found.optimized.equations)
    assert count(browser, ".stage svg g.cluster.nest") == len(found.loops.nests)
    assert count(browser, ".stage svg g.node.input") == 3 and count(browser, ".stage svg g.node.output") == 2
    edges = {element.text for element in browser.find_elements(By.CSS_SELECTOR, ".stage svg g.edge text")}
    assert {"f64[1000]", "f64[1000,20]", "bool[1000]"} <= {text.strip() for text in edges}

    # A node tells its equation, the user's line, what was decided, and its loops.
    number = [equation.operation.name for equation in found.optimized.equations].index("dot_general")
    browser.find_element(By.ID, f"e{number}").click()
    panel = browser.find_element(By.TAG_NAME, "aside").text
    assert "dot_general" in panel and "z = x @ w" in panel and f"{Path(__file__).name}:" in panel
    assert "multiply-adds" in panel and "for " in panel
    assert count(browser, ".stage g.chosen") == 1 and count(browser, ".stage g.edge.near") >= 2
    # So does a box.
    press(browser, "#n1 path")
    assert browser.find_element(By.TAG_NAME, "aside").text.startswith("nest 1")

    # The other sections.
    assert "dot_general" in tab(browser, "program").text
    passes = tab(browser, "passes")
    assert len(passes.find_elements(By.TAG_NAME, "details")) == len(found.passes)
    passes.find_element(By.TAG_NAME, "summary").click()
    assert passes.find_element(By.CSS_SELECTOR, ".minus").is_displayed()
    assert "nest 0" in tab(browser, "loops").text
    decisions = tab(browser, "decisions")
    rows = [row for row in decisions.find_elements(By.CSS_SELECTOR, "tbody tr") if row.is_displayed()]
    decisions.find_element(By.TAG_NAME, "input").send_keys("output")
    left = [row for row in decisions.find_elements(By.CSS_SELECTOR, "tbody tr") if row.is_displayed()]
    assert 2 <= len(left) < len(rows) and all("output" in row.text for row in left)
    assert "nest 0" in tab(browser, "costs").text
    assert f"{found.cost.input_bytes:,} B" in tab(browser, "memory").text
    assert not browser.find_element(By.ID, "graph").is_displayed()


def test_zooming_and_moving(browser: Any, show: Open) -> None:
    show(explain(lambda x: np.sum(np.sin(x) ** 2), np.ones(100)))
    whole = view(browser)
    browser.find_element(By.CSS_SELECTOR, "button[data-action=in]").click()
    near = view(browser)
    assert near[2] == pytest.approx(0.75 * whole[2], rel=1e-3)
    # About the middle.
    assert near[0] + near[2] / 2 == pytest.approx(whole[0] + whole[2] / 2, abs=0.1)
    stage = browser.find_element(By.CLASS_NAME, "stage")
    webdriver.ActionChains(browser).move_to_element(stage).click_and_hold().move_by_offset(120, 60).release().perform()
    moved = view(browser)
    assert moved[0] < near[0] and moved[1] < near[1] and moved[2:] == near[2:]
    # Dragging chooses nothing.
    assert count(browser, ".stage g.chosen") == 0
    origin = webdriver.common.actions.wheel_input.ScrollOrigin.from_element(stage)
    webdriver.ActionChains(browser).scroll_from_origin(origin, 0, 100).perform()
    assert view(browser)[2] > moved[2]
    browser.find_element(By.CSS_SELECTOR, "button[data-action=fit]").click()
    assert view(browser) == pytest.approx(whole, abs=0.1)


def test_a_high_drawing_begins_at_its_top_and_can_be_read(browser: Any, show: Open) -> None:
    def f(x):
        for number in range(1, 25):
            x = np.sin(x) * number
        return x

    show(explain(f, np.ones(100)))
    shown = view(browser)
    drawing = browser.execute_script("const b = document.querySelector('.stage svg > g').getBBox(); return [b.y, b.height]")
    stage = browser.find_element(By.CLASS_NAME, "stage").size
    assert shown[3] < drawing[1] / 2 and shown[2] / stage["width"] <= 1.6
    browser.find_element(By.CSS_SELECTOR, "button[data-action=fit]").click()
    assert view(browser)[3] > drawing[1]


def test_programs_inside_and_darkness(browser: Any, show: Open) -> None:
    def f(a, xs):
        return gx.lax.scan(lambda c, x: (np.tanh(a @ c + x), np.sum(c)), np.zeros(8), xs)[1]

    found = explain(f, np.eye(8), np.ones((50, 8)))
    show(found)
    light = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    dark = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert brightness(light) > 240 and brightness(dark) < 40
    assert brightness(browser.find_element(By.CSS_SELECTOR, ".stage .equation text").value_of_css_property("fill")) > 180
    number = [equation.operation.name for equation in found.optimized.equations].index("scan")
    browser.find_element(By.ID, f"e{number}").click()
    browser.find_element(By.CSS_SELECTOR, "aside button").click()
    settled(browser)
    body = dict(found.optimized.equations[number].params)["body"]
    assert count(browser, ".stage svg g.node.equation") == len(body.equations)
    assert {"tanh", "dot_general"} <= {element.text for element in browser.find_elements(By.CSS_SELECTOR, ".equation text")}


def brightness(colour: str) -> float:
    parts = colour[colour.index("(") + 1:colour.index(")")].split(",")
    return sum(map(float, parts[:3])) / 3


def test_large_programs_begin_with_an_overview(browser: Any, show: Open) -> None:
    def f(w, x):
        for _ in range(14):
            x = np.tanh(w @ x) * 0.5 + np.sin(x) + np.sum(x) * 0.01
        return np.sum(x)

    found = explain(gx.value_and_grad(f), np.ones((40, 40)), np.ones(40))
    assert len(found.optimized.equations) > 200
    show(found)
    assert count(browser, ".stage svg g.node.nest") == len(found.loops.nests) and count(browser, ".equation") == 0
    press(browser, "#n3")
    assert browser.find_element(By.TAG_NAME, "aside").text.startswith("nest 3")
    browser.find_element(By.CSS_SELECTOR, "aside button").click()
    settled(browser)
    assert count(browser, ".stage svg g.cluster") == 1
    assert 1 <= count(browser, ".stage svg g.node.equation") < 60
    Select(browser.find_element(By.CSS_SELECTOR, ".bar select")).select_by_value("p0")
    settled(browser)
    assert count(browser, ".stage svg g.node.equation") == len(found.optimized.equations)


def test_hostile_names_are_text(browser: Any, show: Open, tmp_path: Path) -> None:
    name = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>\"\\N<b>&lt;"

    def f(tree):
        return np.sin(tree[name]) * 2.0

    f.__name__ = f.__qualname__ = name
    # A file whose name and line are no kinder.
    path = tmp_path / "<i onclick=x>.py"
    path.write_text(f"# \ndef g(x):\n    return x + 1  # {name}\n")
    scope: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    show(explain(lambda tree: scope["g"](f(tree)), {name: np.ones(30)}))
    assert browser.execute_script("return window.broken") is None
    assert count(browser, "img, [onerror], [onclick], main b b") == 0
    assert browser.find_element(By.CSS_SELECTOR, "g.input text").text.startswith("tree['")
    browser.find_element(By.ID, "i0").click()
    assert name.replace("\\", "\\\\")[:20] in browser.find_element(By.TAG_NAME, "aside").text
    browser.find_element(By.ID, "e2").click()
    assert f"return x + 1  # {name}" in browser.find_element(By.TAG_NAME, "aside").text
    show(explain(f, {name: np.ones(30)}))
    assert browser.title == name and browser.find_element(By.TAG_NAME, "h1").text.startswith(name)
    assert browser.execute_script("return window.broken") is None


def test_where_nothing_can_be_drawn_there_is_the_text(browser: Any, tmp_path: Path) -> None:
    found = explain(np.sin, np.ones(3))
    page = found.html()
    start = page.index('id="graphviz">') + len('id="graphviz">')
    path = tmp_path / "page.html"
    path.write_text(page[:start] + "AAAA" + page[page.index("</script>", start):], "utf-8")
    browser.get(path.as_uri())
    WebDriverWait(browser, 60).until(
        lambda b: b.execute_script("return document.documentElement.dataset.state") == "failed")
    assert "As traced: 1 equation" in browser.find_element(By.CSS_SELECTOR, "#graph .failure").text
    # Without scripts there is the same text.
    assert found.text().splitlines()[0] in page[page.index("<noscript>"):page.index("</noscript>")]
    browser.get_log("browser")


def test_a_notebook_draws_it_in_its_frame(browser: Any, tmp_path: Path) -> None:
    found = explain(lambda x: np.sin(x) + 1.0, np.ones(30))
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{found._repr_html_()}</body>", "utf-8")
    browser.get_log("browser")
    browser.get(path.as_uri())
    browser.switch_to.frame(0)
    settled(browser)
    assert count(browser, ".stage svg g.node.equation") == 2
    browser.switch_to.default_content()
    assert browser.get_log("browser") == []
