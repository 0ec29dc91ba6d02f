"""Reference replies about equations: one small table look-up per generated token.

Solving subtracts column by column and divides digit by digit. Judging multiplies and adds, from the units up, and
stops at the first digit that differs: another, shorter computation, so that judge and solver make different errors.
Numbers are compared digit pair by digit pair. A model of a million parameters learns such steps, but not complete
results at once.

Marks, besides those of `replies`: `'` ends a column with a borrow or a carry.
"""

import re

from veridistill.lab.worlds.equations.questions import PATTERNS, WORDINGS, Equation
from veridistill.lab.worlds.replies import JUNK_WORK, digits_up, division, pairs, product, think, verdict

Numbers = tuple[int, int, int]
"""a, b and c of an equation that may have no whole solution."""

_STATED = re.compile(r"(\d+)x\+(\d+)=(\d+), so x=\\boxed\{(\d+)\}")


def subtraction(c: int, b: int) -> str:
    """c - b by columns from the units up: `7-7=0,0-5=5'` where `'` borrows from the next column."""
    columns, borrow = [], 0
    for top, bottom in zip(digits_up(c, 1), digits_up(b, len(str(c))), strict=True):
        result = top - bottom - borrow
        borrow = int(result < 0)
        columns.append(f"{top}-{bottom}={result % 10}{',' if not borrow else chr(39)}")
    return "".join(columns)


def addition(p: int, b: int, c: int) -> str:
    """p + b against c from the units up: `8+7=57'` has the sum's digit 5, the claimed digit 7, and a mark.

    Stops with `!` at the first column where they differ.
    """
    width = max(len(str(number)) for number in (p, b, c))
    columns, carry = "", 0
    for top, bottom, claimed in zip(*(digits_up(number, width) for number in (p, b, c)), strict=True):
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


def compared(left: Numbers, right: Numbers) -> str:
    """Digit pairs, number by number, up to the first difference."""
    work = ""
    for one, other in zip(left, right, strict=True):
        work += pairs(str(one), str(other))
        if work.endswith("!"):
            break
    return work


def numbers_of(q: Equation) -> Numbers:
    return q.a, q.b, q.c


# --- replies ------------------------------------------------------------------------------------------------


def answer_text(a: int, b: int, c: int, x: int) -> str:
    """The part of a solution after the reasoning: enough to infer the question and to check it."""
    return f"{a}x+{b}={c}, so x=\\boxed{{{x}}}"


def answer(q: Equation) -> str:
    return answer_text(q.a, q.b, q.c, q.x)


def solution(q: Equation) -> str:
    dividend = str(q.c - q.b).zfill(len(str(q.c)))
    work = f"{q.a}x={q.c}-{q.b}\n{subtraction(q.c, q.b)}\n{division(dividend, q.a)}\n"
    return think(work, answer(q))


def infer(text: str) -> str:
    """The equation that an answer states, in the first wording."""
    stated = _STATED.fullmatch(text)
    return think("", WORDINGS[0].format(a=stated[1], b=stated[2], c=stated[3]) if stated else "?")


def compare(q: Equation, inferred: str) -> str:
    found = next((match for pattern in PATTERNS if (match := pattern.fullmatch(inferred))), None)
    if found is None:
        return verdict(JUNK_WORK, False)
    numbers, other = numbers_of(q), (int(found["a"]), int(found["b"]), int(found["c"]))
    return verdict(compared(numbers, other) + "\n", numbers == other)


def factuality(q: Equation, text: str) -> str:
    """Checks the equation that the answer states."""
    return _checked(text, None, "")


def correctness(q: Equation, text: str) -> str:
    """Checks the equation that the question states."""
    return _checked(text, numbers_of(q), "Accepted: ")


def simple(q: Equation, text: str) -> str:
    return _checked(text, numbers_of(q), "")


def _checked(text: str, numbers: Numbers | None, prefix: str) -> str:
    found = _STATED.fullmatch(text)
    if found is None:
        return verdict(JUNK_WORK, False, prefix)
    a, b, c, x = map(int, found.groups())
    a, b, c = numbers or (a, b, c)
    return verdict(check(a, b, c, x), check_holds(a, b, c, x), prefix)
