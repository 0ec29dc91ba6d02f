"""Answers to questions of the science world: how solutions state and compute them, and how they are read again."""

import re
from dataclasses import dataclass

from veridistill.lab.worlds.replies import division, pairs, product, think
from veridistill.lab.worlds.science.questions import Measurement

_GIVEN = r"([1-9][0-9]*) (\S+)"
_STATED = re.compile(
    rf"([A-Za-z])={_GIVEN}, ([A-Za-z])={_GIVEN}, (?:1 k\S+=(10*) \S+, )?"
    r"([A-Za-z])=([A-Za-z][*/][A-Za-z])=([0-9]+)([*/])([0-9]+)=([0-9]+), so \\boxed\{([^{}]*)\}"
)


@dataclass(frozen=True)
class Stated:
    """What an answer says: two given quantities (symbol, number, unit), formula, computation, result and box.

    `power`: how many units a thousand of them are said to be; None where nothing is said.
    """

    given: tuple[tuple[str, int, str], tuple[str, int, str]]
    power: int | None
    asked: str
    formula: str
    left: int
    operation: str
    right: int
    result: int
    box: str

    @property
    def text(self) -> str:
        parts = [f"{symbol}={number} {unit}" for symbol, number, unit in self.given]
        if self.power is not None:
            unit = next(unit for _, _, unit in self.given if unit.startswith("k") and unit[1:])
            parts.append(f"1 {unit}={self.power} {unit[1:]}")
        computed = f"{self.left}{self.operation}{self.right}={self.result}"
        parts.append(f"{self.asked}={self.formula}={computed}")
        return ", ".join(parts) + f", so \\boxed{{{self.box}}}"


def read(text: str) -> Stated | None:
    """What an answer of this form says; None for any other text."""
    found = _STATED.fullmatch(text)
    if found is None:
        return None
    s0, n0, u0, s1, n1, u1, power, asked, formula, left, operation, right, result, box = found.groups()
    return Stated(
        ((s0, int(n0), u0), (s1, int(n1), u1)),
        int(power) if power else None,
        asked,
        formula,
        int(left),
        operation,
        int(right),
        int(result),
        box,
    )


def stated(q: Measurement) -> Stated:
    """The right answer."""
    return computed(q, 1000, q.value, q.letter if q.options else f"{q.value} {q.asked.unit}")


def computed(q: Measurement, power: int, result: int, box: str) -> Stated:
    """The answer to this question by the right formula, with this many units to a thousand, this result and box."""
    one, other = q.given
    left, right = (given.number * (power if given.kilo else 1) for given in q.given)
    return Stated(
        ((one.quantity.symbol, one.number, one.unit), (other.quantity.symbol, other.number, other.unit)),
        power if one.kilo or other.kilo else None,
        q.asked.symbol,
        q.relation.formula(q.asked.symbol).partition("=")[2],
        left,
        "/" if q.divides else "*",
        right,
        result,
        box,
    )


def answer(q: Measurement) -> str:
    return stated(q).text


def solution(q: Measurement) -> str:
    """The formula, the number that it gives without thousands, and where there are options, which one this is."""
    long, digit = q.long.number, q.digit.number
    steps = f"{digit}/{division(str(long), digit)}" if q.divides else f"{digit}*{product(digit, long)}"
    work = f"{q.relation.formula(q.asked.symbol)}\n{steps}\n"
    if q.options:
        work += "".join(_looked_up(q)) + "\n"
    return think(work, answer(q))


def _looked_up(q: Measurement) -> list[str]:
    """Each option against the value, up to the one that is it."""
    found = []
    for letter, option in zip("ABCD", q.options, strict=True):
        found.append(letter + pairs(str(q.value), str(option)))
        if option == q.value:
            break
    return found
