r"""Units as text: which are known, and how one is converted to another of the same quantity. Pure and exact.

Known are the SI's with their prefixes, and those of time, mass, volume, temperature, angle, energy, pressure and money
that problems use. Any other text is a label (`apples`), the same as another only when it is the same text.

Factors are the definitions of the SI and of the international yard and pound; a month is no number of days.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

Dimensions = Mapping[str, int]
NO_UNIT = (
    "pi|tau|phi|inf|infinity|sqrt|root|squared|cubed|factorial|hundred|thousand|million|billion|trillion|dozen|score|"
    "half|mod|choose|over|plus|minus|times|and|or|to|by|january|february|march|april|may|june|july|august|september|"
    "october|november|december"
)
"""Words behind a number that make another value of it, as an alternative of a pattern; none of them is a unit."""


@dataclass(frozen=True, slots=True)
class Unit:
    """`factor` times pi to the power of `pi` times base units; `offset` is where its zero lies in base units."""

    dimensions: Dimensions
    factor: Fraction = Fraction(1)
    pi: int = 0
    offset: Fraction = field(default=Fraction(0))

    def __mul__(self, other: "Unit") -> "Unit":
        names = {*self.dimensions, *other.dimensions}
        powers = {name: self.dimensions.get(name, 0) + other.dimensions.get(name, 0) for name in names}
        kept = {name: power for name, power in powers.items() if power}
        return Unit(kept, self.factor * other.factor, self.pi + other.pi)

    def __pow__(self, power: int) -> "Unit":
        dimensions = {name: number * power for name, number in self.dimensions.items()}
        return Unit(dimensions, self.factor**power, self.pi * power)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A value times `factor`, times pi to the power of `pi`, plus `offset`, is the value in the other unit."""

    factor: Fraction
    pi: int = 0
    offset: Fraction = Fraction(0)

    @property
    def inverse(self) -> "Conversion":
        return Conversion(1 / self.factor, -self.pi, -self.offset / self.factor)


SAME = Conversion(Fraction(1))
"""Of a unit to itself."""


def _base(**dimensions: int) -> Unit:
    return Unit(dimensions)


def _times(number: str | int, unit: Unit) -> Unit:
    return Unit(unit.dimensions, Fraction(number) * unit.factor, unit.pi)


_METRE, _SECOND, _AMPERE, _KELVIN, _MOLE = _base(m=1), _base(s=1), _base(A=1), _base(K=1), _base(mol=1)
_GRAM = _times("0.001", _base(kg=1))
_LITRE = _times("0.001", _METRE**3)
_NEWTON = _base(kg=1, m=1, s=-2)
_JOULE, _PASCAL, _WATT = _NEWTON * _METRE, _NEWTON * _METRE**-2, _NEWTON * _METRE * _SECOND**-1
_COULOMB = _AMPERE * _SECOND
_VOLT = _WATT * _AMPERE**-1
_OHM, _FARAD, _TESLA = _VOLT * _AMPERE**-1, _COULOMB * _VOLT**-1, _VOLT * _SECOND * _METRE**-2
_HERTZ = _SECOND**-1
_RADIAN = _base(rad=1)
_INCH, _POUND, _GALLON = _times("0.0254", _METRE), _times("453.59237", _GRAM), _times("3.785411784", _LITRE)
_MINUTE, _HOUR, _DAY = _times(60, _SECOND), _times(3600, _SECOND), _times(86400, _SECOND)
_MONTH, _DOLLAR, _EURO, _STERLING = _base(month=1), _base(dollar=1), _base(euro=1), _base(pound=1)
_MILE = _times(63360, _INCH)

# With the SI's prefixes: symbol, names.
_PREFIXED = {
    ("m", "meter", "metre"): _METRE,
    ("g", "gram", "gramme"): _GRAM,
    ("s", "second", "sec"): _SECOND,
    ("A", "ampere", "amp"): _AMPERE,
    ("K", "kelvin"): _KELVIN,
    ("mol", "mole"): _MOLE,
    ("L", "l", "liter", "litre"): _LITRE,
    ("N", "newton"): _NEWTON,
    ("J", "joule"): _JOULE,
    ("W", "watt"): _WATT,
    ("Pa", "pascal"): _PASCAL,
    ("Hz", "hertz"): _HERTZ,
    ("C", "coulomb"): _COULOMB,
    ("V", "volt"): _VOLT,
    ("Ω", "ohm"): _OHM,
    ("F", "farad"): _FARAD,
    ("T", "tesla"): _TESLA,
    ("M", "molar"): _MOLE * _LITRE**-1,
    ("eV", "electronvolt"): _times("1.602176634e-19", _JOULE),
    ("cal", "calorie"): _times("4.184", _JOULE),
    ("bar",): _times(100_000, _PASCAL),
    ("Wh", "watthour"): _WATT * _HOUR,
}
_OTHERS = {
    ("min", "minute"): _MINUTE,
    ("h", "hr", "hour"): _HOUR,
    ("day",): _DAY,
    ("week", "wk"): _times(7, _DAY),
    ("month",): _MONTH,
    ("year", "yr"): _times(12, _MONTH),
    ("tonne",): _times(1_000_000, _GRAM),
    ("in", "inch"): _INCH,
    ("ft", "foot", "feet"): _times(12, _INCH),
    ("yd", "yard"): _times(36, _INCH),
    ("mi", "mile"): _MILE,
    ("lb", "lbs", "pound"): _POUND,
    ("oz", "ounce"): _times("1/16", _POUND),
    ("gal", "gallon"): _GALLON,
    ("qt", "quart"): _times("1/4", _GALLON),
    ("pt", "pint"): _times("1/8", _GALLON),
    ("cup",): _times("1/16", _GALLON),
    ("ha", "hectare"): _times(10_000, _METRE**2),
    ("acre",): _times("4046.8564224", _METRE**2),
    ("mph",): _MILE * _HOUR**-1,
    ("kph", "kmph"): _times(1000, _METRE) * _HOUR**-1,
    ("atm", "atmosphere"): _times(101_325, _PASCAL),
    ("rad", "radian"): _RADIAN,
    ("deg", "degree", "°"): Unit(_RADIAN.dimensions, Fraction(1, 180), 1),
    ("rev", "revolution", "turn"): Unit(_RADIAN.dimensions, Fraction(2), 1),
    ("°C", "celsius"): Unit(_KELVIN.dimensions, offset=Fraction("273.15")),
    ("°F", "fahrenheit"): Unit(
        _KELVIN.dimensions, Fraction(5, 9), offset=Fraction("459.67") * Fraction(5, 9)
    ),
    ("$", "dollar"): _DOLLAR,
    ("¢", "cent"): _times("1/100", _DOLLAR),
    ("€", "euro"): _EURO,
    ("£", "sterling"): _STERLING,
    ("¥", "yen"): _base(yen=1),
}
_PREFIXES = {
    "p": ("pico", -12), "n": ("nano", -9), "µ": ("micro", -6), "μ": ("micro", -6), "m": ("milli", -3),
    "c": ("centi", -2), "d": ("deci", -1), "k": ("kilo", 3), "M": ("mega", 6), "G": ("giga", 9), "T": ("tera", 12),
}  # fmt: skip


