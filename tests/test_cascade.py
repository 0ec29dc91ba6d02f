"""The stages: what each shows its judge, and what becomes of votes that are invalid or refused."""

import asyncio
from pathlib import Path

import pytest

from tests.harness import PROMPTS, distil_all, make_plan
from veridistill import prompts
from veridistill.engines.scripted import ScriptedEngine, role_of
from veridistill.errors import RequestRefused
from veridistill.records import Messages, Sampling, Seed, Verdict

SEED = Seed("seed", "What is 6 times 7?")
ANSWER = "It is \\boxed{42}."
INFERRED = "What is six\ntimes seven?"


class Judge:
    """Solves, infers, and judges as it is told to; keeps the prompts that it was shown."""

    def __init__(self, *verdicts: str) -> None:
        self.verdicts = list(verdicts)
        self.shown: list[str] = []

    def __call__(self, messages: Messages, sampling: Sampling, seed: int) -> str:
        prompt = messages[-1].content
        if (role := role_of(prompt)) == "solve":
            return ANSWER
        self.shown.append(prompt)
        if role == "infer":
            return INFERRED
        if (verdict := self.verdicts.pop(0)) == "refused":
            raise RequestRefused("too long")
        return verdict


def judged(judge: Judge, path: Path, stage: str, v: int = 1, **jury: bool | int) -> Verdict:
    plan = make_plan(n=1, v=v, stages=[stage], **jury)
    distilled, _ = asyncio.run(
        distil_all(ScriptedEngine(judge), path / "journal.sqlite", plan, [SEED], width=1)
    )
    return distilled[0].judged[0].verdict


@pytest.mark.parametrize("stage", ["factuality", "correctness", "simple"])
def test_a_direct_stage_shows_question_and_answer_in_its_own_words(stage: str, tmp_path: Path) -> None:
    judge = Judge("[[Y]]")
    assert judged(judge, tmp_path, stage).passed
    template = getattr(PROMPTS, stage)
    assert judge.shown == [prompts.fill(template, question=SEED.question, answer=ANSWER)]


@pytest.mark.parametrize(("infer_per_vote", "num_inferred"), [(True, 2), (False, 1)])
def test_cycle_consistency_infers_and_compares(
    infer_per_vote: bool, num_inferred: int, tmp_path: Path
) -> None:
    judge = Judge("[[Y]]", "[[Y]]")
    verdict = judged(judge, tmp_path, "cycle_consistency", v=2, infer_per_vote=infer_per_vote)
    assert verdict.passed
    infer = prompts.fill(PROMPTS.infer, answer=ANSWER)
    compare = prompts.fill(PROMPTS.compare, question=SEED.question, inferred=INFERRED)
    assert (judge.shown.count(infer), judge.shown.count(compare)) == (num_inferred, 2)


@pytest.mark.parametrize(
    ("stage", "verdicts", "ballot", "num_calls"),
    [
        ("simple", ["hm", "[[Y]]"], "yes", 2),
        ("simple", ["hm", "hm", "[[N]]"], "no", 3),
        ("simple", ["hm", "hm", "hm"], "invalid", 3),
        ("simple", ["refused"], "invalid", 1),
        ("cycle_consistency", ["hm", "[[Y]]"], "yes", 4),
    ],
)
def test_an_invalid_vote_is_asked_again_and_a_refused_one_is_not(
    stage: str, verdicts: list[str], ballot: str, num_calls: int, tmp_path: Path
) -> None:
    judge = Judge(*verdicts)
    (vote,) = judged(judge, tmp_path, stage, max_reasks=2).votes
    assert vote.ballot == ballot
    assert bool(vote.reason) == (ballot == "invalid")
    assert len(judge.shown) == num_calls
