"""What a cascade accepted, against the world's answers."""

import pytest

from veridistill.data.tables import CandidateRow
from veridistill.lab import quality
from veridistill.records import Outcome

QUESTIONS = {"a": "Solve 3x+4=40 for x.", "b": "Solve 2x+1=9 for x."}


def row(seed: str, index: int, answer: str, outcome: Outcome, by: str | None = None) -> CandidateRow:
    text = f"so x=\\boxed{{{answer}}}"
    return CandidateRow(seed, index, outcome, by, outcome == "accepted", text, text, "stop", 1, 1)


ROWS = [
    row("a", 0, "13", "rejected", "factuality"),
    row("a", 1, "12", "rejected", "correctness"),
    row("a", 2, "012", "accepted"),
    row("b", 0, "5", "accepted"),
    row("b", 1, "", "malformed", "no_answer"),
    row("b", 2, "4", "accepted"),
]


def test_rates() -> None:
    found = quality.of_candidates(QUESTIONS, ROWS)
    assert found.judged == quality.Rates(candidates=6, right=3, accepted=3, accepted_right=2)
    assert found.judged.share_right == pytest.approx(1 / 2)
    assert found.judged.precision == pytest.approx(2 / 3)
    assert found.judged.recall == pytest.approx(2 / 3)
    assert found.first == quality.Rates(2, 0, 1, 0)
    assert found.ended_by == {
        "correctness": {"right": 1, "wrong": 0},
        "factuality": {"right": 0, "wrong": 1},
        "no_answer": {"right": 0, "wrong": 1},
    }


def test_nothing_judged_has_no_rates() -> None:
    summary = quality.of_candidates({}, []).judged.summary()
    assert summary["candidates"] == 0
    assert summary["precision"] is summary["recall"] is summary["share_right"] is None
