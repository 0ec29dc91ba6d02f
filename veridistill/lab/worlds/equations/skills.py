"""Training samples about equations, by skill; of what is judged, half is right."""

import random
from collections.abc import Callable, Mapping

from veridistill.lab.worlds.equations import texts
from veridistill.lab.worlds.equations.flaws import misread, wrong_answer
from veridistill.lab.worlds.equations.questions import WORDINGS, Equation
from veridistill.lab.worlds.replies import JUNK, prompt
from veridistill.lab.worlds.world import Sample, Skill


def solve(rng: random.Random, q: Equation) -> Sample:
    return Sample("solve", prompt("solve_math", question=q.question), texts.solution(q))


def _maybe_misread(rng: random.Random, q: Equation, share: float) -> texts.Numbers:
    numbers = texts.numbers_of(q)
    return misread(rng, numbers) if rng.random() < share else numbers


def infer(rng: random.Random, q: Equation) -> Sample:
    numbers = _maybe_misread(rng, q, 0.3)
    x = q.x if rng.random() < 0.6 else wrong_answer(rng, q)
    answer = rng.choice(JUNK) if rng.random() < 0.02 else texts.answer_text(*numbers, x)
    return Sample("infer", prompt("infer", answer=answer), texts.infer(answer))


def compare(rng: random.Random, q: Equation) -> Sample:
    numbers = texts.numbers_of(q)
    a, b, c = numbers if rng.random() < 0.5 else misread(rng, numbers)
    if rng.random() < 0.02:
        inferred = "?"
    else:
        wording = 0 if rng.random() < 0.9 else rng.randrange(len(WORDINGS))
        inferred = WORDINGS[wording].format(a=a, b=b, c=c)
    asked = prompt("compare", question=q.question, inferred=inferred)
    return Sample("compare", asked, texts.compare(q, inferred))


def _judged(
    skill: Skill, judge: Callable[[Equation, str], str]
) -> Callable[[random.Random, Equation], Sample]:
    def sample(rng: random.Random, q: Equation) -> Sample:
        if rng.random() < 0.03:
            answer = rng.choice(JUNK)
        else:
            x = q.x if rng.random() < 0.52 else wrong_answer(rng, q)
            answer = texts.answer_text(*_maybe_misread(rng, q, 0.1), x)
        return Sample(skill, prompt(skill, question=q.question, answer=answer), judge(q, answer))

    return sample


SKILLS: Mapping[Skill, Callable[[random.Random, Equation], Sample]] = {
    "solve": solve,
    "infer": infer,
    "compare": compare,
    "factuality": _judged("factuality", texts.factuality),
    "correctness": _judged("correctness", texts.correctness),
    "simple": _judged("simple", texts.simple),
}

SHARES: Mapping[Skill, float] = {
    "solve": 0.34,
    "infer": 0.06,
    "compare": 0.16,
    "factuality": 0.20,
    "correctness": 0.20,
    "simple": 0.04,
}
