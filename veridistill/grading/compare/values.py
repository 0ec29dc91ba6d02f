r"""Values of mathematical answers as text: numbers that need no algebra, units, words. Pure.

How values make up an answer is left to `expressions`, conversion to `units`; what takes algebra is handed to `equal`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from veridistill.grading.compare import units
from veridistill.grading.compare.latex import GAP, alike, plain

Equal = Callable[[str, str], bool | None]
"""Whether two values, answer and reference, are equal; None where that is not known."""
Parses = Callable[[str], bool | None]
"""Whether a value can be parsed; None where that is not known."""

_DEGREE = r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))"
_SET = r"\\(?:text|mathrm|mbox|textrm|operatorname)\s*\{[^{}]*\}(?:\s*\^\s*(?:\{\s*-?[1-9]\s*\}|[1-9]))?"
_SYMBOL = rf"(?:\\mu\s*)?{_SET}(?:\s*\\Omega(?![A-Za-z]))?"
_UNIT = re.compile(
    rf"""(?P<value>.*?[0-9}})\]!a-z])\s*
        (?P<unit> {_DEGREE}\s*(?:{_SET}|[CF](?![A-Za-z]))?
          | \\degree(?![A-Za-z])
          | \\?%
          | {_SYMBOL}(?:(?:\s*(?:/|\\cdot(?![A-Za-z])))?+\s*+{_SYMBOL})*+
          | \\frac\s*\{{\s*{_SYMBOL}\s*\}}\s*\{{\s*{_SYMBOL}\s*\}}
          | (?<=[0-9}}])\s+(?P<bare>
              (?:[A-Za-z]{{2,}}(?:[ /]++[A-Za-z]++)*+|[A-Za-z](?:/[A-Za-z]++)*+)(?:\^(?:\{{-?[1-9]\}}|[1-9]))?) )""",
    re.VERBOSE | re.DOTALL,
)
_WRAPPER = re.compile(r"\\(?:text|mathrm|mbox|textrm|operatorname)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\frac\s*\{(.*)\}\s*\{(.*)\}", re.DOTALL)
_DEGREES = re.compile(rf"{_DEGREE}|\\degree|degrees?\s+(?=[cf](?:elsius|ahrenheit)?$)", re.IGNORECASE)
_SPELLED = (
    (re.compile(r"°\s*c(?:elsius)?", re.IGNORECASE), "°C"),
    (re.compile(r"°\s*f(?:ahrenheit)?", re.IGNORECASE), "°F"),
    (re.compile(r"°|degrees?|deg", re.IGNORECASE), "deg"),
    (re.compile(r"\\?%|percent(?:age)?|per cent", re.IGNORECASE), "%"),
)
_CURRENCIES = {"＄": "$", "€": "€", "£": "£", "¥": "¥"}
_CURRENCY = re.compile(
    r"(?P<sign>[-+]?)\s*(?P<before>[＄€£¥])?\s*(?P<value>.*?)\s*(?P<after>[＄€£¥])?", re.DOTALL
)
_OTHER_NUMBER = re.compile(
    rf"^(?:{units.NO_UNIT})\b|\b(?:{units.NO_UNIT})$|\b(?:not|wrong|incorrect)\b", re.IGNORECASE
)
"""The first or last word of a unit that makes another number, or a denial anywhere in it."""
_SHORTEST_LABEL = 4
"""Letters of a word without markup that is taken for a label: `ab`, `xyz` are products."""
_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")
_BASE = re.compile(r"(?P<digits>[0-9A-Za-z.]+)\s*_\s*(?:\{\s*(?P<base>[0-9]+)\s*\}|(?P<short>[0-9]))")
_LETTERS = re.compile(r"[A-Za-z]{2,}")
_TWICE_RAISED = re.compile(r"\^\s*[^{}\s]\s*\^")
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
_NUMBER = re.compile(
    r"""(?P<sign>[-+]*)
        (?: (?P<whole>[0-9]+|[0-9]{1,3}(?:[ ,][0-9]{3})+)?(?P<decimals>\.[0-9]*)?(?P<repeat>\\overline\{[0-9]+\})?
          | (?P<mixed>[0-9]+\ ?)?\\frac\{(?P<n>-?[0-9]+)\}\{(?P<d>-?[0-9]+)\}
          | (?:(?P<units>[0-9]+)\ )?(?P<over>[0-9]+)/(?P<under>[0-9]+) )""",
    re.VERBOSE,
)
_WORDS = re.compile(
    r"[A-Za-z0-9 ,.:'’-]*(?<![A-Za-z])[A-Za-z]{4,}[A-Za-z0-9 ,.:'’-]*|(?:yes|no|odd)", re.IGNORECASE
)
_ALL_TEXT = re.compile(r"\(?\s*\\(?:text|mathrm|textbf|mathbf|mbox)[a-z]*\s*\{\s*\(?[^{}0-9]*\)?\s*\}\s*\)?")
_MOST_DIGITS = 1_000


@dataclass(frozen=True, slots=True)
class Number:
    """An exact number; `step` is the place value of a decimal's last digit, None for what is written exactly."""

    value: Fraction
    step: Fraction | None = None

    @property
    def rounded(self) -> bool:
        """Whether it may stand, rounded, for a number that has no end: a decimal of six significant digits or more."""
        return self.step is not None and abs(self.value / self.step) >= 100_000


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value and its unit: "deg", "°C", "%", "$", a text such as "cm^2", or empty; `bare`: not set as text."""

    value: str
    unit: str
    bare: bool = False


def number(text: str) -> Number | None:
    r"""The number that a text is, if it needs no algebra: `-1,234`, `0.\overline{3}`, `3/4`, `\frac{3}{4}`, `1 1/2`."""
    found = _NUMBER.fullmatch(re.sub(r"\s+", " ", re.sub(r"([-+])\s+", r"\1", text.strip())))
    if found is None or len(text) > _MOST_DIGITS or not any(c.isdigit() for c in text):
        return None
    sign = -1 if found["sign"].count("-") % 2 else 1
    if found["n"] or found["over"]:
        top, bottom = int(found["n"] or found["over"]), int(found["d"] or found["under"])
        more = int(found["mixed"] or found["units"] or 0)
        return Number(sign * (more + Fraction(top, bottom))) if bottom else None
    decimals, repeat = (found["decimals"] or ".")[1:], (found["repeat"] or "")[10:-1]
    value = Fraction(int(re.sub("[ ,]", "", found["whole"] or "0") + decimals), 10 ** len(decimals))
    if repeat:
        if not found["decimals"]:
            return None
        return Number(sign * (value + Fraction(int(repeat), 10 ** len(decimals) * (10 ** len(repeat) - 1))))
    return Number(sign * value, Fraction(1, 10 ** len(decimals)) if decimals else None)


def quantity(text: str) -> Quantity:
    """Value and unit. The degrees of an angle within a function are the function's own."""
    money = _CURRENCY.fullmatch(text)
    assert money is not None, "every part may be empty"
    currency = _CURRENCIES.get(money["before"] or money["after"] or "", "")
    text = (money["sign"] + money["value"] if currency else text).replace("＄", "")
    found = _UNIT.fullmatch(text)
    if found is None:
        return Quantity(text, currency)
    unit, bare = _spelled(found["unit"]), found["bare"] is not None
    angle = unit == "deg" and _TRIGONOMETRY.search(text)
    letter = not bare and len(unit) == 1 and unit != "%" and units.known(unit) is None
    differential = bare and "\\int" in text
    if angle or letter or differential or _changes_number(unit):
        return Quantity(text, currency)
    # The word "units" names no particular unit.
    return Quantity(found["value"].strip(), currency if "unit" in unit else unit, bare)


