"""THE ALGORITHM, for one question: Self-Verified Distillation (arXiv 2605.26132).

    for each of n candidates, in sampling order:
        drop it if it is malformed
        ask v votes of each stage; it is accepted only if all of them are yes
    keep the first candidate that is accepted

At test time (`solve`, UQ-TTC) the same candidate is the answer, or candidate 0 if none is accepted.

It is written as if everything were asked. `lazy.first` and `lazy.every` ask only what decides the outcome, and the gate
behind `ask` keeps the engine busy. `pipeline` runs it over many questions.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from veridistill.cascade import Jury, vote
from veridistill.decide import by_length, defect, ended_by, outcome, split
from veridistill.domains import DOMAINS
from veridistill.errors import RequestRefused
from veridistill.lazy import Ask, Branch, Call, each, every, first
from veridistill.prompts import message
from veridistill.records import Candidate, Completion, Messages, Sampling, Seed, Verdict, Vote

CANDIDATE = "candidate"
"""The label of a candidate's branch."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides what is kept from one question, given the model's replies.

    How the answer is asked for and found depends on the question's domain, so a run may hold questions of several.
    `extra_stages` are asked, for comparison, where everything is asked; they do not affect what is kept.
    """

    candidates: int
    stages: tuple[str, ...]
    votes: int
    selection: str
    sampling: Sampling
    jury: Jury
    reasoning: bool
    run_seed: int = 0
    extra_stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate with its verdict."""

    candidate: Candidate
    verdict: Verdict

    @property
    def passed(self) -> bool:
        return self.verdict.passed


@dataclass(frozen=True, slots=True)
class Distilled:
    """The result of one question: all candidates that were judged, by index, and those that are kept."""

    seed: Seed
    judged: tuple[Judged, ...]
    kept: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Solved:
    """The answer to one question, and all candidates that were judged, by index.

    `valid`: the answer was accepted. If not, it is candidate 0.
    """

    seed: Seed
    judged: tuple[Judged, ...]
    answer: Candidate
    valid: bool


async def solve(seed: Seed, ask: Ask, plan: Plan) -> Solved:
    """UQ-TTC, the test-time baseline: the same candidates and cascade; the first valid one, else candidate 0."""
    judged_candidates, valid = await first_valid(seed, ask, plan)
    answer = valid[0] if valid else judged_candidates[0].candidate
    return Solved(seed, tuple(judged_candidates), answer, bool(valid))


async def distil(seed: Seed, ask: Ask, plan: Plan) -> Distilled:
    """Generate, judge and select for one question."""
    judged_candidates, kept = await SELECTIONS[plan.selection](seed, ask, plan)
    return Distilled(seed, tuple(sorted(judged_candidates, key=lambda j: j.candidate.index)), tuple(kept))


async def judged(seed: Seed, index: int, plan: Plan, ask: Ask) -> Judged:
    """One candidate: sampled, checked, and judged by the cascade."""
    candidate = await generate(seed, index, plan, ask)
    if reason := defect(candidate.completion, DOMAINS[seed.domain].answer_of, plan.reasoning):
        return Judged(candidate, Verdict(seed.seed_id, index, "malformed", reason))
    stages = (*plan.stages, *plan.extra_stages) if ask.exhaustive else plan.stages
    votes = await every(ballots(seed, candidate, stages, plan), ask)
    cast = [vote for vote in votes if vote.stage in plan.stages]
    return Judged(candidate, Verdict(seed.seed_id, index, outcome(cast), ended_by(cast), tuple(votes)))


async def generate(seed: Seed, index: int, plan: Plan, ask: Call) -> Candidate:
    """A sampled solution; an empty one when the engine refuses the question."""
    try:
        reply = await ask("solve", (seed.seed_id, index), solve_prompt(seed, plan), plan.sampling)
    except RequestRefused:
        reply = Completion("", "refused", 0, 0)
    return Candidate(seed.seed_id, index, split(reply.text).answer, reply)


def ballots(seed: Seed, candidate: Candidate, stages: Sequence[str], plan: Plan) -> list[Branch[Vote]]:
    """The votes that must all be yes, stage by stage, each labelled by its stage and its index in it."""
    return [
        Branch(
            f"{stage}.{index}",
            (seed.seed_id, candidate.index, stage, index),
            partial(vote, stage, seed, candidate, index, plan.jury),
        )
        for stage in stages
        for index in range(plan.votes)
    ]


def solve_prompt(seed: Seed, plan: Plan) -> Messages:
    """The messages that a candidate is sampled from; in training its reply follows the same messages."""
    return message(DOMAINS[seed.domain].solve(plan.jury.prompts), question=seed.question)


def attempts(seed: Seed, plan: Plan, order: list[int]) -> list[Branch[Judged]]:
    return [Branch(CANDIDATE, (seed.seed_id, i), partial(judged, seed, i, plan)) for i in order]


Selected = tuple[list[Judged], list[Candidate]]


async def first_valid(seed: Seed, ask: Ask, plan: Plan) -> Selected:
    """The first accepted candidate by sampling index: never by the time it finished."""
    return await _first(seed, ask, plan, list(range(plan.candidates)))


async def random_valid(seed: Seed, ask: Ask, plan: Plan) -> Selected:
    """An accepted candidate at random: the first in an order derived from the run seed and the question."""
    order = list(range(plan.candidates))
    random.Random(f"{plan.run_seed}/{seed.seed_id}").shuffle(order)
    return await _first(seed, ask, plan, order)


async def shortest_valid(seed: Seed, ask: Ask, plan: Plan) -> Selected:
    """The accepted candidate with the fewest tokens: all are sampled, then judged from the shortest on."""
    branches = [
        Branch("generate", (seed.seed_id, i), partial(_sampled, seed, i, plan))
        for i in range(plan.candidates)
    ]
    candidates = [judged.candidate for judged in await each(branches, ask)]
    return await _first(seed, ask, plan, [candidate.index for candidate in by_length(candidates)])


async def all_valid(seed: Seed, ask: Ask, plan: Plan) -> Selected:
    """Every accepted candidate, by index."""
    results = await each(attempts(seed, plan, list(range(plan.candidates))), ask)
    return results, [result.candidate for result in results if result.passed]


async def unfiltered(seed: Seed, ask: Ask, plan: Plan) -> Selected:
    """The ablation without a filter: candidate 0, unjudged, unless it was truncated."""
    result = await _sampled(seed, 0, plan, ask)
    return [result], [result.candidate] if result.candidate.completion.finish_reason == "stop" else []


async def _first(seed: Seed, ask: Ask, plan: Plan, order: list[int]) -> Selected:
    results = await first(attempts(seed, plan, order), ask)
    return results, [result.candidate for result in results if result.passed][:1]


async def _sampled(seed: Seed, index: int, plan: Plan, ask: Ask) -> Judged:
    candidate = await generate(seed, index, plan, ask)
    return Judged(candidate, Verdict(seed.seed_id, index, "skipped"))


SELECTIONS: dict[str, Callable[[Seed, Ask, Plan], Awaitable[Selected]]] = {
    "first": first_valid,
    "all": all_valid,
    "shortest": shortest_valid,
    "random": random_valid,
    "unfiltered": unfiltered,
}
