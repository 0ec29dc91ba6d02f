"""What a run reads: the benchmarks' questions that must not be among its seeds."""

import json
import sys
from pathlib import Path

import pytest

from tests.commands import questions, results, settings, veridistill
from veridistill.evaluation import intervals


def build(folder: Path, seeds: Path, name: str) -> tuple[int, str]:
    done = veridistill("build", "-d", folder / "run", *settings(seeds, f"seeds.decontaminate=[{name}]"))
    return done.code, done.err


def test_a_program_is_known_without_its_starter_code(tmp_path: Path) -> None:
    """A short statement is a small part of what is asked where the starter code is long."""
    starter = "class Solution:\n" + "".join(
        f"    def method_{n}(self, value: int) -> int: ...\n" for n in range(9)
    )
    asked = "Return the number of vowels in a given word."
    tests = {"kind": "functional", "entry": "method_0", "cases": [{"input": "1", "output": "1"}]}
    problem = {"id": "v", "kind": "code", "question": asked, "starter_code": starter, "tests": tests}
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps(problem) + "\n", encoding="utf-8")
    seeds = questions(tmp_path, 3)
    with seeds.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"question": asked}) + "\n")
    assert build(tmp_path, seeds, str(own))[0] == 0
    assert results(tmp_path / "run")["rounds"][0]["contaminated_seeds"] == 1
    (line,) = (tmp_path / "run" / "overlaps.jsonl").read_text(encoding="utf-8").splitlines()
    assert (json.loads(line)["rule"], json.loads(line)["problem_id"]) == ("exact", "v")


def test_a_file_of_problems_that_is_not_there_is_told_as_a_file(tmp_path: Path) -> None:
    code, error = build(tmp_path, questions(tmp_path, 3), str(tmp_path / "none.jsonl"))
    assert code == 2
    assert "none.jsonl: cannot be read (No such file" in error


def test_an_exam_without_scipy_ends_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text('{"id": 1, "kind": "integer", "question": "What is 1 plus 1?", "answer": 2}\n')
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    intervals.t_quantile.cache_clear()
    fields = settings(questions(tmp_path, 3), f"evaluation.problems={own}")
    done = veridistill("run", "-d", tmp_path / "run", *fields)
    assert (done.code, done.out) == (2, "")
    assert "pip install 'veridistill[eval]'" in done.err
    assert not (tmp_path / "run").exists()
    assert veridistill("build", "-d", tmp_path / "run", *fields).code == 0, "a build needs no scipy"
