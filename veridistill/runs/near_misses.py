"""Near misses: accepted answers whose result is changed a little, to measure how closely the judges look.

A canary is plainly bad; a near miss is as well written as what is kept, and wrong in its last digit. It is made from
the answer that a question keeps, which no timing decides, and judged by the same cascade under an index of its own. It
is reported beside the canaries and ends no build: even good judges miss some.

There is none for multiple choice, where a changed letter is another option, nor for code, where a changed digit may
change nothing.
"""

import re

from veridistill.domains import DOMAINS
from veridistill.lazy import Ask
from veridistill.method import Distilled, Plan
from veridistill.records import Candidate, Completion, Seed
from veridistill.runs.canaries import Planted, drawn, judged

INDEX = -4
"""Where its requests stand in the place of a candidate's index; those of canaries are above."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_OPTIONS = re.compile(r"^\s*\(?[A-J][).:]\s*\S", re.MULTILINE)
_SENTENCE = re.compile(r"[.!?]\s|\n")


async def plant(distilled: Distilled, share: float, ask: Ask, plan: Plan) -> Planted | None:
    """Have a near miss judged, lazily; None where the question is not drawn, keeps nothing, or has no such answer."""
    seed = distilled.seed
    if not distilled.kept or drawn(seed.seed_id, b"near miss") >= share:
        return None
    answer = changed(seed, distilled.kept[0].answer)
    if answer is None:
        return None
    candidate = Candidate(seed.seed_id, INDEX, answer, Completion(answer, "stop", 0, 0))
    return await judged("near_miss", seed, candidate, ask.under(None), plan)


def changed(seed: Seed, answer: str) -> str | None:
    """The answer with the last digit of its result one higher or lower, from the sentence of the result on.

    None where the result does not hold exactly one number, for code, and for questions with lettered options.
    """
    if seed.domain == "code" or len(_OPTIONS.findall(seed.question)) > 1:
        return None
    answer_of = DOMAINS[seed.domain].answer_of
    result = answer_of(answer)
    numbers = _NUMBER.findall(result or "")
    if result is None or len(numbers) != 1:
        return None
    same = re.compile(rf"(?<![\d.,]){re.escape(numbers[0])}(?![.,]?\d)")
    near = _near(numbers[0], seed.seed_id)
    place = answer.rfind(result)
    while place >= 0:
        start = max((found.end() for found in _SENTENCE.finditer(answer, 0, place)), default=0)
        made = answer[:start] + same.sub(near, answer[start:])
        if answer_of(made) != result:
            return made
        place = answer.rfind(result, 0, place)  # the same text behind the result is not the result
    return None


def _near(number: str, seed_id: str) -> str:
    digit = int(number[-1])
    up = digit == 0 or (digit < 9 and drawn(seed_id, b"near digit") < 0.5)
    return number[:-1] + str(digit + 1 if up else digit - 1)