def _changes_number(unit: str) -> bool:
    """Whether words behind a number make another number of it ("3 factorial", "5 million euros") or deny it."""
    return _OTHER_NUMBER.search(unit) is not None


def _spelled(unit: str) -> str:
    r"""A unit without markup: `\text{ km}/\text{h}` is "km/h", `^\circ\text{C}` is "°C"."""
    if fraction := _FRACTION.fullmatch(unit):
        unit = f"{fraction[1]}/{fraction[2]}"
    unit = _WRAPPER.sub(r" \1", unit.replace(r"\mu", "µ").replace(r"\Omega", "Ω").replace(r"\cdot", "·"))
    unit = re.sub(r"\s*(\^)\s*(?=[{0-9])|(?<=µ)\s+|\s+(?=Ω)", r"\1", " ".join(unit.split()))
    unit = _DEGREES.sub("°", re.sub(r"\s*/\s*", "/", unit).strip(" ."))
    return next((name for pattern, name in _SPELLED if pattern.fullmatch(unit)), unit)


def has_variable(text: str) -> bool:
    """Whether a letter stands in a text that is no command's."""
    return _VARIABLE.search(text) is not None


def same_value(answer: str, reference: str, equal: Equal) -> bool | None:
    """Two values with their units. A unit that one side lacks is a label; two of one quantity are converted."""
    if (words := _words(answer, reference)) is not None:
        return words
    found, wanted = quantity(answer), quantity(reference)
    if _is_product(found, wanted) or _is_product(wanted, found):
        found, wanted = Quantity(answer, ""), Quantity(reference, "")
    if found.unit and wanted.unit and found.unit != wanted.unit:
        conversion = units.conversion(found.unit, wanted.unit)
        if conversion is None:
            return False
        if conversion != units.SAME:
            return _same_converted(found.value, wanted.value, conversion, equal)
    if alike(found.value, wanted.value):
        return True
    one, other = number(found.value), number(wanted.value)
    if one is None or other is None:
        return _by_notation(found.value, wanted.value, equal)
    if same_number(one, other):
        return True
    # 50 % is 0.5, on either side.
    if (found.unit == "%") != (wanted.unit == "%"):
        return one.value == other.value * (100 if found.unit == "%" else Fraction(1, 100))
    return False


