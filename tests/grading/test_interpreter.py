"""Which Python and which packages a graded program sees: ours by default, another one by configuration."""

import asyncio
import json
import sys
import venv
from pathlib import Path

import pytest

from veridistill.errors import ConfigError
from veridistill.grading import sandbox
from veridistill.grading.graders import Graders
from veridistill.grading.sandbox import BACKENDS, Confinement, Interpreter, Limits, Run, opened
from veridistill.records import Grade, Problem

numpy = pytest.importorskip("numpy", reason="the extra eval brings it")


@pytest.fixture(scope="module", params=list(BACKENDS))
def way(request: pytest.FixtureRequest) -> str:
    found = asyncio.run(sandbox.probe(request.param, Interpreter.own()))
    if isinstance(found, str):
        pytest.skip(f"{request.param} does not work on this machine: {found}")
    return found.name


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with one package of its own, and without NumPy, that other users may read."""
    folder = tmp_path_factory.mktemp("other")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    venv.create(folder / "env", symlinks=True)
    site = next((folder / "env").glob("lib/python*/site-packages"))
    (site / "ours.py").write_text("ANSWER = 42\n")
    return folder / "env" / "bin" / "python"


def printed(way: str, python: Interpreter, code: str) -> Run:
    async def run() -> Run:
        async with opened(BACKENDS[way], Limits(), python=python) as box:
            await box.load(code, None)
            return await box.run(b"")

    return asyncio.run(run())


FORTY_TWO = json.dumps({"kind": "stdin", "cases": [{"input": "", "output": "42"}]})
IMPORTED = """
import importlib, json, sys
def found(name):
    try:
        return importlib.import_module(name) is not None
    except ImportError:
        return False
print(json.dumps([found(name) for name in {names}]), sys.version.split()[0])
"""


def test_programs_see_our_python_with_numpy_and_not_our_other_packages(way: str) -> None:
    names = ("json", "numpy", "numpy.linalg", "sympy", "pydantic", "veridistill")
    done = printed(way, Interpreter.own(), IMPORTED.format(names=names))
    assert (
        done.output.decode().split("\n")[0]
        == f"[true, true, true, false, false, false] {sys.version.split()[0]}"
    )


def test_a_named_python_is_used_with_all_of_its_packages(way: str, other: Path) -> None:
    python = asyncio.run(Interpreter.at(str(other)))
    done = printed(way, python, IMPORTED.format(names=("ours", "numpy", "sortedcontainers")))
    assert done.output.decode().startswith("[true, false, false] "), done
    found = asyncio.run(sandbox.probe(way, python))
    assert isinstance(found, Confinement)
    assert (found.version, found.numpy) == (sys.version.split()[0], "")


def test_the_probe_says_which_python_and_numpy_programs_see(way: str) -> None:
    found = asyncio.run(sandbox.probe(way, Interpreter.own()))
    assert isinstance(found, Confinement)
    assert (found.version, found.numpy) == (sys.version.split()[0], numpy.__version__)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("exit 1", "does not run as a Python"),
        ("echo nothing", "does not run as a Python"),
        (
            """echo '{"version": [3, 10, 2], "executable": "x", "prefixes": [], "folders": []}'""",
            r"is Python 3\.10\.2; programs are run with Python 3\.11 or later",
        ),
    ],
)
def test_what_is_no_python_for_programs_is_refused(program: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    with pytest.raises(ConfigError, match=message):
        asyncio.run(Interpreter.at(str(path)))


def test_a_python_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.program_python=/nowhere/python does not run"):
        asyncio.run(Interpreter.at("/nowhere/python"))


def prepared(python: Path, tests: str) -> Graders:
    async def prepare() -> Graders:
        async with Graders(1, allow_code=True, python=str(python)) as graders:
            await graders.prepare([Problem("p", "lcb_v6", "code", "?", "", "code", tests=tests)])
            assert graders.facts["programs"].startswith(f"Python {sys.version.split()[0]}, no NumPy in ")
        return graders

    return asyncio.run(prepare())


def test_livecodebench_without_numpy_is_refused_before_anything_is_asked(way: str, other: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"lcb_v6 expects programs to find NumPy.*evaluation\.program_python"
    ):
        prepared(other, "@file:0:1")
    prepared(other, FORTY_TWO)


def test_a_configured_python_grades(way: str, other: Path) -> None:
    problem = Problem("p", "own", "code", "?", "", "code", tests=FORTY_TWO)

    async def graded() -> Grade:
        async with Graders(1, allow_code=True, python=str(other)) as graders:
            return await graders.grade(problem, "```python\nimport ours\nprint(ours.ANSWER)\n```")

    assert asyncio.run(graded()).outcome == "pass"
