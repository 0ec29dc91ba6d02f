"""What a build counted, from hand-made questions."""

import pytest

from veridistill.funnel import Funnel
from veridistill.method import Distilled, Judged
from veridistill.records import Ballot, Candidate, Completion, Outcome, Seed, Verdict, Vote

STAGES = ("factuality", "correctness")


def judged(
    index: int, outcome: Outcome, by: str | None = None, votes: tuple[tuple[str, Ballot], ...] = ()
) -> Judged:
    cast = tuple(Vote(stage, number, ballot) for number, (stage, ballot) in enumerate(votes))
    candidate = Candidate("seed", index, "", Completion("", "stop", 1, 1))
    return Judged(candidate, Verdict("seed", index, outcome, by, cast))


def question(*candidates: Judged, kept: int = 0) -> Distilled:
    accepted = [j.candidate for j in candidates if j.passed]
    return Distilled(Seed("seed", "q"), candidates, tuple(accepted[:kept]))


YES: tuple[tuple[str, Ballot], ...] = (("factuality", "yes"), ("correctness", "yes"))
QUESTIONS = [
    question(judged(0, "malformed", "truncated"), judged(1, "accepted", votes=YES), kept=1),
    question(judged(0, "rejected", "factuality", (("factuality", "no"),)), judged(1, "malformed", "filler")),
    question(judged(0, "rejected", "correctness", (("factuality", "yes"), ("correctness", "no")))),
    question(judged(0, "unjudged", "correctness", (("factuality", "yes"), ("correctness", "invalid")))),
    question(judged(0, "accepted", votes=YES), judged(1, "accepted", votes=YES), kept=2),
    question(judged(0, "malformed", "truncated")),
]


def count(questions: list[Distilled]) -> Funnel:
    funnel = Funnel(STAGES)
    for one in questions:
        funnel.add(one)
    return funnel


@pytest.mark.parametrize("questions", [QUESTIONS, QUESTIONS[::-1]])
def test_counts_in_any_order(questions: list[Distilled]) -> None:
    funnel = count(questions)
    assert funnel.counts() == {
        "seeds": 6,
        "candidates": 9,
        "well_formed": 6,
        "factuality": 5,
        "correctness": 3,
        "kept": 3,
    }
    assert funnel.questions_kept == 2
    assert funnel.outcomes == {"accepted": 3, "rejected": 2, "malformed": 3, "unjudged": 1}
    assert funnel.defects == {"truncated": 2, "filler": 1}
    assert funnel.ballots() == {
        "factuality": {"yes": 5, "no": 1, "invalid": 0},
        "correctness": {"yes": 3, "no": 1, "invalid": 1},
    }
    assert funnel.invalid_share == pytest.approx(1 / 11)


def test_nothing_counted() -> None:
    funnel = count([])
    assert funnel.counts() == {
        "seeds": 0,
        "candidates": 0,
        "well_formed": 0,
        "factuality": 0,
        "correctness": 0,
        "kept": 0,
    }
    assert funnel.invalid_share == 0.0
    assert funnel.ballots()["factuality"] == {"yes": 0, "no": 0, "invalid": 0}


def test_unfiltered_candidates_pass_every_stage_of_the_funnel() -> None:
    one = Distilled(Seed("seed", "q"), (judged(0, "skipped"),), (judged(0, "skipped").candidate,))
    assert count([one]).counts() == {
        "seeds": 1,
        "candidates": 1,
        "well_formed": 1,
        "factuality": 1,
        "correctness": 1,
        "kept": 1,
    }
