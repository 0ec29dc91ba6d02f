"""A build whose judges give no verdicts stops after its first questions, says why, and goes on when told to."""

import shutil
from pathlib import Path

import pytest

from tests.commands import Done, calls, kept, questions, results, script, settings, veridistill
from veridistill import prompts
from veridistill.runs.early import FIRST


def build(folder: Path, num: int, *more: str, run: str = "run", **rates: object) -> Done:
    path = folder / f"{run}.yaml"
    if not path.exists():
        script(folder, **rates).rename(path)
    return veridistill(
        "build", "-d", folder / run, *settings(questions(folder, num), f"engine.script={path}", *more)
    )


def test_it_stops_after_the_first_questions_and_goes_on_without_asking_again(tmp_path: Path) -> None:
    done = build(tmp_path, 60, "build.window=1", invalid=0.95)
    assert (done.code, done.out) == (4, "")
    asked = calls(tmp_path / "run")
    solved = sum(role == "solve" for _, role in asked.values())
    assert FIRST <= solved <= 3 * FIRST
    data = results(tmp_path / "run")
    stopped = data["stopped_early"]
    assert (data["status"], stopped["round"], stopped["questions"]) == ("below_quality", 1, FIRST)
    assert stopped["invalid"] > stopped["votes"] / 2
    assert f"{stopped['invalid']} of {stopped['votes']} votes are invalid" in done.err
    assert "quality.max_invalid=0.5" in done.err
    assert "quality.max_invalid=1" in done.err
    assert len(stopped["examples"]) == 2
    for one in stopped["examples"]:
        assert one["reason"] in ("last line is not a verdict", "finish reason length")
        assert f'{one["stage"]}, {one["reason"]}: "{one["end"]}"' in done.err
        assert one["end"]
    assert data["warnings"][0] in done.err
    assert not (tmp_path / "run" / "rounds" / "1" / "dataset" / "examples.parquet").exists()

    again = build(tmp_path, 60, "build.window=1", "quality.max_invalid=1", "quality.min_kept=0")
    assert again.code == 0
    assert results(tmp_path / "run")["stopped_early"] is None
    whole = build(
        tmp_path,
        60,
        "build.window=1",
        "quality.max_invalid=1",
        "quality.min_kept=0",
        run="whole",
        invalid=0.95,
    )
    assert whole.code == 0
    assert calls(tmp_path / "run") == calls(tmp_path / "whole")
    assert asked.items() <= calls(tmp_path / "run").items()
    assert kept(tmp_path / "run") == kept(tmp_path / "whole")


def test_a_stopped_build_stops_again_without_a_call(tmp_path: Path) -> None:
    """In the cheapest order too, which goes by what was learned before: votes in the journal come first."""
    assert build(tmp_path, 30, "build.window=1", invalid=0.9).code == 4
    first, asked = results(tmp_path / "run")["stopped_early"], calls(tmp_path / "run")
    assert build(tmp_path, 30, "build.window=1", "limits.tokens=1").code == 4
    assert results(tmp_path / "run")["stopped_early"] == first
    assert calls(tmp_path / "run") == asked


def test_a_build_that_was_killed_and_resumed_is_stopped_at_the_same_place(tmp_path: Path) -> None:
    script(tmp_path, invalid=0.6).rename(tmp_path / "rates.yaml")
    rates = f"engine.script={tmp_path / 'rates.yaml'}"
    fields = settings(
        questions(tmp_path, 30), rates, "build.window=4", "judge.max_reasks=0", "build.order=paper"
    )
    once = veridistill("build", "-d", tmp_path / "once", *fields)
    assert once.code == 4
    codes = []
    for tokens in (500, 1500, 3000, 10**9):
        more = ("-o", f"limits.tokens={tokens}")
        codes.append(veridistill("build", "-d", tmp_path / "often", *fields, *more).code)
    assert codes[0] == 3
    assert codes[-1] == 4
    first, second = (results(tmp_path / run)["stopped_early"] for run in ("once", "often"))
    assert first == second


@pytest.mark.parametrize(("num", "stops"), [(FIRST - 1, False), (FIRST, True)])
def test_a_small_build_is_looked_at_when_it_is_finished(tmp_path: Path, num: int, stops: bool) -> None:
    done = build(tmp_path, num, "quality.min_kept=0", invalid=0.95)
    assert (done.code, done.out) == (4, "")
    data = results(tmp_path / "run")
    assert (data["stopped_early"] is not None, bool(data["rounds"])) == (stops, not stops)


def test_valid_votes_stop_nothing_and_a_low_limit_is_for_finished_builds(tmp_path: Path) -> None:
    assert build(tmp_path, 30, invalid=0.02).code == 0
    done = build(tmp_path, 30, "quality.max_invalid=0", "judge.max_reasks=0", run="strict", invalid=0.3)
    assert done.code == 4
    assert results(tmp_path / "strict")["funnel"]["seeds"] == 30


def test_truncated_replies_are_said_to_need_more_tokens(tmp_path: Path) -> None:
    done = build(tmp_path, 24, "judge.max_tokens=2", tokens=9, sigma=0.1)
    assert done.code == 4
    stopped = results(tmp_path / "run")["stopped_early"]
    assert stopped["truncated"] > 0
    assert f"a larger judge.max_tokens ({stopped['truncated']} of these votes" in done.err


def test_a_reference_solution_that_failed_is_shown(tmp_path: Path) -> None:
    texts = tmp_path / "prompts"
    shutil.copytree(Path(prompts.__file__).parent / "instruct", texts)
    (texts / "reference.txt").write_text("{question}\nSolve it.", encoding="utf-8")
    fields = ("judge.stages=correctness", "judge.max_tokens=1", f"prompts={texts}")
    assert build(tmp_path, 30, *fields, well_formed=1).code == 4
    for one in results(tmp_path / "run")["stopped_early"]["examples"]:
        assert one["reason"] == "no reference solution"
        assert one["end"]
