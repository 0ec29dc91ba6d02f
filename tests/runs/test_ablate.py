"""`veridistill ablate`: every cell is what a run with its settings would have kept, and nothing new is asked."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from veridistill import cli, config
from veridistill.calls import replay
from veridistill.config import Config
from veridistill.data import tables
from veridistill.data.rundir import RunDir, opened
from veridistill.engines.base import Engine
from veridistill.errors import ConfigError
from veridistill.records import Sampling
from veridistill.report.progress import Progress
from veridistill.runs import ablate, pipeline, results
from veridistill.runs.session import Session

QUESTIONS = 24
SETTINGS = (
    "engine.kind=scripted",
    "generate.candidates=4",
    "judge.votes=3",
    "prompts=compact",
    "generate.max_tokens=256",
    "judge.max_tokens=256",
)
EXHAUSTIVE = ("build.asks=exhaustive", "build.extra_stages=[simple]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablate")
    lines = [json.dumps({"question": f"What is {i} plus {7 * i}?"}) for i in range(QUESTIONS)]
    (folder / "seeds.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def build(folder: Path, name: str, *overrides: str) -> RunDir:
    chosen = config.load(None, [f"seeds.path={folder / 'seeds.jsonl'}", *SETTINGS, *overrides])
    with opened(folder / name, chosen) as run:
        asyncio.run(pipeline.build_step(Session(run, Progress(None, "quiet"))))
        return run


@pytest.fixture(scope="module")
def exhaustive(folder: Path) -> RunDir:
    return build(folder, "exhaustive", *EXHAUSTIVE)


@pytest.fixture(scope="module")
def ablated(folder: Path, exhaustive: RunDir) -> dict[str, Any]:
    out = folder / "ablated"
    before = exhaustive.journal.read_bytes()
    cli.app(["ablate", str(exhaustive.path), "--out", str(out), "--quiet"], standalone_mode=False)
    assert exhaustive.journal.read_bytes() == before
    data: dict[str, Any] = json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    return data | {"out": out}


def examples(path: Path) -> list[Any]:
    return list(tables.EXAMPLES.read(path))


def cell(ablated: dict[str, Any], name: str) -> dict[str, Any]:
    return next(found for found in ablated["cells"] if found["name"] == name)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("n4-v3-first", []),
        ("n4-v3-all", ["build.selection=all"]),
        ("n2-v1-first", ["generate.candidates=2", "judge.votes=1"]),
        ("n1-v2-all", ["generate.candidates=1", "judge.votes=2", "build.selection=all"]),
        ("unfiltered", ["build.selection=unfiltered"]),
        ("simple", ["judge.stages=[simple]"]),
        ("only-factuality", ["judge.stages=[factuality]"]),
    ],
)
def test_a_cell_is_the_run_it_stands_for(
    folder: Path, ablated: dict[str, Any], name: str, overrides: list[str]
) -> None:
    lazy = ["build.audit_share=0", "build.speculation=off", "build.order=paper", "build.window=1"]
    run = build(folder, f"run-{name}", *lazy, *overrides)
    kept = examples(run.round(1).examples)
    assert kept
    assert examples(ablated["out"] / name / "examples.parquet") == kept
    text = (ablated["out"] / name / "train.jsonl").read_text(encoding="utf-8")
    assert len(text.splitlines()) == len(kept) == cell(ablated, name)["kept"]


def test_a_cell_counts_what_the_lazy_policy_would_have_asked(folder: Path, ablated: dict[str, Any]) -> None:
    one_by_one = ["build.audit_share=0", "build.canary_share=0", "build.speculation=off", "build.window=1"]
    run = build(folder, "run-cost", *one_by_one)
    found, tokens = results.read(run), cell(ablated, "n4-v3-first")
    assert tokens["calls"] == found["calls"]["total"]
    assert tokens["prompt_tokens"] == found["tokens"]["prompt"]
    assert tokens["completion_tokens"] == found["tokens"]["completion"]


def test_all_cells_are_there(ablated: dict[str, Any]) -> None:
    names = [found["name"] for found in ablated["cells"]]
    assert len(names) == len(set(names)) == 3 * 3 * 2 + 5
    assert ablated["new_calls"] == 0
    assert {path.name for path in ablated["out"].iterdir() if path.is_dir()} == set(names)


def test_a_run_that_is_not_exhaustive_is_refused(folder: Path) -> None:
    run = build(folder, "lazy")
    with pytest.raises(ConfigError, match=r"build.asks=lazy.*veridistill build --out .*asks=exhaustive"):
        cli.app(["ablate", str(run.path), "--out", str(folder / "none")], standalone_mode=False)


def test_an_exhaustive_run_with_a_gap_is_refused(folder: Path) -> None:
    """What was built lazily and is said to be exhaustive lacks replies, and the engine refuses to give any."""
    run = build(folder, "gap")
    path = run.path / "config.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("asks: lazy", "asks: exhaustive"), encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="a reply is missing"):
        cli.app(["ablate", str(run.path), "--out", str(folder / "gap-out"), "-q"], standalone_mode=False)
    assert not (folder / "gap-out" / "ablation.json").exists()


def test_a_run_that_was_not_built_is_refused(folder: Path) -> None:
    with opened(folder / "unbuilt", Config.model_validate({"build": {"asks": "exhaustive"}})) as run:
        pass
    with pytest.raises(ConfigError, match="has not been built"):
        ablate.source(run)


@pytest.mark.parametrize(("option", "value"), [("--n", "9"), ("--votes", "0"), ("--n", "x")])
def test_a_grid_outside_the_run_is_refused(folder: Path, exhaustive: RunDir, option: str, value: str) -> None:
    with pytest.raises(ConfigError, match=option):
        cli.app(
            ["ablate", str(exhaustive.path), "--out", str(folder / "x"), option, value], standalone_mode=False
        )


def test_the_engine_of_a_replay_refuses() -> None:
    engine: Engine = replay.NoEngine("model", False, (1,), "nothing is asked")
    with pytest.raises(ConfigError, match="nothing is asked"):
        asyncio.run(engine.generate((), Sampling(0, 1, 0, 1), 0))


def test_a_run_that_another_model_judged_is_replayed_with_its_votes(folder: Path) -> None:
    (folder / "judge.yaml").write_text("{name: judge, correctness: [0.9, 0.05]}", encoding="utf-8")
    apart = [
        f"judge.engine.script={folder / 'judge.yaml'}",
        "judge.engine.kind=scripted",
        "judge.model=other",
    ]
    run = build(folder, "apart", *EXHAUSTIVE, *apart)
    built = results.read(run)["rounds"][0]
    assert (built["model"], built["judge"]["model"]) == ("scripted", "judge")
    cells = ablate.grid(ablate.source(run).plan)
    out = folder / "apart-ablated"
    out.mkdir()
    data = asyncio.run(ablate.ablate(run, out, cells, Progress(None, "quiet")))
    whole = next(c for c in data["cells"] if c["name"] == f"n{cells[0].candidates}-v{cells[0].votes}-first")
    assert whole["kept"] > 0
    assert any(c["kept"] == built["funnel"]["kept"] for c in data["cells"])


def test_the_questions_are_the_runs_own(tmp_path: Path) -> None:
    """The seed file may have changed since, or be gone."""
    (tmp_path / "seeds.jsonl").write_text('{"question": "What is 1 plus 7?"}\n', encoding="utf-8")
    run = build(tmp_path, "run", *EXHAUSTIVE)
    (tmp_path / "seeds.jsonl").unlink()
    cli.app(
        ["ablate", str(run.path), "--out", str(tmp_path / "out"), "--quiet", "--n", "1"],
        standalone_mode=False,
    )
    assert json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))["cells"]
