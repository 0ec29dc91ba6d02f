"""The questions of the science world: of two given quantities a third is asked, as a number or as one of four options.

One of the given quantities is a single digit, and of the asked one and the other given one, one is it times the other.
A large one may be given in thousands of its unit (`25 kohm`).
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from veridistill.domains.options import LETTERS, with_options
from veridistill.lab.worlds.science.relations import (
    NOUNS,
    RELATIONS,
    SYMBOLS,
    Quantity,
    Relation,
    relation_of,
)
from veridistill.lab.worlds.world import Mix
from veridistill.records import Problem

CANONICAL = "Given {s0}={g0} and {s1}={g1}, find {s2}."
WORDINGS = (
    CANONICAL,
    "The {n0} is {g0} and the {n1} is {g1}. What is the {n2}?",
    "What {n2} goes with {g1} of {n1} and {g0} of {n0}?",
    "Find the {n2} for {n0} {g0} and {n1} {g1}.",
)
_GIVEN = r"[1-9][0-9]{0,8} [A-Za-z][A-Za-z0-9/^]*"
_PATTERNS = tuple(
    re.compile(
        re.sub(
            r"\\\{([sng])([012])\\\}",
            lambda found: f"(?P<{found[1]}{found[2]}>{_GIVEN if found[1] == 'g' else '[A-Za-z]+'})",
            re.escape(wording),
        )
    )
    for wording in WORDINGS
)
_OPTION = re.compile(r"([A-D])\. ([1-9][0-9]*) (\S+)")
CHOICES = 4
SHARE_OF_CHOICES = 0.4
SHARE_OF_KILO = 0.4
"""Of the questions that ask for a number, where the quantity takes the prefix: the options of a choice are compared
digit by digit, and would be too long with thousands."""


@dataclass(frozen=True)
class Given:
    """A number of units of a quantity, or of thousands of them."""

    quantity: Quantity
    number: int
    kilo: bool = False

    @property
    def value(self) -> int:
        return self.number * (1000 if self.kilo else 1)

    @property
    def unit(self) -> str:
        return "k" * self.kilo + self.quantity.unit

    @property
    def text(self) -> str:
        return f"{self.number} {self.unit}"


@dataclass(frozen=True)
class Measurement:
    """Which quantity is asked of a relation, from two given ones in the order in which the formula names them.

    `options`: the values offered, in units of the asked quantity; empty where a number is asked for.
    """

    relation: Relation
    asked: Quantity
    given: tuple[Given, Given]
    wording: int = 0
    options: tuple[int, ...] = ()

    @property
    def divides(self) -> bool:
        return self.asked != self.relation.product

    @property
    def digit(self) -> Given:
        """The given quantity that is a single digit: the divisor, or a factor."""
        return self.given[1] if self.divides else next(g for g in self.given if _is_digit(g))

    @property
    def long(self) -> Given:
        """The other given quantity."""
        return self.given[0] if self.given[1] is self.digit else self.given[1]

    @property
    def value(self) -> int:
        """The answer, in units of the asked quantity."""
        long, digit = self.long.value, self.digit.number
        return long // digit if self.divides else long * digit

    @property
    def key(self) -> str:
        given = sorted(f"{one.quantity.noun}={one.value}" for one in self.given)
        return f"{self.asked.noun} of {' and '.join(given)}"

    @property
    def stem(self) -> str:
        one, other = self.given
        return WORDINGS[self.wording].format(
            s0=one.quantity.symbol, n0=one.quantity.noun, g0=one.text, s2=self.asked.symbol,
            s1=other.quantity.symbol, n1=other.quantity.noun, g1=other.text, n2=self.asked.noun,
        )  # fmt: skip

    @property
    def option_texts(self) -> tuple[str, ...]:
        return tuple(f"{value} {self.asked.unit}" for value in self.options)

    @property
    def letter(self) -> str:
        return LETTERS[self.options.index(self.value)]

    @property
    def question(self) -> str:
        return with_options(self.stem, self.option_texts) if self.options else self.stem

    @property
    def problem(self) -> Problem:
        if self.options:
            texts = self.option_texts
            return Problem(self.key, "science", "choice", self.question, self.letter, "science", texts)
        reference = f"{self.value} {self.asked.unit}"
        return Problem(self.key, "science", "quantity", self.question, reference, "science")


def _is_digit(given: Given) -> bool:
    return 2 <= given.number <= 9 and not given.kilo


# --- drawing ------------------------------------------------------------------------------------------------

_DIGITS: Mapping[Mix, tuple[float, float, float, float]] = {
    "solver": (0.20, 0.60, 0.15, 0.05),
    "judge": (0.12, 0.48, 0.28, 0.12),
    "hard": (0.0, 0.0, 0.0, 1.0),
}
"""Shares of the number of digits of the factor that is no single digit, thousands not counted."""


def draw(rng: random.Random, mix: Mix) -> Measurement:
    """A question of any form and wording."""
    relation = rng.choice(RELATIONS)
    single = rng.choice((relation.one, relation.other))
    long = relation.other if single is relation.one else relation.one
    digit = Given(single, rng.randrange(2, 10))
    digits = rng.choices((1, 2, 3, 4), _DIGITS[mix])[0]
    # A factor of one digit would leave open which of the two is the single digit.
    factor = rng.randrange(max(10, 10 ** (digits - 1)), max(20, 10**digits))
    divides, offers = rng.random() < 0.5, rng.random() < SHARE_OF_CHOICES
    wanted_kilo = not offers and rng.random() < SHARE_OF_KILO
    known = relation.product if divides else long
    number = factor * digit.number if divides else factor
    given = Given(known, number, known.kilo and wanted_kilo)
    ordered = (given, digit) if divides or long is relation.one else (digit, given)
    asked = long if divides else relation.product
    made = Measurement(relation, asked, ordered, rng.randrange(len(WORDINGS)))
    return replace(made, options=_options(rng, made)) if offers else made


def slipped(rng: random.Random, value: int) -> int:
    """The value with one digit wrong; trailing zeros stay."""
    digits = list(str(value))
    last = len(str(value).rstrip("0"))
    place = rng.randrange(last)
    digits[place] = str((int(digits[place]) + rng.choice((1, 9, 1, 9, 2, 8, 3, 5))) % 10)
    return int("".join(digits)) if digits[0] != "0" else slipped(rng, value)


def inverted(q: Measurement) -> int | None:
    """What the formula gives when it multiplies where it must divide, or divides where it must multiply."""
    long, digit = q.long.value, q.digit.number
    if q.divides:
        return long * digit
    return None if long % digit else long // digit


def _options(rng: random.Random, q: Measurement) -> tuple[int, ...]:
    """The right value among those of typical slips: the wrong formula, a wrong power of ten, a wrong digit."""
    slips = {value for value in (inverted(q), q.value * 10) if value}
    if q.value % 10 == 0:
        slips.add(q.value // 10)
    others = rng.sample(sorted(slips - {q.value}), k=min(2, len(slips - {q.value})))
    while len(others) < CHOICES - 1:
        if (value := slipped(rng, q.value)) not in (*others, q.value):
            others.append(value)
    options = [q.value, *others]
    rng.shuffle(options)
    return tuple(options)


# --- parsing ------------------------------------------------------------------------------------------------


def parse(text: str) -> Measurement | None:
    """The question with this text, or None when the world cannot make it."""
    stem, *lines = text.strip().replace("\n\n", "\n").split("\n")
    found = read(stem)
    if found is None or not lines:
        return found
    options = [_OPTION.fullmatch(line) for line in lines]
    matched = [option for option in options if option is not None]
    values = tuple(int(option[2]) for option in matched)
    made = replace(found, options=values)
    fits = (
        len(lines) == CHOICES == len(set(values)) and made.value in values and made.question == text.strip()
    )
    return made if fits else None


def read(stem: str) -> Measurement | None:
    """The question without options that a stem asks, or None."""
    for wording, pattern in enumerate(_PATTERNS):
        if match := pattern.fullmatch(stem.strip()):
            names = SYMBOLS if "s0" in match.groupdict() else NOUNS
            letter = "s" if names is SYMBOLS else "n"
            quantities = [names.get(match[f"{letter}{place}"]) for place in range(3)]
            first, second = (_given(match[f"g{place}"], quantities[place]) for place in range(2))
            asked = quantities[2]
            if first and second and asked:
                return _measurement(first, second, asked, wording)
    return None


def _given(text: str, quantity: Quantity | None) -> Given | None:
    number, _, unit = text.partition(" ")
    if quantity is None or unit not in (quantity.unit, *(["k" + quantity.unit] if quantity.kilo else [])):
        return None
    return Given(quantity, int(number), unit != quantity.unit)


def _measurement(first: Given, second: Given, asked: Quantity, wording: int) -> Measurement | None:
    symbols = frozenset((first.quantity.symbol, second.quantity.symbol, asked.symbol))
    relation = relation_of(symbols)
    if relation is None or len(symbols) < 3:
        return None
    order = [q.symbol for q in relation.quantities]
    if order.index(first.quantity.symbol) > order.index(second.quantity.symbol):
        return None
    made = Measurement(relation, asked, (first, second), wording)
    digits = [g for g in (first, second) if _is_digit(g)]
    if made.divides:
        return made if _is_digit(second) and first.value % second.number == 0 else None
    return made if len(digits) == 1 else None


def terms(text: str) -> list[str] | None:
    """Symbol, number and unit of what is given, twice, and the asked symbol, of a question in the first wording.

    None for other texts; unlike `parse` it also reads what the world would not ask.
    """
    match = _PATTERNS[0].fullmatch(text)
    if match is None:
        return None
    return [match["s0"], *match["g0"].split(" "), match["s1"], *match["g1"].split(" "), match["s2"]]
