"""Whole runs: what they leave, with nothing well-formed, without an exam, in full; `docs/evaluation.md` is exact."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Done, kept, questions, results, script, settings, veridistill
from veridistill.runs import pipeline
from veridistill.training.job import Job, Progress, TrainResult

DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"
# Named by what they hold, or described elsewhere: not documented key by key.
OPEN = ("config", "versions")


def problems(folder: Path, num: int = 3) -> Path:
    path = folder / "problems.jsonl"
    lines = [
        {"id": f"p{i}", "kind": "integer", "question": f"What is {i} times 3?", "answer": 3 * i}
        for i in range(num)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Stands in for the training process: the scripted engine has no weights to train. Keeps the jobs."""
    trained: list[Job] = []

    async def train(job: Job, progress: Callable[[Progress], None]) -> TrainResult:
        trained.append(job)
        job.out.mkdir(parents=True, exist_ok=True)
        progress(Progress(1, 1, 0.5))
        return TrainResult(1, (0.5,), 9, 0, 100, 0, 0.1)

    monkeypatch.setattr(pipeline.launcher, "train", train)
    return trained


def run_in_full(folder: Path) -> Done:
    fields = [f"evaluation.problems={problems(folder)}", "evaluation.samples=2", "build.audit_share=0.5"]
    # In this order a replay casts the same votes; in the cheapest order those on a rejected candidate may differ.
    fields += ["evaluation.ttc=true", "build.canary_share=0.8", "build.order=paper", "build.speculation=off"]
    fields.append("cost.completion=1")
    return veridistill("run", "-d", folder / "run", "--json", *settings(questions(folder), *fields))


# --- random weights -----------------------------------------------------------------------------------------


def test_random_weights_end_at_a_quality_limit_with_a_full_report(tmp_path: Path, tiny_model: Path) -> None:
    run = tmp_path / "run"
    fields = [
        f"model={tiny_model}",
        f"seeds.path={questions(tmp_path, 3)}",
        "engine.device=cpu",
        "engine.threads=1",
    ]
    fields += ["generate.candidates=2", "judge.votes=1", "generate.max_tokens=8", "judge.max_tokens=8"]
    fields += [f"evaluation.problems={problems(tmp_path)}", "evaluation.samples=2", "evaluation.max_tokens=8"]
    done = veridistill("run", "-d", run, *(part for field in fields for part in ("-o", field)))
    assert (done.code, done.out) == (4, "")
    assert "quality.min_kept=1" in done.err
    data = results(run)
    assert data["status"] == "below_quality"
    assert data["funnel"]["candidates"] == data["outcomes"]["malformed"] == 6
    assert (data["funnel"]["well_formed"], data["funnel"]["kept"]) == (0, 0)
    assert (data["base"]["num_problems"], data["base"]["samples"], data["base"]["pass_at_1"]) == (3, 2, 0.0)
    assert data["after"] is data["gain"] is None
    assert set(data["calls"]) == {"solve", "exam", "total", "cancelled"}
    assert not {"train", "model"} & {path.name for path in (run / "rounds" / "1").iterdir()}
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert all(f"What is {i} plus {7 * i}?" in page for i in range(3))


# --- the scripted engine ------------------------------------------------------------------------------------


def test_without_problems_there_is_no_exam(tmp_path: Path, trainer: list[Job]) -> None:
    done = veridistill("run", "-d", tmp_path / "run", "--json", *settings(questions(tmp_path)))
    assert done.code == 0
    data = done.json
    assert data["base"] is data["after"] is data["gain"] is None
    assert (data["status"], len(trainer)) == ("complete", 1)
    assert data["funnel"]["kept"] == len(kept(tmp_path / "run")) > 0
    assert set(data["seconds"]) == {"build", "train"}


def test_a_run_in_full(tmp_path: Path, trainer: list[Job]) -> None:
    done = run_in_full(tmp_path)
    assert done.code == 0
    assert done.json == results(tmp_path / "run")
    data = done.json
    assert len(trainer) == 1
    assert data["gain"]["mean"] == pytest.approx(data["after"]["pass_at_1"] - data["base"]["pass_at_1"])
    assert data["tokens"]["prompt"] == sum(role["prompt"] for role in data["tokens"]["by_role"].values())
    assert data["calls"]["total"] == sum(
        n for role, n in data["calls"].items() if role not in ("total", "cancelled")
    )
    again = veridistill("run", "-d", tmp_path / "run", "--json")
    assert again.code == 0
    timeless = {name: value for name, value in data.items() if name not in ("seconds",)}
    assert {name: value for name, value in again.json.items() if name != "seconds"} == timeless
    line = veridistill("run", "-d", tmp_path / "run", "-q").out
    assert line.startswith(f"pass@1 {data['base']['pass_at_1']:.1f} -> ")


