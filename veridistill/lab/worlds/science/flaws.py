"""Answers of the science world with planted flaws."""

import random
from collections.abc import Mapping
from dataclasses import replace

from veridistill.grading.compare.units import conversion
from veridistill.lab.worlds.science.answers import computed, stated
from veridistill.lab.worlds.science.questions import Given, Measurement, inverted, slipped
from veridistill.lab.worlds.science.relations import RELATIONS, Relation
from veridistill.lab.worlds.world import Flaw, Stage


def _box(rng: random.Random, q: Measurement, value: int) -> str:
    """The value with its unit; or the letter of the option with that value, else of any wrong one."""
    if not q.options:
        return f"{value} {q.asked.unit}"
    if value in q.options:
        return "ABCD"[q.options.index(value)]
    return rng.choice([letter for letter in "ABCD" if letter != q.letter])


def _slip(rng: random.Random, q: Measurement) -> str:
    """A wrong digit in the result."""
    value = slipped(rng, q.value)
    return computed(q, 1000, value, _box(rng, q, value)).text


def _misread(rng: random.Random, q: Measurement) -> str:
    """The right answer to the question with another number."""
    factor = q.long.number // q.digit.number if q.divides else q.long.number
    while (other := slipped(rng, factor)) < 10:
        pass
    number = other * q.digit.number if q.divides else other
    given = tuple(replace(one, number=number) if one is q.long else one for one in q.given)
    asked = replace(q, given=(given[0], given[1]))
    return computed(asked, 1000, asked.value, _box(rng, q, asked.value)).text


def _neighbour(rng: random.Random, q: Measurement) -> str | None:
    """The right answer for other quantities with the same numbers. (Its letter would be the right one.)"""
    if q.options:
        return None
    found = [other for relation in RELATIONS if (other := _moved(q, relation)) is not None]
    return stated(rng.choice(found)).text if found else None


def _moved(q: Measurement, relation: Relation) -> Measurement | None:
    """The same numbers in the same places of another relation, if the unit of its answer cannot be converted."""
    places = {symbol.symbol: place for place, symbol in enumerate(q.relation.quantities)}
    asked = relation.quantities[places[q.asked.symbol]]
    one, other = (
        Given(relation.quantities[places[given.quantity.symbol]], given.number, given.kilo)
        for given in q.given
    )
    if any(given.kilo and not given.quantity.kilo for given in (one, other)):
        return None
    return (
        None
        if conversion(asked.unit, q.asked.unit)
        else replace(q, relation=relation, asked=asked, given=(one, other))
    )


def _formula(rng: random.Random, q: Measurement) -> str | None:
    """The formula the wrong way round, computed without a mistake."""
    value = inverted(q)
    if value is None or (q.options and value not in q.options):
        return None
    one, other = (given.quantity.symbol for given in q.given)
    if not q.divides and q.long is q.given[1]:
        one, other = other, one
    operation, left, right = (
        ("*", q.long.value, q.digit.number) if q.divides else ("/", q.long.value, q.digit.number)
    )
    made = computed(q, 1000, value, _box(rng, q, value))
    return replace(made, formula=f"{one}{operation}{other}", operation=operation, left=left, right=right).text


def _conversion(rng: random.Random, q: Measurement) -> str | None:
    """Another number of units to a thousand, computed without a mistake."""
    if not q.long.kilo:
        return None
    power = rng.choice((100, 10_000))
    value = q.value // 1000 * power
    return computed(q, power, value, _box(rng, q, value)).text


def _unfinished(rng: random.Random, q: Measurement) -> str | None:
    """The right number without its unit."""
    return None if q.options else computed(q, 1000, q.value, str(q.value)).text


def _miscopied(rng: random.Random, q: Measurement) -> str:
    """The right result, and another one in the box."""
    return computed(q, 1000, q.value, _box(rng, q, slipped(rng, q.value))).text


def _misprint(rng: random.Random, q: Measurement) -> str:
    """A wrong result, and the right one in the box."""
    return computed(q, 1000, slipped(rng, q.value), _box(rng, q, q.value)).text


def _seen(*stages: Stage) -> frozenset[Stage]:
    return frozenset(stages)


FLAWS: Mapping[str, Flaw[Measurement]] = {
    "slip": Flaw(0.30, _seen("factuality", "correctness"), _slip),
    "misread": Flaw(0.15, _seen("cycle_consistency", "correctness"), _misread),
    "neighbour": Flaw(0.17, _seen("cycle_consistency"), _neighbour),
    "formula": Flaw(0.10, _seen("factuality"), _formula),
    "conversion": Flaw(0.06, _seen("factuality"), _conversion),
    "unfinished": Flaw(0.08, _seen("correctness"), _unfinished),
    "miscopied": Flaw(0.07, _seen("correctness"), _miscopied),
    "misprint": Flaw(0.07, _seen("factuality"), _misprint, "right"),
}
