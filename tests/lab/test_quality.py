"""What a cascade accepted, against the worlds' answers."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from veridistill.data.tables import CandidateRow
from veridistill.grading.graders import Graders
from veridistill.lab import quality
from veridistill.lab.worlds import WORLDS
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


def measured(questions: Mapping[str, str], rows: Iterable[CandidateRow]) -> quality.Quality:
    async def graded() -> quality.Quality:
        async with Graders(workers=1, allow_code=True) as graders:
            return await quality.of_candidates(questions, rows, graders)

    return asyncio.run(graded())


def test_rates() -> None:
    found = measured(QUESTIONS, ROWS)
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
    summary = measured({}, []).judged.summary()
    assert summary["candidates"] == 0
    assert summary["precision"] is summary["recall"] is summary["share_right"] is None


def test_candidates_of_every_world_are_graded_as_their_exams_are() -> None:
    tasks = {name: world.take(1, 3, "hard", "seeds")[0] for name, world in WORLDS.items()}
    rows = [
        CandidateRow(name, 0, "accepted", None, True, text, text, "stop", 1, 1)
        for name, world in WORLDS.items()
        for text in (world.answer(tasks[name]), "I do not know.")
    ]
    found = measured({name: task.question for name, task in tasks.items()}, rows)
    assert (found.judged.candidates, found.judged.right) == (6, 3)


def test_a_question_of_no_world_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a question of the lab: 'What is the capital of France\\?'"):
        measured({"a": "What is the capital of France?"}, ROWS[:1])
