"""Wrong answers to equations as a solver makes them, and answers with planted flaws."""

import random
from collections.abc import Callable, Mapping

from veridistill.lab.worlds.equations.questions import Equation
from veridistill.lab.worlds.equations.texts import Numbers, answer_text, check_holds, numbers_of
from veridistill.lab.worlds.world import Flaw


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


def wrong_answer(rng: random.Random, q: Equation) -> int:
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


def misread(rng: random.Random, numbers: Numbers) -> Numbers:
    """The same a, b, c with one number copied wrongly."""
    while True:
        position = rng.choices(range(3), (20, 35, 45))[0]
        maker = rng.choices((_slip, _dropped, _doubled, _transposed), (70, 10, 10, 10))[0]
        changed = list(numbers)
        changed[position] = max(maker(rng, changed[position]), 1)
        if tuple(changed) != numbers:
            return changed[0], changed[1], changed[2]


def _wrong(rng: random.Random, q: Equation) -> str:
    return answer_text(q.a, q.b, q.c, wrong_answer(rng, q))


def _neighbour(rng: random.Random, q: Equation) -> str:
    """The right answer to an equation with another c."""
    x = wrong_answer(rng, q)
    return answer_text(q.a, q.b, q.a * x + q.b, x)


def _misprint(rng: random.Random, q: Equation) -> str:
    """The right number for x behind an equation that is copied wrongly."""
    while check_holds(*(numbers := misread(rng, numbers_of(q))), q.x):
        pass
    return answer_text(*numbers, q.x)


FLAWS: Mapping[str, Flaw[Equation]] = {
    "slip": Flaw(0.6, frozenset({"factuality", "correctness"}), _wrong),
    "neighbour": Flaw(0.25, frozenset({"cycle_consistency", "correctness"}), _neighbour),
    "misprint": Flaw(0.15, frozenset({"cycle_consistency", "factuality"}), _misprint, "right"),
}
"""Of an equation, correctness sees every wrong answer: the other stages reject what it rejects, and more."""