def _is_product(one: Quantity, other: Quantity) -> bool:
    r"""Whether letters behind a number are factors: beside `\frac{ab}{2}` those of `\frac{1}{2} ab` are.

    So are a few that name no unit, and a single one unless the other side has a unit as well.
    """
    if not (one.bare and one.unit):
        return False
    short = len(one.unit) < _SHORTEST_LABEL and units.known(one.unit) is None
    return short or has_variable(other.value) or (len(one.unit) == 1 and not other.unit)


def _same_converted(answer: str, reference: str, conversion: units.Conversion, equal: Equal) -> bool | None:
    """Two values of one quantity. A decimal stays as it is, since it may be rounded: then the other is converted."""
    one, other = number(answer), number(reference)
    if one is None or other is None or conversion.pi:
        if one is not None and one.step is not None:
            return equal(answer, _scaled(reference, conversion.inverse))
        return equal(_scaled(answer, conversion), reference)
    found = one.value * conversion.factor + conversion.offset
    step = one.step and one.step * conversion.factor
    return found == other.value or same_number(Number(found, step), other)


def _scaled(value: str, conversion: units.Conversion) -> str:
    """LaTeX for a value in another unit."""
    factor, offset = conversion.factor, conversion.offset
    power = rf" \cdot \pi^{{{conversion.pi}}}" if conversion.pi else ""
    scaled = rf"({value}) \cdot \frac{{{factor.numerator}}}{{{factor.denominator}}}{power}"
    return rf"{scaled} + \frac{{{offset.numerator}}}{{{offset.denominator}}}" if offset else scaled


def readable(text: str, parses: Parses) -> bool | None:
    """Whether a value can be compared: as words, a number or digits in a base, or because it parses."""
    bare = quantity(text).value
    if _is_words(text) or number(bare) is not None or _BASE.fullmatch(bare) or _LETTERS.fullmatch(bare):
        return True
    return parses(bare) if bare == text else parses(bare) or parses(text)


def _by_notation(answer: str, reference: str, equal: Equal) -> bool | None:
    """Notations in which a parser would read more, or less, than is written; anything else is left to `equal`."""
    texts = (answer, reference)
    if any(GAP.search(text) and "\\" not in text for text in texts) or any(map(_TWICE_RAISED.search, texts)):
        return False
    if ("'" in answer) != ("'" in reference):
        return False
    # Letters alone may be a product or a name; only the same ones are surely the same.
    if _LETTERS.fullmatch(answer) and _LETTERS.fullmatch(reference):
        return False
    bases = [_BASE.fullmatch(text) for text in texts]
    if not any(bases):
        return equal(answer, reference)
    # `4210_7`: the base may be left out, as a unit may, but not be another, or be added.
    if bases[1] is None or (bases[0] is not None and _base(bases[0]) != _base(bases[1])):
        return False
    return (bases[0]["digits"] if bases[0] else answer) == bases[1]["digits"]


def _base(found: re.Match[str]) -> str:
    return found["base"] or found["short"]


def same_number(one: Number, other: Number) -> bool:
    """Equal, or one a decimal of at least six significant digits that is the other, written exactly, rounded."""
    if one.value == other.value:
        return True
    if (one.step is None) == (other.step is None):
        return False
    decimal, exact = (one, other) if one.step else (other, one)
    return decimal.rounded and abs(one.value - other.value) <= (decimal.step or 0) / 2 and exact.step is None


def _words(answer: str, reference: str) -> bool | None:
    r"""Whether two answers in words are the same, but for case; None when the reference is not words.

    A number with a word behind it, such as `3 apples`, is a value with a unit.
    """
    value = quantity(reference).value
    if value != reference and number(value) is not None:
        return None
    if not _is_words(reference):
        return None
    found, wanted = (plain(text).casefold().strip("().") for text in (answer, reference))
    return found == wanted != ""


def _is_words(text: str) -> bool:
    return bool(_ALL_TEXT.fullmatch(text) or _WORDS.fullmatch(text))