def _named(units: Mapping[tuple[str, ...], Unit]) -> dict[str, Unit]:
    return {name: unit for names, unit in units.items() for name in names}


def _with_prefixes() -> dict[str, Unit]:
    """Symbols keep their case and take the prefix's letter; names take its name."""
    found = {}
    for name, unit in _named(_PREFIXED).items():
        for letter, (word, power) in _PREFIXES.items():
            prefix = word if len(name) > 2 and name not in ("mol", "cal", "bar") else letter
            found[prefix + name] = Unit(unit.dimensions, unit.factor * Fraction(10) ** power, unit.pi)
    return found


_UNITS: dict[str, Unit] = {
    **_with_prefixes(),
    **_named(_PREFIXED),
    **_named(_OTHERS),
    "cc": _times("0.001", _LITRE),
}

_PLURAL = re.compile(r"(?<=ch)es$|(?<=[a-z]{2}[a-rt-z])s$")
_POWER = r"(?:\^\{?(?P<power>-?[1-9])\}?|(?P<raised>[²³]))?"
_FACTOR = re.compile(rf"(?P<name>°[CF]?|[$¢€£¥]|[^\W\d_²³]+){_POWER}")
_JOINED = re.compile(r"\s*(?P<over>/|\bper\b)\s*|\s*[·*]\s*|\s+")
_LOOSELY = {"°C": ("deg", "C"), "°F": ("deg", "F")}
"""How else a temperature's unit is written."""
_RAISING = {"square": 2, "sq": 2, "cubic": 3}
_RAISED = {"²": 2, "³": 3}


def label(text: str) -> str:
    """A unit as it is compared when it is not known: lower case, singular, without white space and dots."""
    return _PLURAL.sub("", re.sub(r"[\s{}.]", "", text).casefold())


def known(text: str) -> Unit | None:
    """The unit that a text such as `km/h`, `m s^{-2}`, `square feet` or `°C` names; None for a label.

    A product behind a division (`J/kg K`) means one of two units, and is none.
    """
    factors = _factors(text.strip().removesuffix("."))
    if len(factors) == 1 and factors[0].power == 1:
        return _single(factors[0].name)
    # Alone a temperature has its own zero; in a product it is a difference.
    unit = Unit({}) if factors else None
    for factor in factors:
        single = _single(factor.name)
        unit = None if unit is None or single is None else unit * single**factor.power
    return unit


@dataclass(frozen=True, slots=True)
class _Factor:
    name: str
    power: int


def _factors(text: str) -> list[_Factor]:
    """The parts of a product; none when the text is no product, or an ambiguous one."""
    factors, at, sign, power = list[_Factor](), 0, 1, 1
    while found := _FACTOR.match(text, at):
        joined = _JOINED.match(text, found.end())
        raising = _RAISING.get(found["name"].casefold())
        if raising is None:
            raised = int(found["power"] or _RAISED.get(found["raised"] or "", 1))
            factors.append(_Factor(found["name"], raised * power * sign))
        if joined is None:
            return factors if found.end() == len(text) and raising is None else []
        if sign < 0 and raising is None:
            return []
        power, at = raising or 1, joined.end()
        sign = -1 if joined["over"] else sign
    return []


def _single(name: str) -> Unit | None:
    if found := _UNITS.get(name):
        return found
    word = name.casefold()
    return next((u for n in (word, label(word)) if len(n) > 2 and (u := _UNITS.get(n)) is not None), None)


def conversion(unit: str, other: str) -> Conversion | None:
    """How a value of one unit becomes one of the other; None where they measure different things, or are labels."""
    one, two = known(unit), known(other)
    if unit == other or unit in _LOOSELY.get(other, ()) or other in _LOOSELY.get(unit, ()):
        return SAME
    if one is None or two is None:
        return SAME if label(unit) == label(other) else None
    if dict(one.dimensions) != dict(two.dimensions):
        return None
    factor = one.factor / two.factor
    return Conversion(factor, one.pi - two.pi, (one.offset - two.offset) / two.factor)
