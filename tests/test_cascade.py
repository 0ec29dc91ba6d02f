"""The stages: what each shows its judge, and what becomes of votes that are invalid or refused."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PROMPTS, distil_all, make_plan
from veridistill import cascade, prompts
from veridistill.config import BuildSection
from veridistill.engines.scripted import ScriptedEngine, role_of
from veridistill.errors import RequestRefused
from veridistill.records import JUDGING, Candidate, Completion, Message, Messages, Sampling, Seed, Verdict

SEED = Seed("seed", "What is 6 times 7?")
ANSWER = "It is \\boxed{42}."
INFERRED = "What is six\ntimes seven?"


class Judge:
    """Solves, infers, and judges as it is told to; keeps the prompts that it was shown."""

    def __init__(self, *verdicts: str) -> None:
        self.verdicts = list(verdicts)
        self.shown: list[str] = []
        self.followed_up: list[tuple[Messages, Sampling]] = []

    def __call__(self, messages: Messages, sampling: Sampling, seed: int) -> str:
        prompt = messages[-1].content
        if role_of(prompt) == "solve" and len(messages) > 1:
            self.followed_up.append((messages, sampling))
            return self.said()
        if (role := role_of(prompt)) == "solve":
            return ANSWER
        self.shown.append(prompt)
        if role == "infer":
            return INFERRED
        return self.said()

    def said(self) -> str:
        if (verdict := self.verdicts.pop(0)) == "refused":
            raise RequestRefused("too long")
        return verdict


def judged(judge: Judge, path: Path, stage: str, v: int = 1, **jury: Any) -> Verdict:
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


ASKING = replace(prompts.load("instruct"), reference="", verdict="No verdict yet. {ending} Only that.")


@pytest.mark.parametrize("stage", ["simple", "cycle_consistency"])
@pytest.mark.parametrize(("said", "ballot"), [("[[Y]]", "yes"), ("[[N]]", "no")])
def test_a_reply_without_a_verdict_is_asked_for_the_mark_in_the_same_conversation(
    stage: str, said: str, ballot: str, tmp_path: Path
) -> None:
    judge = Judge("It seems right.", said)
    (vote,) = judged(judge, tmp_path, stage, prompts=ASKING).votes
    assert vote.ballot == ballot
    ((messages, sampling),) = judge.followed_up
    assert messages == (
        Message("user", judge.shown[-1]),
        Message("assistant", "It seems right."),
        Message("user", f"No verdict yet. {prompts.ending(judge.shown[-1])} Only that."),
    )
    assert sampling.choices == ("[[Y]]", "[[N]]")
    assert sampling.max_tokens < 32


def test_a_follow_up_without_a_verdict_leads_to_a_new_vote(tmp_path: Path) -> None:
    judge = Judge("hm", "still hm", "[[Y]]")
    assert judged(judge, tmp_path, "simple", prompts=ASKING, max_reasks=1).passed
    assert (len(judge.shown), len(judge.followed_up)) == (2, 1)


def test_a_follow_up_that_is_refused_leads_to_a_new_vote(tmp_path: Path) -> None:
    judge = Judge("hm", "refused", "[[Y]]")
    assert judged(judge, tmp_path, "simple", prompts=ASKING, max_reasks=1).passed


@pytest.mark.parametrize(
    ("reply", "jury"),
    [
        ("[[N]]\n[[Y]]", {}),  # contradictory: a second opinion must not be drawn out of it
        ("", {}),
        ("hm", {"follow_up": "off"}),
        ("hm", {"prompts": replace(ASKING, verdict="")}),  # a set without verdict.txt
    ],
)
def test_what_is_not_followed_up(reply: str, jury: dict[str, Any], tmp_path: Path) -> None:
    judge = Judge(reply)
    (vote,) = judged(judge, tmp_path, "simple", **{"prompts": ASKING, "max_reasks": 0, **jury}).votes
    assert vote.ballot == "invalid"
    assert not judge.followed_up


def test_a_judge_that_must_reason_is_not_restricted_to_the_marks(tmp_path: Path) -> None:
    thought = "<think>\nso\n</think>\n\n"
    judge = Judge(thought + "hm", thought + "[[Y]]")
    assert judged(judge, tmp_path, "simple", prompts=ASKING, reasoning=True).passed
    ((messages, sampling),) = judge.followed_up
    assert messages[1].content == "hm"
    assert sampling == Sampling(0.6, 0.95, 0, 256)


def test_a_free_follow_up_is_not_restricted(tmp_path: Path) -> None:
    judge = Judge("hm", "Verdict: [[Y]]")
    assert judged(judge, tmp_path, "simple", prompts=ASKING, follow_up="free").passed
    assert judge.followed_up[0][1].choices == ()


SOLVING = replace(PROMPTS, reference="{question}\nSolve it.")


class Solver(Judge):
    """Keeps the conversations in which it judges correctness."""

    def __init__(self, *verdicts: str, reference: str = "7 is wrong; 42.") -> None:
        super().__init__(*verdicts)
        self.reference = reference
        self.solved: list[str] = []
        self.conversations: list[Messages] = []

    def __call__(self, messages: Messages, sampling: Sampling, seed: int) -> str:
        if messages[-1].content.endswith("Solve it."):
            self.solved.append(messages[-1].content)
            return self.reference
        self.conversations.append(messages)
        return super().__call__(messages, sampling, seed)


def test_a_judge_of_correctness_solves_the_question_before_it_sees_the_answer(tmp_path: Path) -> None:
    judge = Solver("[[Y]]")
    assert judged(judge, tmp_path, "correctness", prompts=SOLVING).passed
    asked = f"{SEED.question}\nSolve it."
    assert judge.solved == [asked]
    assert judge.conversations[-1] == (
        Message("user", asked),
        Message("assistant", "7 is wrong; 42."),
        Message("user", prompts.fill(PROMPTS.correctness, question=SEED.question, answer=ANSWER)),
    )


def test_the_candidates_of_a_question_share_a_votes_reference(tmp_path: Path) -> None:
    judge = Solver(*["[[N]]"] * 6)
    plan = make_plan(n=3, v=2, stages=["correctness"], prompts=SOLVING)
    build = BuildSection(audit_share=1)
    asyncio.run(distil_all(ScriptedEngine(judge), tmp_path / "j.sqlite", plan, [SEED], width=4, build=build))
    assert len(judge.shown) == 6
    assert len(judge.solved) == 2


def test_another_model_that_judges_makes_the_reference_solution_too() -> None:
    """Every role that a stage asks in is a judge's, so that a `judge.model` answers it."""
    roles = set[str]()

    async def ask(role: str, path: Any, messages: Messages, sampling: Sampling) -> Completion:
        roles.add(role)
        return Completion("hm", "stop", 1, 1)

    jury = make_plan(n=1, v=1, prompts=replace(ASKING, reference="{question}\nSolve it.")).jury
    candidate = Candidate("seed", 0, ANSWER, Completion(ANSWER, "stop", 1, 1))
    for stage in cascade.STAGES:
        asyncio.run(cascade.vote(stage, SEED, candidate, 0, jury, ask))  # type: ignore[arg-type]
    assert roles == JUDGING


def test_without_a_reference_solution_a_vote_is_invalid(tmp_path: Path) -> None:
    judge = Solver(reference="<think>so")
    (vote,) = judged(judge, tmp_path, "correctness", prompts=SOLVING, max_reasks=1).votes
    assert (vote.ballot, vote.reason) == ("invalid", "no reference solution")
    assert len(judge.solved) == 2
    assert not judge.shown
