"""Reference replies for the lab's simulated post-training: one small table look-up per generated token.

Solving subtracts column by column and divides digit by digit. Judging multiplies and adds, from the units up, and
stops at the first digit that differs: another, shorter computation, so that judge and solver make different errors.
Numbers are compared digit pair by digit pair. A model of a million parameters learns such steps, but not complete
results at once.

Marks: `,` ends a column, `'` ends it with a borrow or a carry; `!` says that two digits differ; `.` represents a digit
that only one of two numbers has.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import Literal, TypeAlias

from veridistill import prompts
from veridistill.lab.world import JUDGE, SOLVER, WORDINGS, Mix, Question, draw

Skill: TypeAlias = Literal["solve", "infer", "compare", "factuality", "correctness", "simple"]

JUNK = ("Solution", ":", "The answer is as follows.", "I do not know.", "Thought process:", "\\boxed{}", "?")
JUNK_WORK = "?\n"


@dataclass(frozen=True)
class Sample:
    """One post-training pair: the user's message and the assistant's reply."""

    skill: Skill
    prompt: str
    reply: str


# --- arithmetic as text -------------------------------------------------------------------------------------


def _digits_up(number: int, num: int) -> list[int]:
    """The digits from the units up, padded with zeros to at least `num`."""
    return [int(d) for d in str(number)[::-1].ljust(num, "0")]


def subtraction(c: int, b: int) -> str:
    """c - b by columns from the units up: `7-7=0,0-5=5'` where `'` borrows from the next column."""
    columns, borrow = [], 0
    for top, bottom in zip(_digits_up(c, 1), _digits_up(b, len(str(c))), strict=True):
        result = top - bottom - borrow
        borrow = int(result < 0)
        columns.append(f"{top}-{bottom}={result % 10}{',' if not borrow else chr(39)}")
    return "".join(columns)


def division(dividend: str, a: int) -> str:
    """dividend ÷ a from the top: each step is the remainder, the next digit, `=`, the quotient's digit."""
    steps, rest = [], 0
    for digit in map(int, dividend):
        steps.append(f"{rest}{digit}={(10 * rest + digit) // a},")
        rest = (10 * rest + digit) % a
    return "".join(steps)


def product(a: int, x: int) -> str:
    """a · x from the units up: each step is the digit of x, `:`, and a · digit + carry in two digits."""
    steps, carry = [], 0
    for digit in _digits_up(x, 1):
        value = a * digit + carry
        carry = value // 10
        steps.append(f"{digit}:{value:02},")
    return "".join(steps)


def addition(p: int, b: int, c: int) -> str:
    """p + b against c from the units up: `8+7=57'` has the sum's digit 5, the claimed digit 7, and a mark.

    Stops with `!` at the first column where they differ.
    """
    width = max(len(str(number)) for number in (p, b, c))
    columns, carry = "", 0
    for top, bottom, claimed in zip(*(_digits_up(number, width) for number in (p, b, c)), strict=True):
        value = top + bottom + carry
        carry = value // 10
        if value % 10 != claimed:
            return columns + f"{top}+{bottom}={value % 10}{claimed}!"
        columns += f"{top}+{bottom}={value % 10}{claimed}{chr(39) if carry else ','}"
    return columns


def check(a: int, b: int, c: int, x: int) -> str:
    """The judge's work: a · x, then + b against c."""
    return f"{a}*{product(a, x)}\n{addition(a * x, b, c)}\n"


def check_holds(a: int, b: int, c: int, x: int) -> bool:
    """Whether the check succeeds: no `!`, and no carry is left beyond c's width."""
    return "!" not in check(a, b, c, x) and a * x + b == c


def pairs(left: tuple[int, ...], right: tuple[int, ...]) -> str:
    """Digit pairs, number by number: `=` if equal, `,` if equal and last, `!` at the first difference."""
    work = ""
    for one, other in zip(left, right, strict=True):
        for first, second in zip_longest(str(one), str(other), fillvalue="."):
            if first != second:
                return work + f"{first}{second}!"
            work += f"{first}{second}="
        work = work[:-1] + ","
    return work


# --- replies ------------------------------------------------------------------------------------------------


def think(work: str, visible: str) -> str:
    """A reply in Qwen3's form; `work` is empty or ends with a newline."""
    return f"<think>\n{work or chr(10)}</think>\n\n{visible}"


def answer_text(a: int, b: int, c: int, x: int) -> str:
    """The part of a solution after the reasoning: enough to infer the question and to check it."""
    return f"{a}x+{b}={c}, so x=\\boxed{{{x}}}"


def solve_reply(q: Question) -> str:
    dividend = str(q.c - q.b).zfill(len(str(q.c)))
    work = f"{q.a}x={q.c}-{q.b}\n{subtraction(q.c, q.b)}\n{division(dividend, q.a)}\n"
    return think(work, answer_text(q.a, q.b, q.c, q.x))


def verdict(work: str, accepted: bool, prefix: str = "") -> str:
    return think(work, f"{prefix}[[{'Y' if accepted else 'N'}]]")


# --- prompts ------------------------------------------------------------------------------------------------


def prompt(name: str, **values: str) -> str:
    """The compact prompt of that name with its values filled in."""
    return prompts.fill(getattr(_compact(), name), **values)


@cache
def _compact() -> prompts.PromptSet:
    return prompts.load("compact")


# --- wrong answers as a solver makes them -------------------------------------------------------------------


def _slip(rng: random.Random, number: int) -> int:
    digits = list(str(number))
    position = rng.randrange(len(digits))
    digits[position] = str((int(digits[position]) + rng.choice((1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9))) % 10)
    return int("".join(digits))


