"""What `results.json` keeps of several rounds when an earlier one is built again, and when the file is lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from veridistill.training.sft import Progress, TrainResult

from tests.commands import Done, questions, results, settings, veridistill
from veridistill.data.rundir import write_json
from veridistill.engines.scripted import right_answer
from veridistill.errors import EngineDown
from veridistill.runs import pipeline


class Trainer:
    """Stands in for the training process: makes a model's directory, or dies where `dies_at` says."""

    def __init__(self) -> None:
        self.calls = 0
        self.dies_at: int | None = None

    async def __call__(self, *args: Any, progress: Any, **options: Any) -> TrainResult:
        self.calls += 1
        if self.calls == self.dies_at:
            raise EngineDown("the trainer is gone")
        out: Path = args[5]
        out.mkdir(parents=True, exist_ok=True)
        progress(Progress(1, 1, 0.5))
        return TrainResult(1, (0.5,), 9, 0, 100, 0, 0.1)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = Trainer()
    monkeypatch.setattr(pipeline.sft, "train", made)
    return made


def two_rounds(folder: Path) -> Done:
    exam = folder / "exam.jsonl"
    asked = [f"What is {i} plus {5 * i}?" for i in range(12)]
    lines = [
        {"id": str(i), "kind": "integer", "question": q, "answer": right_answer(q)}
        for i, q in enumerate(asked)
    ]
    exam.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    fields = [f"evaluation.problems={exam}", "evaluation.samples=2", "rounds=2"]
    return veridistill("run", "-d", folder / "run", *settings(questions(folder), *fields))


@pytest.mark.parametrize("dies_at", [3, 4], ids=["before the exam of round 1", "after it"])
def test_a_round_that_is_built_again_leaves_the_later_ones(
    tmp_path: Path, trainer: Trainer, dies_at: int
) -> None:
    assert two_rounds(tmp_path).code == 0
    before = results(tmp_path / "run")
    # The scripted engine answers both rounds alike: a mark tells the exam of round 2 from that of round 1.
    before["after"]["tokens"] = before["rounds"][1]["after"]["tokens"] = 1e6
    write_json(tmp_path / "run" / "results.json", before)
    trainer.dies_at = dies_at
    assert veridistill("run", "-d", tmp_path / "run").code == 3
    after = results(tmp_path / "run")
    assert after["rounds"] == before["rounds"]
    for name in ("funnel", "after", "gain"):
        assert after[name] == before[name], "the top level shows the latest round"
    done = veridistill("evaluate", "-d", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert done.json["after"]["tokens"] == before["rounds"][0]["after"]["tokens"] < 1e6, "examined anew"
    assert results(tmp_path / "run")["rounds"][1]["after"] == done.json["after"]


def test_a_round_without_its_model_ends_the_later_ones(tmp_path: Path, trainer: Trainer) -> None:
    """Round 2 was built by round 1's model; where that is trained anew, nothing of round 2 stands."""
    assert two_rounds(tmp_path).code == 0
    (tmp_path / "run" / "rounds" / "1" / "model").rmdir()
    assert veridistill("build", "-d", tmp_path / "run").code == 0
    found = results(tmp_path / "run")
    assert len(found["rounds"]) == 1
    assert found["funnel"] == found["rounds"][0]["funnel"]


def test_results_that_were_lost_do_not_end_an_exam(tmp_path: Path, trainer: Trainer) -> None:
    assert two_rounds(tmp_path).code == 0
    before = results(tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    done = veridistill("evaluate", "-d", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert done.json["after"] == before["after"]
    (tmp_path / "run" / "rounds" / "2" / "model").rmdir()
    assert veridistill("build", "-d", tmp_path / "run").code == 0
    rounds = results(tmp_path / "run")["rounds"]
    assert rounds[0] == {}, "the lost round keeps its place"
    assert rounds[1]["funnel"] == before["rounds"][1]["funnel"]
