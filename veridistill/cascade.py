"""The judge's stages as small coroutines: one vote each, with invalid votes asked again.

Every call goes through the `ask` that a stage is given. `decide` reads the replies; `method` and `lazy` choose which
votes are asked, and in what order.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from veridistill.decide import Reading, inferred_question, read_verdict
from veridistill.errors import RequestRefused
from veridistill.lazy import Ask
from veridistill.prompts import PromptSet, message
from veridistill.records import Candidate, Path, Sampling, Seed, Vote


@dataclass(frozen=True, slots=True)
class Jury:
    """How judges are asked: prompts, sampling, and whether their replies must carry closed reasoning.

    `infer_per_vote`: each cycle-consistency vote infers the question anew (a candidate costs 4v judge calls);
    otherwise all votes compare one inference (3v + 1). `max_reasks` bounds how often an invalid vote is asked again.
    """

    prompts: PromptSet
    sampling: Sampling
    reasoning: bool
    infer_per_vote: bool = True
    max_reasks: int = 2


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
    inferred = inferred_question(reply)
    if inferred is None:
        return Reading("invalid", "no question inferred")
    messages = message(jury.prompts.compare, question=seed.question, inferred=inferred)
    return read_verdict(await ask("compare", path, messages, jury.sampling), jury.reasoning)


async def direct(stage: str, seed: Seed, candidate: Candidate, path: Path, jury: Jury, ask: Ask) -> Reading:
    """One call that shows question and answer and asks the stage's question; the stage names prompt and role."""
    messages = message(getattr(jury.prompts, stage), question=seed.question, answer=candidate.answer)
    return read_verdict(await ask(stage, path, messages, jury.sampling), jury.reasoning)


Stage = Callable[[Seed, Candidate, Path, Jury, Ask], Awaitable[Reading]]

STAGES: dict[str, Stage] = {
    "cycle_consistency": cycle_consistency,
    # Factual, calculation and logic errors, misleading or ambiguous claims.
    "factuality": partial(direct, "factuality"),
    # Right in process and conclusion, and complete.
    "correctness": partial(direct, "correctness"),
    # The paper's ablation: is the answer correct?
    "simple": partial(direct, "simple"),
}