@pytest.mark.parametrize("selection", ["shortest", "unfiltered"])
def test_the_model_card_gets_the_selection_that_the_build_used(
    tmp_path: Path, trainer: list[Job], selection: str
) -> None:
    fields = [f"build.selection={selection}", "judge.votes=2", "judge.stages=[factuality]"]
    assert veridistill("run", "-d", tmp_path / "run", *settings(questions(tmp_path), *fields)).code == 0
    assert results(tmp_path / "run")["rounds"][0]["selection"] == selection
    origin = trainer[0].origin
    assert (origin.model, origin.round, origin.selection, origin.judge) == ("any", 1, selection, None)
    assert (origin.candidates, origin.stages, origin.votes) == (3, ("factuality",), 2)


def test_the_dataset_is_written_twice_in_one_order(tmp_path: Path) -> None:
    assert veridistill("build", "-d", tmp_path / "run", *settings(questions(tmp_path))).code == 0
    lines = (
        (tmp_path / "run" / "rounds" / "1" / "dataset" / "train.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    rows = [json.loads(line) for line in lines]
    assert {row["seed_id"] for row in rows} == {seed for seed, _ in kept(tmp_path / "run")}
    assert all([turn["role"] for turn in row["messages"]] == ["user", "assistant"] for row in rows)


def test_faults_in_a_problems_file_are_reported_before_anything_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text('{"id": 1, "kind": "essay", "question": "q", "answer": "a"}\n', encoding="utf-8")
    done = veridistill(
        "run", "-d", tmp_path / "run", *settings(questions(tmp_path), f"evaluation.problems={path}")
    )
    assert done.code == 2
    assert "problems.jsonl:1: kind must be one of" in done.err
    assert not (tmp_path / "run" / "journal.sqlite").exists()
    path.write_text(path.read_text(encoding="utf-8").replace("essay", "exact"), encoding="utf-8")
    moved = path.rename(tmp_path / "moved.jsonl")
    done = veridistill(
        "build", "-d", tmp_path / "run", *settings(questions(tmp_path), f"evaluation.problems={moved}")
    )
    assert done.code == 0


# --- docs/evaluation.md ----------------------------------------------------------------------------------------


def documented() -> set[str]:
    section = DOCS.read_text(encoding="utf-8").split("\n## results.json\n")[1]
    rows = [line for line in section.split("\n") if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def leaves(value: Any, name: str = "") -> Iterator[str]:
    """Names as the documentation writes them: "tokens.prompt", "rounds[].examples"."""
    if isinstance(value, dict) and value and name not in OPEN:
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from leaves(inner, f"{name}[]")
    else:
        yield name


STANDS_FOR = {
    "EXAM": r"(base|after|rounds\[\]\.after)(\.benchmarks\.\w+)?",
    "PAIRED": r"(gain|gains\.benchmarks\.\w+|gains\.domains\.[a-z]+\.pooled)",
    "TTC": r"ttc\.(base|after)(\.benchmarks\.\w+)?",
    "METHOD": r"\w+",
    "COUNT": r"\d+",
    "BYDOMAIN": r"(rounds\[\]\.)?domains\.[a-z]+",
    "CANARIES": r"(rounds\[\]\.)?canaries",
    "AUDIT": r"(rounds\[\]\.)?audit(\.censored)?",
}


def pattern(name: str) -> str:
    return re.sub(r"[A-Z]{3,}", lambda found: STANDS_FOR.get(found[0], "[a-z_]+"), re.escape(name))


def test_results_have_exactly_the_documented_keys(tmp_path: Path, trainer: list[Job]) -> None:
    whole = run_in_full(tmp_path).json
    never = script(tmp_path, factuality=[0, 0], well_formed=0.5)
    veridistill("run", "-d", tmp_path / "none", *settings(questions(tmp_path), f"engine.script={never}"))
    mute = script(tmp_path, invalid=0.95)
    many = questions(tmp_path, 24)
    veridistill("run", "-d", tmp_path / "mute", *settings(many, f"engine.script={mute}"))
    stopped = results(tmp_path / "mute")["stopped_early"]
    found = {*leaves(whole), *leaves(results(tmp_path / "none")["rounds"], "rounds")}
    found.update(leaves(stopped, "stopped_early"))
    names = documented()
    # An object that is still null, or empty, stands under its own name, the top of documented ones.
    tops = {
        f"{top}{name}"
        for top in ("", "rounds[].")
        for name in (
            "domains.math.defects",
            "audit",
            "cost",
            "after",
            "gain",
            "gains",
            "ttc",
            "defects",
            "canaries",
            "canaries.kinds",
            "canaries.ended_by",
        )
    }
    unknown = {one for one in found - tops if not any(re.fullmatch(pattern(name), one) for name in names)}
    assert not unknown, sorted(unknown)
    assert not {name for name in names if not any(re.fullmatch(pattern(name), one) for one in found)}


# --- runs that go wrong, or go on ---------------------------------------------------------------------------


def test_a_finished_run_keeps_its_results_when_it_fails_to_start_again(
    tmp_path: Path, trainer: list[Job]
) -> None:
    assert run_in_full(tmp_path).code == 0
    before = results(tmp_path / "run")
    nowhere = ("-o", "engine.kind=endpoint", "-o", "engine.urls=[http://127.0.0.1:1]")
    assert veridistill("run", "-d", tmp_path / "run", *nowhere).code == 2
    after = results(tmp_path / "run")
    assert after["status"] == "incomplete"
    for part in ("base", "after", "gain", "funnel", "rounds", "calls"):
        assert after[part] == before[part]
    assert veridistill("evaluate", "-d", tmp_path / "run", "-o", "engine.kind=scripted").code == 0


def test_building_again_keeps_what_the_round_came_to(tmp_path: Path, trainer: list[Job]) -> None:
    assert run_in_full(tmp_path).code == 0
    before = results(tmp_path / "run")["rounds"][0]
    assert veridistill("build", "-d", tmp_path / "run", "-o", "build.asks=exhaustive").code == 0
    after = results(tmp_path / "run")
    assert (after["rounds"][0]["training"], after["rounds"][0]["after"]) == (
        before["training"],
        before["after"],
    )
    assert after["status"] == "complete"


def test_one_problem_has_no_interval(tmp_path: Path, trainer: list[Job]) -> None:
    fields = [f"evaluation.problems={problems(tmp_path, 1)}", "evaluation.samples=2"]
    done = veridistill("run", "-d", tmp_path / "run", *settings(questions(tmp_path), *fields))
    assert done.code == 0
    assert "too few problems for an interval" in done.out


def test_limits_hold_for_single_steps_and_over_rounds(tmp_path: Path, trainer: list[Job]) -> None:
    seeds = questions(tmp_path, 40)
    timed = veridistill("build", "-d", tmp_path / "a", *settings(seeds, "limits.hours=1e-7"))
    assert timed.code == 3
    assert "limits.hours" in timed.err
    whole = veridistill("build", "-d", tmp_path / "b", *settings(seeds))
    assert whole.code == 0
    used = results(tmp_path / "b")["tokens"]
    limit = used["prompt"] + used["completion"] + 1
    rounds = veridistill(
        "run", "-d", tmp_path / "c", *settings(seeds, "rounds=2", f"limits.tokens={limit}", "seed=1")
    )
    assert rounds.code in (0, 3)
    spent = results(tmp_path / "c")["tokens"]
    assert spent["prompt"] + spent["completion"] <= 1.5 * limit, (
        "the second round has what the first one left"
    )


def test_a_dry_run_leaves_a_run_incomplete_and_gives_no_time_from_the_journal(tmp_path: Path) -> None:
    options = settings(questions(tmp_path, 40), "build.order=paper")
    command = ("build", "-d", tmp_path / "run", "--dry-run", "--json", *options)
    first, again = (json.loads(veridistill(*command).out) for _ in range(2))
    assert results(tmp_path / "run")["status"] == "incomplete"
    assert 0 <= first["seconds_at_least"] <= first["seconds_at_most"]
    assert again["seconds_at_most"] is None
    assert again["calls"] == first["calls"], "what is known is used first"


def test_judges_that_accept_canaries_end_at_a_quality_limit(tmp_path: Path, trainer: list[Job]) -> None:
    asleep = script(tmp_path, compare=[1, 1], factuality=[1, 1], correctness=[1, 1], invalid=0)
    fields = settings(questions(tmp_path, 40), f"engine.script={asleep}", "build.canary_share=0.5")
    done = veridistill("run", "-d", tmp_path / "run", *fields)
    assert done.code == 4
    assert "canaries (answers known to be bad) were accepted" in done.err
    found = results(tmp_path / "run")["canaries"]
    assert found["accepted"] == found["judged"] > 10
    assert not trainer
    assert len(kept(tmp_path / "run")) == 40, "a canary is never kept"
    again = veridistill("run", "-d", tmp_path / "run", "-o", "quality.max_canaries=1")
    assert (again.code, len(trainer)) == (0, 1)
