"""What `results.json` keeps of several rounds when an earlier one is built again, and when the file is lost."""

import json
from pathlib import Path

import pytest

from tests.commands import Done, questions, results, settings, veridistill
from tests.runs.test_pipeline import trainer  # noqa: F401
from veridistill.data.rundir import RunDir, stored_config, write_json
from veridistill.engines.scripted import right_answer
from veridistill.runs import results as storage

pytestmark = pytest.mark.usefixtures("trainer")


def two_rounds(folder: Path) -> Done:
    exam = folder / "exam.jsonl"
    asked = [f"What is {i} plus {5 * i}?" for i in range(12)]
    lines = [
        {"id": str(i), "kind": "integer", "question": q, "answer": right_answer(q)}
        for i, q in enumerate(asked)
    ]
    exam.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    # The order of the paper: which votes are asked does not depend on what the gate learned meanwhile.
    fields = [f"evaluation.problems={exam}", "evaluation.samples=2", "rounds=2", "build.order=paper"]
    return veridistill("run", "-d", folder / "run", *settings(questions(folder), *fields))


def test_a_round_that_is_built_again_leaves_the_later_ones(tmp_path: Path) -> None:
    assert two_rounds(tmp_path).code == 0
    before = results(tmp_path / "run")
    stopped = veridistill("run", "-d", tmp_path / "run", "-o", "quality.min_kept=1000")
    assert stopped.code == 4, "after round 1 is built again"
    after = results(tmp_path / "run")
    assert after["rounds"] == before["rounds"]
    assert after["funnel"] == before["funnel"]
    done = veridistill("evaluate", "-d", tmp_path / "run", "--json", "-o", "quality.min_kept=1")
    assert done.code == 0, done.err
    assert done.json["after"] == before["after"]
    assert results(tmp_path / "run")["rounds"] == before["rounds"]


def test_the_exam_of_an_earlier_round_does_not_hide_that_of_the_latest(tmp_path: Path) -> None:
    assert two_rounds(tmp_path).code == 0
    path = tmp_path / "run"
    before = results(path)
    # The scripted engine answers both rounds alike: a mark tells the exam of round 2 from that of round 1.
    before["after"]["tokens"] = before["rounds"][1]["after"]["tokens"] = 1e6
    write_json(path / "results.json", before)
    storage.add_exam(RunDir(path, stored_config(path)), "after", 1, "round 1's model")
    assert results(path) == before
    storage.add_exam(RunDir(path, stored_config(path)), "after", 2, "round 2's model")
    found = results(path)
    assert found["after"] == found["rounds"][1]["after"] == found["rounds"][0]["after"]
    assert found["fingerprints"]["after"] == "round 2's model"


def test_a_round_without_its_model_ends_the_later_ones(tmp_path: Path) -> None:
    """Round 2 was built by round 1's model; where that is trained anew, nothing of round 2 stands."""
    assert two_rounds(tmp_path).code == 0
    (tmp_path / "run" / "rounds" / "1" / "model").rmdir()
    assert veridistill("build", "-d", tmp_path / "run").code == 0
    found = results(tmp_path / "run")
    assert len(found["rounds"]) == 1
    assert found["funnel"] == found["rounds"][0]["funnel"]


def test_results_that_were_lost_do_not_end_an_exam(tmp_path: Path) -> None:
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
    (tmp_path / "run" / "rounds" / "1" / "model").rmdir()
    refused = veridistill("train", "-d", tmp_path / "run")
    assert refused.code == 2
    assert "round 1 was not built to its end; run veridistill build first" in refused.err
