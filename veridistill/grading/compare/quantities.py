r"""Physical quantities: a number with its unit, compared after conversion, within a tolerance. Pure.

The tolerance is the reference's: `9.81 \pm 0.05 m/s^2` states one; a decimal, `9.81 m/s^2`, stands for what rounds to
it (half a unit of its last place); a whole number or a fraction is exact. Which units are known is left to `units`.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction

from veridistill.grading.compare import expressions, units, values
from veridistill.grading.compare.latex import tidy

_PI = Fraction("3.14159265358979323846")
_NEARLY = Fraction(1, 1_000_000)
"""The share by which values may differ that are converted with pi, as degrees are to radians."""
_MOST_EXPONENT = 300
_TOLERANT = re.compile(
    r"(?P<value>.+?)\s*(?:\\pm(?![A-Za-z])|±)\s*(?P<margin>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>.*)", re.DOTALL
)
_POWER = re.compile(
    r"(?P<value>.+?)\s*(?:(?:\\times|\\cdot|×|·|\*)\s*10\s*\^\s*\{?\s*(?P<power>[-+]?[0-9]{1,3})\s*\}?|[eE](?P<e>[-+]?[0-9]{1,3}))"
)
_JOINED = re.compile(r"(?P<value>.*[0-9}])\s*(?P<unit>[^\W\d].*|°[CF]?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Measured:
    """A number and its unit; `margin` is a tolerance that is stated, in that unit."""

    number: values.Number
    unit: str
    margin: Fraction | None = None

    @property
    def tolerance(self) -> Fraction:
        return self.margin if self.margin is not None else (self.number.step or Fraction(0)) / 2


def measured(text: str) -> Measured | None:
    """The quantity that a text states, or None: no number, no unit, or several values."""
    margin, text = None, tidy(text)
    if found := _TOLERANT.fullmatch(text):
        margin, text = Fraction(found["margin"]), f"{found['value']} {found['unit']}"
    shape = expressions.shape(text)
    if shape.kind != "value":
        return None
    quantity = values.quantity(shape.parts[0])
    value, unit = quantity.value, quantity.unit
    spelled = value.replace(r"\Omega", "Ω").replace(r"\mu", "µ")
    if not unit and (joined := _JOINED.fullmatch(spelled)) and units.known(joined["unit"]) is not None:
        value, unit = joined["value"], joined["unit"]
    number = _number(value)
    return Measured(number, unit, margin) if number is not None and unit else None


def _number(text: str) -> values.Number | None:
    """A number as `values` reads it, also with a power of ten behind it."""
    found = _POWER.fullmatch(text)
    if found is None:
        return values.number(text)
    number, power = values.number(found["value"]), int(found["power"] or found["e"])
    if number is None or abs(power) > _MOST_EXPONENT:
        return None
    scale = Fraction(10) ** power
    return values.Number(number.value * scale, number.step and number.step * scale)


def same_quantity(answer: str, reference: str) -> bool:
    """Whether an answer is the reference: with a unit, of the same quantity, and within the reference's tolerance."""
    found, wanted = measured(answer), measured(reference)
    if found is None or wanted is None:
        return False
    conversion = units.conversion(found.unit, wanted.unit)
    if conversion is None:
        return False
    factor = conversion.factor * _PI**conversion.pi
    value = found.number.value * factor + conversion.offset
    tolerance = wanted.tolerance
    if conversion.pi:
        tolerance = max(tolerance, abs(wanted.number.value) * _NEARLY)
    if abs(value - wanted.number.value) <= tolerance:
        return True
    step = found.number.step
    return values.same_number(values.Number(value, step and step * factor), wanted.number)


def form(answer: str) -> Hashable | None:
    """What the same quantities in different units have in common; None for a text that is no quantity."""
    found = measured(answer)
    if found is None:
        return None
    unit = units.known(found.unit)
    if unit is None:
        return found.number.value, units.label(found.unit)
    value = (found.number.value * unit.factor + unit.offset) * _PI**unit.pi
    return value, frozenset(unit.dimensions.items())
