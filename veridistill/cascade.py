"""The judge's stages as small coroutines: one vote each, with invalid votes asked again.

A reply that ended by itself but gave no verdict is followed up once, in the same conversation, by a request for the
verdict alone (role `verdict`). Only a vote that is still invalid is asked again from the start.

Every call goes through the `ask` that a stage is given. `decide` reads the replies; `method` and `lazy` choose which
votes are asked, and in what order.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from veridistill.decide import (
    MARKS,
    NO_REFERENCE,
    Reading,
    final_text,
    follows_up,
    read_follow_up,
    read_verdict,
    split,
)
from veridistill.errors import RequestRefused
from veridistill.lazy import Ask
from veridistill.prompts import PromptSet, ending, fill, message
from veridistill.records import Candidate, FollowUp, Message, Messages, Path, Sampling, Seed, Vote

_FOLLOW_UP_TOKENS = 24
"""Room for a label and a mark."""


@dataclass(frozen=True, slots=True)
class Jury:
    """How judges are asked: prompts, sampling, and whether their replies must carry closed reasoning.

    `infer_per_vote`: each cycle-consistency vote infers the question anew (a candidate costs 4v judge calls);
    otherwise all votes compare one inference (3v + 1). `follow_up`: what becomes of a reply without a verdict.
    `max_reasks` bounds how often a vote that is still invalid is asked again.
    """

    prompts: PromptSet
    sampling: Sampling
    reasoning: bool
    infer_per_vote: bool = True
    max_reasks: int = 2
    follow_up: FollowUp = "constrained"

    @property
    def verdict_sampling(self) -> Sampling:
        """For the verdict alone. A judge that must reason may do so again, and is not restricted."""
        if self.reasoning:
            return self.sampling
        choices = MARKS if self.follow_up == "constrained" else ()
        return replace(self.sampling, max_tokens=_FOLLOW_UP_TOKENS, choices=choices)


async def vote(stage: str, seed: Seed, candidate: Candidate, index: int, jury: Jury, ask: Ask) -> Vote:
    """The `index`-th vote of a stage. A refused request makes the vote invalid and is not asked again."""
    reading = Reading("invalid")
    for reask in range(jury.max_reasks + 1):
        path = (seed.seed_id, candidate.index, stage, index, reask)
        try:
            reading = await STAGES[stage](seed, candidate, path, jury, ask)
        except RequestRefused as refusal:
            reading = Reading("invalid", f"refused: {refusal}")
            break
        if reading.ballot != "invalid":
            break
    return Vote(stage, index, reading.ballot, reading.reason)


async def cycle_consistency(seed: Seed, candidate: Candidate, path: Path, jury: Jury, ask: Ask) -> Reading:
    """Infer from the answer alone the question that it answers; then compare that with the original."""
    source = path if jury.infer_per_vote else (*path[:3], 0, path[4])
    reply = await ask("infer", source, message(jury.prompts.infer, answer=candidate.answer), jury.sampling)
    inferred = final_text(reply)
    if inferred is None:
        return Reading("invalid", "no question inferred")
    messages = message(jury.prompts.compare, question=seed.question, inferred=inferred)
    return await ballot("compare", path, messages, jury, ask)


async def direct(stage: str, seed: Seed, candidate: Candidate, path: Path, jury: Jury, ask: Ask) -> Reading:
    """One call that shows question and answer and asks the stage's question; the stage names prompt and role."""
    return await ballot(stage, path, _shown(stage, seed, candidate, jury), jury, ask)


async def correctness(seed: Seed, candidate: Candidate, path: Path, jury: Jury, ask: Ask) -> Reading:
    """Right in process and conclusion, and complete. The judge forms a solution of its own first.

    With a prompt for it (`reference.txt`) that is a turn of its own, before the judge has seen the answer: a model that
    does not reason copies an answer that it sees. The candidates of a question are compared with the same reference,
    each vote with another one.
    """
    opening: Messages = ()
    if jury.prompts.reference:
        asked = message(jury.prompts.reference, question=seed.question)
        reply = await ask("reference", (seed.seed_id, "reference", *path[2:]), asked, jury.sampling)
        solution = final_text(reply)
        if solution is None:
            return Reading("invalid", NO_REFERENCE)
        opening = (*asked, Message("assistant", solution))
    shown = _shown("correctness", seed, candidate, jury)
    return await ballot("correctness", path, (*opening, *shown), jury, ask)


def _shown(stage: str, seed: Seed, candidate: Candidate, jury: Jury) -> Messages:
    return message(getattr(jury.prompts, stage), question=seed.question, answer=candidate.answer)


async def ballot(role: str, path: Path, messages: Messages, jury: Jury, ask: Ask) -> Reading:
    """A judge's reply as it reads, after the follow-up if it needs one.

    A follow-up that the engine refuses, most likely as too long with the reply before it, decides nothing.
    """
    reply = await ask(role, path, messages, jury.sampling)
    reading = read_verdict(reply, jury.reasoning)
    if jury.follow_up == "off" or not jury.prompts.verdict or not follows_up(reply, reading):
        return reading
    said = Message("assistant", split(reply.text).answer)
    asked = fill(jury.prompts.verdict, ending=ending(messages[-1].content))
    messages = (*messages, said, Message("user", asked))
    try:
        verdict = await ask("verdict", path, messages, jury.verdict_sampling)
    except RequestRefused:
        return reading
    return read_follow_up(reply, verdict, jury.reasoning)


Stage = Callable[[Seed, Candidate, Path, Jury, Ask], Awaitable[Reading]]

STAGES: dict[str, Stage] = {
    "cycle_consistency": cycle_consistency,
    # Factual, calculation and logic errors, misleading or ambiguous claims.
    "factuality": partial(direct, "factuality"),
    "correctness": correctness,
    # The paper's ablation: is the answer correct?
    "simple": partial(direct, "simple"),
}
