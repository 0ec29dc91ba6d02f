"""An exam of programs with asserts, and grading it again, as a user types them."""

import json
from pathlib import Path

import pytest

from tests.commands import veridistill

LINES = [
    {"id": "right", "kind": "code", "question": "Double n.", "entry": "f", "tests": ["assert f(2) == 4"]},
    {
        "id": "unmet",
        "kind": "code",
        "question": "Triple n.",
        "entry": "f",
        "tests": ["assert f(2) == 5"],
        "solution": "def f(n): return 3 * n",
    },
]


def test_an_exam_with_asserts_leaves_out_what_its_own_solution_fails(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    engine = ("-o", "engine.kind=scripted", "-o", "model.reasoning=none", "-o", "prompts=compact")
    out = tmp_path / "exam"
    asked = ("evaluate", "--model", "any", "--problems", own, "--k", "2", "--out", out, *engine)
    refused = veridistill(*asked)
    assert (refused.code, "--allow-code-execution" in refused.err) == (2, True)
    done = veridistill(*asked, "--allow-code-execution", "--json")
    if "programs cannot be run safely here" in done.err:
        pytest.skip("no sandbox works on this machine")
    assert done.code == 0, done.err
    found = json.loads(done.out)["base"]
    assert (found["num_problems"], found["unreadable_problems"]) == (1, 1)
    table = out / "rounds" / "1" / "tables" / "exam_base.parquet"
    again = veridistill("grade", table, "--allow-code-execution")
    outcomes = {(one["id"], one["outcome"]) for one in map(json.loads, again.out.splitlines())}
    assert ("unmet", "unreadable_reference") in outcomes
    assert {outcome for name, outcome in outcomes if name == "right"} <= {
        "wrong",
        "no_answer",
        "runtime_error",
    }
