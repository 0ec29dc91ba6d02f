r"""LaTeX as text: formatting is removed. Pure; what the text means is left to `expressions`."""

import re

MAX_ANSWER = 2_000
"""Characters of an answer that is read at all; Python refuses to read integers of 4,300 digits, attackers do not."""

DOLLAR = "＄"
"""A dollar sign that is money, once those that mark mathematics are gone."""

_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|mathit|textbf|boxed|fbox|bm|mathsf)\s*\{([^{}]*)\}")
_MATH_MARKS = re.compile(r"(?<!\\)\\[()\[\]]|\\?\$")
# The second mark of `\\[4pt]`, which ends a matrix's row, opens no formula.
_ROW_GAP = re.compile(r"(\\\\)\s*\[\s*-?[0-9.]+\s*(?:pt|em|ex|mm|cm|in)\s*\]")
_TEXT = re.compile(r"\\(?:text|mathrm)(?=\s*\{)")
_SPACES = re.compile(r"(?<!\\)\\[,;:! ]|\\q?quad(?![a-zA-Z])|~")
# fmt: off
_UNICODE = str.maketrans({
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "±": r"\pm ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "∈": r"\in ", "∪": r"\cup ", "∞": r"\infty ", "°": r"^\circ ", "π": r"\pi ", "θ": r"\theta ",
})
# fmt: on
_WHOLE_TEXT = re.compile(r"\\text\s*\{\s*([-+0-9＄€£¥][^{}]*)\}")
_LOOKS = re.compile(r"\\(?:left|right|displaystyle|limits|[bB]ig{1,2}[lrm]?)(?![a-zA-Z])\.?")
_FRAC = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_FIRST_ARGUMENT = re.compile(r"\\(frac|sqrt)\s*([0-9A-Za-z]|\\(?!sqrt|frac)[A-Za-z]+)")
_SECOND_ARGUMENT = re.compile(
    r"(\\frac\s*\{(?:[^{}]|\{[^{}]*\})*\})\s*([0-9A-Za-z]|\\(?!sqrt|frac)[A-Za-z]+)"
)
_BINOMIAL = re.compile(r"\\binom\s*([0-9A-Za-z])\s*([0-9A-Za-z])")
_EMPTY = re.compile(r"\\\{\s*\\\}")
_AND = re.compile(
    r"\s*,?\s*(?:\\(?:text|mathrm|mbox|textrm)\s*\{\s*(?:,\s*)?(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))\s*"
)
# White space between digits, which may part two numbers.
GAP = re.compile(r"(?<=[0-9.])\s+(?=[0-9.])")
# Commands, escapes, brackets and the marks that part an answer.
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[()\[\]{},;=<>!]", re.DOTALL)
OPEN = {"(", "[", "{", r"\{", r"\lbrace", r"\langle"}
CLOSE = {")", "]", "}", r"\}", r"\rbrace", r"\rangle"}


def plain(text: str) -> str:
    r"""LaTeX without formatting: `$`, spaces, `\left`, `\dfrac`, `\text{}`, a final dot."""
    if len(text) > MAX_ANSWER:
        return ""
    text = re.sub(r"\\(?:left|right|displaystyle|big[lr]?|Big[lr]?)(?![a-zA-Z])", "", unwrapped(text))
    text = re.sub(r"\\[dt]frac(?![a-zA-Z])", r"\\frac", text)
    text = re.sub(r"\\(frac|sqrt)\s*([0-9])\s*(?=[0-9])", r"\\\1{\2}", text)
    text = re.sub(r"\\(frac\s*\{[^{}]*\}|sqrt)\s*([0-9a-zA-Z])", r"\\\1{\2}", text)
    return "".join(text.split()).rstrip(".")


def unmarked(text: str) -> str:
    """Without math delimiters and LaTeX's own spaces; `{,}` is a comma."""
    text = _MATH_MARKS.sub("", _ROW_GAP.sub(r"\1", text)).replace("{,}", ",")
    return _SPACES.sub(" ", text)


def unwrapped(text: str) -> str:
    """Without math delimiters and font commands, with LaTeX's spaces as plain ones."""
    text = _TEXT.sub(r" \\text", unmarked(text))
    for _ in range(4):
        shorter = _WRAPPED.sub(r"\1", text)
        if shorter == text:
            break
        text = shorter
    return text.strip()


def words(text: str) -> str:
    """Words as they are read: no markup, quotes or full stop around them, one space between."""
    bare = " ".join(unwrapped(text.replace("**", "").replace("`", "")).split())
    return bare.strip("\"'“”‘’ ").rstrip(".").strip()


def tidy(text: str) -> str:
    """Equivalent LaTeX without formatting; words and units stay."""
    # White space first: patterns that allow for any of it would take cubic time.
    text = " ".join(_LOOKS.sub("", unmarked(text.translate(_UNICODE).replace(r"\$", DOLLAR))).split())
    text = _WHOLE_TEXT.sub(r"\1", text) if _WHOLE_TEXT.fullmatch(text) else text
    text = _EMPTY.sub(r"\\emptyset", text.replace(r"\varnothing", r"\emptyset"))
    text = _FIRST_ARGUMENT.sub(r"\\\1{\2}", _FRAC.sub(r"\\frac", text))
    text = _SECOND_ARGUMENT.sub(r"\1{\2}", text)
    return _AND.sub(", ", _BINOMIAL.sub(r"\\binom{\1}{\2}", text)).strip().rstrip(".").strip()


def alike(answer: str, reference: str) -> bool:
    """The same text apart from formatting. A gap between digits is not formatting: `1 2` is not 12."""
    return plain(answer) == plain(reference) != "" and len(GAP.findall(answer)) == len(GAP.findall(reference))
