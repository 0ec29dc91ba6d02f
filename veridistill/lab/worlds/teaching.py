"""Training samples for a world, made from its solutions, its flaws and the work of its judges.

Where something is judged, about half of the answers pass. Those that do not have a flaw that the stage must see; among
those that do are flaws that only other stages see.
"""

import random
from collections.abc import Callable, Mapping

from veridistill.decide import split
from veridistill.lab.worlds.replies import JUNK, prompt
from veridistill.lab.worlds.world import Flaw, Judge, Sample, Skill, Stage, T
from veridistill.records import Domain

Make = Callable[[random.Random, T], Sample]

SHARES: Mapping[Skill, float] = {
    "solve": 0.34,
    "infer": 0.08,
    "compare": 0.16,
    "factuality": 0.20,
    "correctness": 0.18,
    "simple": 0.04,
}
_JUNK, _RIGHT, _PASSED = 0.03, 0.33, 0.53
"""Limits of what is judged: nothing said; right; flawed in a way that the stage need not see; flawed otherwise."""


def skills(
    domain: Domain,
    answer: Callable[[T], str],
    solution: Callable[[T], str],
    judge: Judge[T],
    flaws: Mapping[str, Flaw[T]],
) -> dict[Skill, Make[T]]:
    def answered(rng: random.Random, task: T, stage: Stage) -> str:
        place = rng.random()
        if place < _JUNK:
            return rng.choice(JUNK)
        names = [name for name in flaws if (stage in flaws[name].seen_by) == (place >= _PASSED)]
        while names and place >= _RIGHT:
            (name,) = rng.choices(names, [flaws[name].share for name in names])
            if (text := flaws[name].make(rng, task)) is not None:
                return text
            names.remove(name)
        return answer(task)

    def solve(rng: random.Random, task: T) -> Sample:
        return Sample("solve", prompt(f"solve_{domain}", question=task.question), solution(task))

    def infer(rng: random.Random, task: T) -> Sample:
        text = answered(rng, task, "cycle_consistency")
        return Sample("infer", prompt("infer", answer=text), judge.infer(text))

    def compare(rng: random.Random, task: T) -> Sample:
        inferred = split(judge.infer(answered(rng, task, "cycle_consistency"))).answer
        shown = prompt("compare", question=task.question, inferred=inferred)
        return Sample("compare", shown, judge.compare(task, inferred))

    def factuality(rng: random.Random, task: T) -> Sample:
        text = answered(rng, task, "factuality")
        shown = prompt("factuality", question=task.question, answer=text)
        return Sample("factuality", shown, judge.factuality(task, text))

    def correctness(rng: random.Random, task: T) -> Sample:
        text = answered(rng, task, "correctness")
        shown = prompt("correctness", question=task.question, answer=text)
        return Sample("correctness", shown, judge.correctness(task, text))

    def simple(rng: random.Random, task: T) -> Sample:
        """The work of correctness under the prompt of the simple judge."""
        text = answered(rng, task, "correctness")
        reply = judge.correctness(task, text).replace("Accepted: ", "")
        return Sample("simple", prompt("simple", question=task.question, answer=text), reply)

    return {
        "solve": solve,
        "infer": infer,
        "compare": compare,
        "factuality": factuality,
        "correctness": correctness,
        "simple": simple,
    }
