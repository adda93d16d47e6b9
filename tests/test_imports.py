"""Every module can be the first that is imported, and importing the package loads nothing heavy."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

# Importing any module of a package imports the package first. So this runs in an interpreter that has done that and no
# more, and forks for each module that is not loaded yet: as fresh as a new interpreter for every module.
EACH_ALONE = """
import importlib, json, os, sys, traceback
import gradxform

failures = {}
for module in json.loads(sys.argv[1]):
    if module in sys.modules:
        continue
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            importlib.import_module(module)
        except BaseException:
            with os.fdopen(write, "w") as pipe:
                pipe.write(traceback.format_exc())
            os._exit(1)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        complaint = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        failures[module] = complaint or f"ended with status {status}"
print(json.dumps(failures))
"""


def all_modules() -> list[str]:
    """Name every module of the package."""
    specification = importlib.util.find_spec("gradxform")
    assert specification is not None and specification.origin is not None
    root = Path(specification.origin).parent
    paths = sorted(path.relative_to(root.parent).with_suffix("") for path in root.rglob("*.py"))
    # Importing what is run as a script would run it.
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"]


def run(script: str, *arguments: str) -> str:
    completed = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_every_module_can_be_imported_first() -> None:
    modules = all_modules()
    assert {"gradxform.ir", "gradxform.errors", "gradxform.core"} <= set(modules)
    failures = json.loads(run(EACH_ALONE, json.dumps(modules)))
    assert not failures, "\n".join(f"{module}:\n{complaint}" for module, complaint in failures.items())


def test_the_import_check_reports_a_module_that_fails() -> None:
    failures = json.loads(run(EACH_ALONE, json.dumps(["gradxform.errors", "gradxform.no_such_module"])))
    assert list(failures) == ["gradxform.no_such_module"]
    assert "ModuleNotFoundError" in failures["gradxform.no_such_module"]


def test_importing_the_package_loads_neither_scipy_nor_the_compiler() -> None:
    loaded = json.loads(run("import sys, json, gradxform; print(json.dumps(sorted(sys.modules)))"))
    packages = {name.partition(".")[0] for name in loaded}
    assert {"gradxform", "numpy"} <= packages
    assert not packages & {"scipy", "llvmlite", "matplotlib", "mpmath", "hypothesis", "pytest"}
