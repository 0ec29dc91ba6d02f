"""The benchmarks of the orchestration run, on sizes that take seconds, and give the figures that are looked up."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_every_policy_keeps_the_same_and_ours_costs_least(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(BENCHMARKS / "cascade.py"),
        "--quick",
        "--scripted",
        "--json",
        "found.json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["same_kept_set"] is True
    tokens = {name: cost["tokens"] for name, cost in found["policies"].items()}
    assert (
        tokens["cheapest"]
        <= tokens["paper"]
        < tokens["reference"]
        < tokens["stage_exit"]
        < tokens["exhaustive"]
    )
    for key, whole in (("tokens_vs_exhaustive", "exhaustive"), ("tokens_vs_reference", "reference")):
        for order in ("paper", "cheapest"):
            assert abs(found[key][order] - tokens[order] / tokens[whole]) < 1e-3
    assert "the authors' policy" in done.stdout


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


def test_the_orchestrator_is_measured(tmp_path: Path) -> None:
    orchestrator = module("orchestrator")
    sizes = orchestrator.Sizes(orchestrator.Size(120, 8), orchestrator.Size(5, 64), (300, 900), 1)
    found = orchestrator.measure(sizes, 1, tmp_path)
    assert 1.0 <= found["makespan_ratio"]["120x8"] < 1.1
    short = found["makespan"]["5x64"]
    assert short["idle"]["makespan"] < 0.6 * short["off"]["makespan"]
    assert short["off"]["work"] == 1.0
    assert found["calls_per_second"] > 0
    assert found["resume_seconds"] > 0
    assert set(found["peak_rss_mb"]) == {"300", "900"}
    assert found["kills"]["repeated"] <= found["kills"]["kills"] * found["kills"]["slots"]
    assert orchestrator.table(found).count("\n") > 8


def test_occupancy_is_the_area_under_the_calls() -> None:
    orchestrator = module("orchestrator")
    changes = [(0.0, 1), (0.0, 1), (1.0, -1), (4.0, -1)]
    run = orchestrator.Simulated(4.0, 5.0, 0, changes)
    assert [share for _, share in orchestrator.occupancy(run, 2, 4)] == [1.0, 0.5, 0.5, 0.5]


def test_two_checkouts_are_compared_by_turns(tmp_path: Path) -> None:
    found = module("orchestrator").compare(BENCHMARKS.parent, 300, 1, tmp_path / "asked")
    assert {name: len(runs) for name, runs in found["runs"].items()} == {"ours": 1, "theirs": 1}
    assert found["runs"]["ours"][0]["calls"] == found["runs"]["theirs"][0]["calls"] > 100
    assert found["ratio"] > 0 < found["cpu_ratio"]


def test_memory_is_measured() -> None:
    memory = module("memory")
    found = memory.measure(memory.Sizes((30,), 60), ballast=1000)
    assert found["ratio"] == {"alone": 1.0, "beside_a_million_objects": 1.0}
    assert found["growth"]["alone"]["30"]["peak_mb"] > 0
    waiting = found["waiting"]
    assert waiting["candidates"] == 60
    assert 0 < waiting["waiting_mb"] <= waiting["peak_mb"]
    assert "60 candidates of 10,000 tokens" in memory.table(found)
