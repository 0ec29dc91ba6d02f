r"""Reading what a final answer states: an integer, or the letter of an option. Pure text."""

import re
from collections.abc import Sequence

from veridistill.grading.compare import units
from veridistill.grading.compare.exact import same_exact
from veridistill.grading.compare.latex import MAX_ANSWER, unwrapped, words

LETTER_ALONE = re.compile(r"[(\[]?[A-Z][)\]]?[.]?|[(\[][a-z][)\]]")
LEAD = re.compile(r"[(\[]?[A-Za-z][)\].:]\s*(?=\S)")
"""An option's own letter in front of its text."""
_INTEGER = re.compile(
    rf"""(?P<sign>[-+−–]?)\s*
        (?:\\?[$€£]\s*)?
        (?P<digits>[0-9]{{1,3}}(?:(?:,[0-9]{{3}})+|(?:\ [0-9]{{3}})+)|[0-9]+)
        (?:\.0*)?                          # a sentence's end, or 12.00
        (?:\s*(?:\\?%|°|\^\{{?\\circ\}}?))?
        (?:\s+(?!(?:{units.NO_UNIT})\b)(?:[mgshLVNJWAK]\b|[A-Za-z]{{2,}})      # 3 m, 3 cm^2, 3 km/h; not 3 x
           (?:(?:\s+|\s*/\s*)(?!(?:{units.NO_UNIT})\b)(?:[mgshLVNJWAK]\b|[A-Za-z]{{2,}})){{0,4}}(?:\^\{{?[23]\}}?)?)?
        \s*\.?""",
    re.VERBOSE,
)
_SEVERAL = re.compile(r"[=,;<>≤≥≠!]|\\(?:[lg]eq?|neq?|approx|equiv|lor|vee)(?![A-Za-z])|\b(?:and|or)\b")
_CHOICE = re.compile(
    r"""(?:(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)\s*(?:is\s*)?:?\s*)?
        (?: [(\[]?\s*(?P<alone>[A-Za-z])\s*[)\]]?\s*[.:]?      # B, (B), b.
          | [(\[](?P<fenced>[A-Za-z])[)\]]\s*\S.*               # (B) 12 cm
          | (?P<marked>[A-Z])\s*[).:]\s*\S.* )                  # B. 12 cm; never "a dog"
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def integer(text: str) -> int | None:
    r"""The integer that a final answer states, or None.

    Thousands separators (`1,234`, `1{,}234`, `1\,234`), a sign, leading zeros, `$`, `\text{}`, an `x =` or
    `m + n =` in front and a unit of a few words behind are understood. What is not one integer (`12, 13`, `1,23`,
    `12.5`, `1e3`, `10^3`, `1/2`, `3 = 4`) is none.
    """
    if len(text) > MAX_ANSWER:
        return None
    first, mark, last = unwrapped(text).partition("=")
    if not mark:
        return _integer(first)
    values = [_integer(side.strip()) for side in (first, last)]
    known = {value for value in values if value is not None}
    # `m + n = 25`, `25 = 5^2`: the side that is no integer must be one expression.
    unclear = any(v is None and _SEVERAL.search(s) for v, s in zip(values, (first, last), strict=True))
    return known.pop() if len(known) == 1 and not unclear else None


def _integer(text: str) -> int | None:
    found = _INTEGER.fullmatch(text)
    if found is None:
        return None
    value = int(re.sub("[, ]", "", found["digits"]))
    return -value if found["sign"] in ("-", "−", "–") else value


def choice(text: str) -> str | None:
    r"""The option's letter, upper case: `B`, `(B)`, `B.`, `\text{(B)}`, `option B`, `(B) 12 cm`, or None."""
    if len(text) > MAX_ANSWER:
        return None
    found = _CHOICE.fullmatch(unwrapped(text).strip("*_ "))
    letter = (found["alone"] or found["fenced"] or found["marked"]) if found else None
    # Case matters where only a mark follows: "a: dog" is an option, "i.e. five" is prose.
    if found and found["marked"] and not found["marked"].isupper():
        return None
    return letter.upper() if letter else None


def chosen(text: str, options: Sequence[str]) -> str | None:
    """The letter of the option that a text names or, word for word, is; None when it is none, or two."""
    if len(text) > MAX_ANSWER:
        return None
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options) or None]
    named = [letters[index] for index in _options_like(behind(text), options)]
    letter = choice(text)
    if letter is None or (letter not in letters and len(named) == 1):
        return named[0] if len(named) == 1 else None
    # "(B) 12 cm" when 12 cm is option C names two.
    if letter not in letters or (len(named) == 1 and named[0] != letter and choice(behind(text)) is None):
        return None
    return letter


def _options_like(text: str, options: Sequence[str]) -> list[int]:
    """The options that a text is; those that differ from it in case alone when there are no others."""
    for same_text in (same_exact, lambda one, other: words(one).casefold() == words(other).casefold() != ""):
        if found := [index for index, option in enumerate(options) if same_text(text, option)]:
            return found
    return []


def behind(text: str) -> str:
    """An option's text without its own letter in front."""
    bare = unwrapped(text).strip("*_ ")
    return bare if LETTER_ALONE.fullmatch(bare) else LEAD.sub("", bare, count=1)