def _transposed(rng: random.Random, number: int) -> int:
    digits = list(str(number))
    if len(digits) > 1:
        i = rng.randrange(len(digits) - 1)
        digits[i], digits[i + 1] = digits[i + 1], digits[i]
    return int("".join(digits))


def _dropped(rng: random.Random, number: int) -> int:
    digits = str(number)
    i = rng.randrange(len(digits))
    return int(digits[:i] + digits[i + 1 :] or "0")


def _doubled(rng: random.Random, number: int) -> int:
    digits = str(number)
    i = rng.randrange(len(digits))
    return int(digits[:i] + rng.choice((digits[i], "0")) + digits[i:])


def _off(rng: random.Random, number: int) -> int:
    return abs(number + rng.choice((1, -1, 1, -1, 2, -2, 10, -10, 100, -100)))


def wrong_answer(rng: random.Random, q: Question) -> int:
    """A value other than x: digit slips, off by one, lost borrows, transposed, dropped or doubled digits."""

    def lost_borrow() -> int:
        place: int = 10 ** rng.randrange(1, 4)
        return abs(q.c - q.b + rng.choice((-1, 1)) * place) // q.a

    while True:
        kind = rng.choices(range(6), (40, 20, 15, 8, 12, 5))[0]
        makers: tuple[Callable[[], int], ...] = (
            lambda: _slip(rng, q.x),
            lambda: _off(rng, q.x),
            lost_borrow,
            lambda: _transposed(rng, q.x),
            lambda: _dropped(rng, q.x),
            lambda: _doubled(rng, q.x),
        )
        if (value := makers[kind]()) != q.x:
            return value


def misread(rng: random.Random, numbers: tuple[int, int, int]) -> tuple[int, int, int]:
    """The same a, b, c with one number copied wrongly."""
    while True:
        position = rng.choices(range(3), (20, 35, 45))[0]
        maker = rng.choices((_slip, _dropped, _doubled, _transposed), (70, 10, 10, 10))[0]
        changed = list(numbers)
        changed[position] = max(maker(rng, changed[position]), 1)
        if tuple(changed) != numbers:
            return changed[0], changed[1], changed[2]


# --- samples ------------------------------------------------------------------------------------------------


def solve(rng: random.Random, q: Question) -> Sample:
    return Sample("solve", prompt("solve_math", question=q.text), solve_reply(q))


def _maybe_misread(rng: random.Random, q: Question, share: float) -> tuple[int, int, int]:
    numbers = (q.a, q.b, q.c)
    return misread(rng, numbers) if rng.random() < share else numbers


def infer(rng: random.Random, q: Question) -> Sample:
    a, b, c = _maybe_misread(rng, q, 0.3)
    x = q.x if rng.random() < 0.6 else wrong_answer(rng, q)
    if rng.random() < 0.02:
        return Sample("infer", prompt("infer", answer=rng.choice(JUNK)), think("", "?"))
    inferred = WORDINGS[0].format(a=a, b=b, c=c)
    return Sample("infer", prompt("infer", answer=answer_text(a, b, c, x)), think("", inferred))


def compare(rng: random.Random, q: Question) -> Sample:
    numbers = (q.a, q.b, q.c)
    other = numbers if rng.random() < 0.5 else misread(rng, numbers)
    if rng.random() < 0.02:
        return Sample("compare", prompt("compare", question=q.text, inferred="?"), verdict(JUNK_WORK, False))
    wording = 0 if rng.random() < 0.9 else rng.randrange(len(WORDINGS))
    inferred = WORDINGS[wording].format(a=other[0], b=other[1], c=other[2])
    work = pairs(numbers, other) + "\n"
    return Sample(
        "compare", prompt("compare", question=q.text, inferred=inferred), verdict(work, numbers == other)
    )


def _judged(rng: random.Random, q: Question, skill: Skill, prefix: str = "") -> Sample:
    """Factuality checks the equation that the answer states; the other skills the one that the question states."""
    if rng.random() < 0.03:
        answer, work, holds = rng.choice(JUNK), JUNK_WORK, False
    else:
        x = q.x if rng.random() < 0.52 else wrong_answer(rng, q)
        stated = _maybe_misread(rng, q, 0.1)
        numbers = stated if skill == "factuality" else (q.a, q.b, q.c)
        answer, work, holds = answer_text(*stated, x), check(*numbers, x), check_holds(*numbers, x)
    return Sample(skill, prompt(skill, question=q.text, answer=answer), verdict(work, holds, prefix))


def factuality(rng: random.Random, q: Question) -> Sample:
    return _judged(rng, q, "factuality")


def correctness(rng: random.Random, q: Question) -> Sample:
    return _judged(rng, q, "correctness", "Accepted: ")


def simple(rng: random.Random, q: Question) -> Sample:
    return _judged(rng, q, "simple")


MAKERS: dict[Skill, Callable[[random.Random, Question], Sample]] = {
    "solve": solve,
    "infer": infer,
    "compare": compare,
    "factuality": factuality,
    "correctness": correctness,
    "simple": simple,
}

SHARES: dict[Skill, float] = {
    "solve": 0.34,
    "infer": 0.06,
    "compare": 0.16,
    "factuality": 0.20,
    "correctness": 0.20,
    "simple": 0.04,
}


def taught_mix(skill: Skill) -> Mix:
    """The mix of questions on which a skill is taught."""
    return SOLVER if skill == "solve" else JUDGE


def sample(rng: random.Random, skill: Skill, mix: Mix | None = None) -> Sample:
    """One pair from the post-training split; without `mix`, from the mix that the skill is taught on."""
    return MAKERS[skill](rng, draw(rng, mix or taught_mix(skill), "post_train"))
