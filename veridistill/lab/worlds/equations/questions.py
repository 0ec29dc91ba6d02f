"""The equations: word problems about a·x + b = c, in five wordings."""

import random
import re
from dataclasses import dataclass

from veridistill.lab.worlds.world import Mix
from veridistill.records import Problem

WORDINGS = (
    "Solve {a}x+{b}={c} for x.",
    "If {a} times a number plus {b} is {c}, what is the number?",
    "I multiply a number by {a}, add {b} and get {c}. Which number is it?",
    "{a} equal boxes and {b} loose pens make {c} pens. How many pens are in a box?",
    "{c} is {b} more than {a} times which number?",
)
"""Each asks for x in a·x + b = c; the first is the canonical one."""

PATTERNS = tuple(
    re.compile(re.sub(r"\\\{([abc])\\\}", r"(?P<\1>[0-9]+)", re.escape(wording))) for wording in WORDINGS
)


@dataclass(frozen=True)
class Equation:
    """a·x + b = c in one of the wordings."""

    a: int
    b: int
    x: int
    wording: int = 0

    @property
    def c(self) -> int:
        return self.a * self.x + self.b

    @property
    def key(self) -> str:
        return f"{self.a}|{self.b}|{self.c}"

    @property
    def question(self) -> str:
        return WORDINGS[self.wording].format(a=self.a, b=self.b, c=self.c)

    @property
    def problem(self) -> Problem:
        return Problem(self.key, "equations", "integer", self.question, str(self.x))


@dataclass(frozen=True)
class Digits:
    """Shares of the number of digits (1, 2, 3, 4) of the answer x and of the addend b."""

    answer: tuple[float, float, float, float]
    addend: tuple[float, float, float, float] = (0.2, 0.5, 0.3, 0.0)


MIXES: dict[Mix, Digits] = {
    # Answers of three digits are rare, of four very rare.
    "solver": Digits(answer=(0.20, 0.65, 0.12, 0.03)),
    # Longer numbers more often, so that the model can check more than it can solve.
    "judge": Digits(answer=(0.12, 0.53, 0.25, 0.10)),
    # Answers of four digits, 3 % of what the solver was taught.
    "hard": Digits(answer=(0.0, 0.0, 0.0, 1.0), addend=(0.1, 0.4, 0.5, 0.0)),
}


def _number(rng: random.Random, shares: tuple[float, float, float, float]) -> int:
    digits = rng.choices((1, 2, 3, 4), shares)[0]
    return rng.randrange(10 ** (digits - 1), 10**digits)


def draw(rng: random.Random, mix: Mix) -> Equation:
    digits = MIXES[mix]
    return Equation(
        a=rng.randrange(2, 10),
        b=_number(rng, digits.addend),
        x=_number(rng, digits.answer),
        wording=rng.randrange(len(WORDINGS)),
    )


def parse(text: str) -> Equation | None:
    """The equation with this question, or None when the world cannot make it."""
    for wording, pattern in enumerate(PATTERNS):
        if match := pattern.fullmatch(text.strip()):
            a, b, c = (int(match[name]) for name in "abc")
            if a < 1 or c < b or (c - b) % a:
                return None
            return Equation(a=a, b=b, x=(c - b) // a, wording=wording)
    return None
