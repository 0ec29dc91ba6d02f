r"""Finding the final answer in a reply, and reading the integer or the letter that it states. Pure text.

Whether an answer is right is left to `comparison`.
"""

import re
from collections.abc import Callable, Sequence

from veridistill.domains import code, math
from veridistill.grading.compare.exact import same_exact
from veridistill.grading.compare.latex import MAX_ANSWER, unwrapped, words
from veridistill.records import Kind, Problem


def final_answer(problem: Problem, text: str) -> str | None:
    """The final answer in the text after the reasoning, or None. Multiple choice: the letter, where there is one."""
    if problem.kind != "choice":
        return FINAL[problem.kind](text)
    boxed = math.answer_of(text)
    if boxed is None:
        stated = _stated(text)
        return chosen(stated, problem.options) if stated else _headed(text, problem.options)
    return chosen(boxed, problem.options) or boxed


def chosen(text: str, options: Sequence[str]) -> str | None:
    """The letter of the option that a text names or, word for word, is; None when it is none, or two."""
    if len(text) > MAX_ANSWER:
        return None
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options) or None]
    named = [letters[index] for index in _options_like(_behind(text), options)]
    letter = choice(text)
    if letter is None or (letter not in letters and len(named) == 1):
        return named[0] if len(named) == 1 else None
    # "(B) 12 cm" when 12 cm is option C names two.
    if letter not in letters or (len(named) == 1 and named[0] != letter and choice(_behind(text)) is None):
        return None
    return letter


def _options_like(text: str, options: Sequence[str]) -> list[int]:
    """The options that a text is; those that differ from it in case alone when there are no others."""
    for same_text in (same_exact, lambda one, other: words(one).casefold() == words(other).casefold() != ""):
        if found := [index for index, option in enumerate(options) if same_text(text, option)]:
            return found
    return []


def stated_or_boxed(text: str) -> str | None:
    """The last box, or what a last line `Answer: ...` says."""
    return math.answer_of(text) or _stated(text, of="answer")


FINAL: dict[Kind, Callable[[str], str | None]] = {
    "integer": math.answer_of,
    "math": math.answer_of,
    "exact": stated_or_boxed,
    "code": code.answer_of,
}
"""Where the final answer of each kind stands in the text after the reasoning; multiple choice has rules of its own."""

_STATEMENT = re.compile(r"(?:answer|option|choice)(?:\s+is)?\s*[:：=]?\s*", re.IGNORECASE)
_ANSWER_LINE = re.compile(
    r"(?:the\s+)?(?:(?:final|correct|exact|my)\s+)*answer(?:\s+is)?\s*[:：]\s*(?P<answer>.+)", re.IGNORECASE
)
_HEADING = re.compile(r"(?:.*\W)?(?:answer|option|choice)(?:\s+is)?\s*[:：]?", re.IGNORECASE)
_LETTER_ALONE = re.compile(r"[(\[]?[A-Z][)\]]?[.]?|[(\[][a-z][)\]]")
_LEAD = re.compile(r"[(\[]?[A-Za-z][)\].:]\s*(?=\S)")


def _stated(text: str, of: str = "choice") -> str | None:
    """What the last line states as the answer, markup aside. A letter in prose is none: it is alone or marked."""
    line = text.rstrip().rpartition("\n")[2]
    if len(line) > MAX_ANSWER:
        return None
    line = re.sub(r"[*_`#>]|^\s*-\s", "", line).strip()
    if of == "answer":
        found = _ANSWER_LINE.fullmatch(line)
        return found["answer"].strip() if found else None
    if _LETTER_ALONE.fullmatch(unwrapped(line)):
        return line
    starts = list(_STATEMENT.finditer(line))
    if not starts:
        return None
    said = line[starts[-1].end() :].strip()
    # "The answer is a dog", "answer is b": outside a box a lone letter counts in upper case, or in brackets.
    bare = unwrapped(said)
    return None if re.fullmatch(r"[a-z][.:]?", bare) else said


def _headed(text: str, options: Sequence[str]) -> str | None:
    """The letter of a last line that is an option, word for word, below a line such as `### Answer`."""
    lines = [re.sub(r"[*_`#>]", "", line).strip() for line in text.split("\n") if line.strip()][-2:]
    if len(lines) < 2 or len(lines[0]) > MAX_ANSWER or not _HEADING.fullmatch(lines[0]):
        return None
    letter = chosen(lines[1], options) if _LEAD.match(lines[1]) else None
    return letter if letter and chosen(_behind(lines[1]), options) == letter else None


def _behind(text: str) -> str:
    """An option's text without its own letter in front."""
    bare = unwrapped(text).strip("*_ ")
    return bare if _LETTER_ALONE.fullmatch(bare) else _LEAD.sub("", bare, count=1)


# --- reading ----------------------------------------------------------------------------------------------

# Words behind a number that make another number of it, and so are no unit.
_NO_UNIT = (
    "pi|tau|phi|inf|infinity|sqrt|root|squared|cubed|factorial|hundred|thousand|million|billion|trillion|dozen|half|"
    "mod|choose|over|plus|minus|times|and|or|to|by"
)
_INTEGER = re.compile(
    rf"""(?P<sign>[-+−–]?)\s*
        (?:\\?[$€£]\s*)?
        (?P<digits>[0-9]{{1,3}}(?:(?:,[0-9]{{3}})+|(?:\ [0-9]{{3}})+)|[0-9]+)
        (?:\.0*)?                          # a sentence's end, or 12.00
        (?:\s*(?:\\?%|°|\^\{{?\\circ\}}?))?
        (?:\s+(?!(?:{_NO_UNIT})\b)(?:[mgshLVNJWAK]\b|[A-Za-z]{{2,}})      # 3 m, 3 cm^2, 3 km/h; not 3 x
           (?:(?:\s+|\s*/\s*)(?!(?:{_NO_UNIT})\b)(?:[mgshLVNJWAK]\b|[A-Za-z]{{2,}})){{0,4}}(?:\^\{{?[23]\}}?)?)?
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
