"""Whole runs from Python: what a call gives, what it takes, and that an interrupt stops it to be resumed."""

import asyncio
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import veridistill
from tests.commands import calls, questions
from tests.runs.test_pipeline import problems, trainer  # noqa: F401
from veridistill import api
from veridistill.data.rundir import stored_config
from veridistill.engines.scripted import ScriptedEngine
from veridistill.errors import ConfigError, QualityLimit

SETTINGS: dict[str, Any] = {
    "engine": {"kind": "scripted"},
    "prompts": "compact",
    "build.audit_share": 0,
    "build.canary_share": 0,
    "n": 3,
    "judge": {"votes": 2},
    "progress": "quiet",
}
ASKED = [f"What is {i} plus {7 * i}?" for i in range(12)]


def build(out: Path, seeds: Any, **more: Any) -> veridistill.Result:
    return veridistill.build("any", seeds, out, **(SETTINGS | more))


@pytest.mark.usefixtures("trainer")
def test_a_run_gives_a_result(tmp_path: Path) -> None:
    exam = {"evaluation.problems": problems(tmp_path), "k": 2}
    found = veridistill.run("any", questions(tmp_path), tmp_path / "run", **SETTINGS, **exam)
    assert found.status == "complete"
    assert found.gain is not None
    assert found.gain["low"] <= found.gain["mean"] <= found.gain["high"]
    assert found.report.is_file()
    assert found.model == tmp_path / "run" / "rounds" / "1" / "model"
    assert found.table("exam_after").num_rows == 6
    candidates = found.table("candidates").to_pandas()
    assert candidates["kept"].sum() == found.table("examples").num_rows == found.data["funnel"]["kept"]
    assert repr(found).startswith(f"Result('{tmp_path / 'run'}': complete, gain ")
    assert veridistill.Result(tmp_path / "run") == found
    again = veridistill.evaluate(out=tmp_path / "run", progress="quiet")
    assert again.gain == found.gain


def test_a_call_works_while_a_loop_is_running(tmp_path: Path) -> None:
    async def cell() -> veridistill.Result:
        return build(tmp_path / "run", questions(tmp_path))

    assert asyncio.run(cell()).rounds == 1


def test_settings_are_nested_dotted_or_short(tmp_path: Path) -> None:
    build(tmp_path / "run", questions(tmp_path), **{"judge.max_reasks": 1, "build.order": "paper"})
    config = stored_config(tmp_path / "run")
    assert (config.generate.candidates, config.judge.votes, config.judge.max_reasks) == (3, 2, 1)
    assert (config.model.path, config.build.order, config.engine.kind) == ("any", "paper", "scripted")
    with pytest.raises(ConfigError, match=r"did you mean judge\.votes"):
        build(tmp_path / "other", questions(tmp_path), judge={"vote": 3})


@pytest.mark.parametrize(
    "seeds",
    [
        ASKED,
        [{"question": text} for text in ASKED],
        pa.table({"question": ASKED}),
        pa.table({"question": ASKED}).to_pandas(),
    ],
    ids=["texts", "rows", "arrow", "pandas"],
)
def test_questions_may_be_given_themselves(tmp_path: Path, seeds: Any) -> None:
    found = build(tmp_path / "run", seeds)
    assert found.table("seeds")["question"].to_pylist() == ASKED
    asked = calls(tmp_path / "run")
    build(tmp_path / "run", seeds)
    assert calls(tmp_path / "run") == asked, "the same questions resume the run"
    with pytest.raises(ConfigError, match=r"seeds\.path"):
        build(tmp_path / "run", ASKED[1:])


def test_paths_and_questions_are_told_apart(tmp_path: Path) -> None:
    path = questions(tmp_path)
    assert build(tmp_path / "run", [path]).table("seeds").num_rows == 12
    assert build(tmp_path / "text", [str(path)]).table("seeds").num_rows == 12
    with pytest.raises(ConfigError, match="among questions"):
        build(tmp_path / "both", [str(path), "What is one?"])
    with pytest.raises(ConfigError, match="found nothing"):
        build(tmp_path / "none", [])
    assert not (tmp_path / "both").exists()


def test_errors_are_raised_where_the_call_was_made(tmp_path: Path) -> None:
    with pytest.raises(QualityLimit):
        build(tmp_path / "run", questions(tmp_path), **{"quality.min_kept": 1000})
    assert veridistill.Result(tmp_path / "run").status == "below_quality"
    with pytest.raises(ConfigError, match="not a run directory"):
        veridistill.Result(tmp_path)
    with pytest.raises(ConfigError, match="has no table exam_after"):
        veridistill.Result(tmp_path / "run").table("exam_after")


def test_an_interrupt_stops_a_run_and_the_same_call_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, original = 0, ScriptedEngine.generate

    async def generate(self: Any, *request: Any) -> Any:
        nonlocal answered
        answered += 1
        if answered == 10:
            os.kill(os.getpid(), signal.SIGINT)
            while not work[0]._asked:  # the main thread takes the signal
                await asyncio.sleep(0)
        return await original(self, *request)

    work: list[api._Work] = []
    start = api._Work.start
    monkeypatch.setattr(api._Work, "start", lambda self: (work.append(self), start(self))[1])
    monkeypatch.setattr(ScriptedEngine, "generate", generate)
    with pytest.raises(KeyboardInterrupt, match="resumes"):
        build(tmp_path / "run", questions(tmp_path))
    assert veridistill.Result(tmp_path / "run").status == "incomplete"
    stopped = calls(tmp_path / "run")
    assert stopped
    assert not [thread for thread in threading.enumerate() if thread.name == "veridistill"]
    assert build(tmp_path / "run", questions(tmp_path)).rounds == 1
    assert stopped.items() <= calls(tmp_path / "run").items(), "nothing was asked again"


def test_progress_without_a_terminal_is_a_few_plain_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(tmp_path / "run", questions(tmp_path), progress="plain")
    said = capsys.readouterr().err
    assert "build: 12/12 questions" in said
    assert "\x1b" not in said
    assert len(said.splitlines()) <= 3


def test_rows_keep_their_other_columns(tmp_path: Path) -> None:
    rows = [{"problem": text, "key": f"q{i}"} for i, text in enumerate(ASKED)]
    found = build(tmp_path / "run", rows, **{"seeds.question": "problem", "seeds.id": "key"})
    assert found.table("seeds")["seed_id"].to_pylist() == [row["key"] for row in rows]
    (path,) = (tmp_path / "run").glob("seeds-*.jsonl")
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows
