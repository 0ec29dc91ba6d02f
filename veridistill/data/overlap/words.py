"""What counts as the same word when questions are compared, regardless of typesetting.

A text gives two sequences. `tokens` are its words, numbers and operators; `words` leaves the operators out.
Spacing, case, punctuation, dollar signs and LaTeX commands that only typeset are removed from both. `masked` hides
numbers and variables. Only the standard library is used; 50,000 questions take seconds.
"""

import re
import unicodedata
from collections.abc import Sequence

# Scripts that write words without spaces: each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"\d+(?:\.\d+)?|[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+|<=|>=|!=|[-+*/^=<>!|%√∞]")
_OPERATORS = frozenset({"<=", ">=", "!=", *"-+*/^=<>!|%√∞"})
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\,|\\!)+(?=\d{3}(?!\d))")
# No operators: the hyphen of "non-negative", the mark of "Find it!".
_PUNCTUATION = re.compile(r"(?<=[^\W\d_]{2})(?:-(?=[^\W\d_]{2})|!)")
_STARS = re.compile(r"\*\*+|(?<!\S)\*(?=\w)|(?<=\w)\*(?!\S)")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s?\{[^{}]{0,40}\}(?:\{[lcr|]{0,40}\})?")
_BARE_FRACTION = re.compile(r"(frac)\s*(\d)\s*(\d)")
_DEGREES = re.compile(r"\^\s?\{?\s?\\circ")
# Raised, lowered and fractional digits, which NFKC would join to the number before them: 2¹⁰ is not 210.
_SET_APART = re.compile("(?P<superscript>[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ]+)|[₀-₎]+|[¼½¾⅐-⅟↉]")
_COMMAND = re.compile(r"\\([a-z]+)\*?|\\(.)", re.DOTALL)
# As they are after folding to lower case.
_MEANING = (
    dict.fromkeys(["frac", "dfrac", "tfrac", "cfrac", "div", "over"], " / ")
    | dict.fromkeys(["cdot", "times", "ast"], " * ")
    | dict.fromkeys(["le", "leq", "leqslant"], " <= ")
    | dict.fromkeys(["ge", "geq", "geqslant"], " >= ")
    | dict.fromkeys(["ne", "neq"], " != ")
    | dict.fromkeys(["lt"], " < ")
    | dict.fromkeys(["gt"], " > ")
    | dict.fromkeys(["sqrt"], " √ ")
    | dict.fromkeys(["infty"], " ∞ ")
    | dict.fromkeys(["mid", "vert", "lvert", "rvert"], " | ")
    | dict.fromkeys(["circ", "degree", "deg"], " degrees ")
)
# Commands that only typeset.
_TYPESETTING_COMMANDS = """
    left right big bigl bigr bigg biggl biggr middle text textbf textit textrm texttt textsf emph mbox
    mathrm mathbf mathbb mathcal mathit mathsf mathfrak boldsymbol bm operatorname displaystyle textstyle
    limits nolimits quad qquad hspace vspace ldots dots cdots vdots ddots hline label tag nonumber noindent
    rm bf it item par newline overline underline phantom hphantom vphantom smallskip medskip bigskip
    centering
"""
_TYPESETTING = frozenset(_TYPESETTING_COMMANDS.split())
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("−–", "-"),
        **dict.fromkeys("×·⋅∗", "*"),
        **dict.fromkeys("÷⁄", "/"),
        "≤": "<=",
        "≥": ">=",
        "≠": "!=",
        "°": " degrees ",
        "—": " ",
        **dict.fromkeys("\u00ad\u200b\ufeff", None),
    }
)


def tokens(text: str) -> list[str]:
    """Words, numbers and operators, folded: "$\\dfrac{1}{2}\\,x$" and "\\frac12 x" give the same."""
    if not text.isascii():
        text = _SET_APART.sub(_apart, text)
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).casefold().translate(_SIGNS)
    text = _THOUSANDS.sub("", text)
    if "\\" in text:
        text = _BARE_FRACTION.sub(r"\1 \2 \3", _DEGREES.sub(r" \\circ", _ENVIRONMENT.sub(" ", text)))
        text = _COMMAND.sub(_said, text)
    if "*" in text:
        text = _STARS.sub(" ", text)
    return _TOKEN.findall(_PUNCTUATION.sub(" ", text))


def _apart(found: re.Match[str]) -> str:
    return f"{'^' if found['superscript'] else ' '}{found[0]}"


def _said(command: re.Match[str]) -> str:
    name: str = command[1]
    if name is None:
        return " % " if command[2] == "%" else " "
    return _MEANING.get(name, " " if name in _TYPESETTING else f" {name} ")


def words(found: Sequence[str]) -> list[str]:
    """Tokens without operators: what n-grams are made of."""
    return [token for token in found if token not in _OPERATORS]


def masked(found: Sequence[str]) -> list[str]:
    """Tokens with "#" for each number and "@" for each variable, a single Latin letter."""
    return [_mask(token) for token in found]


def _mask(token: str) -> str:
    if token[0].isdigit():
        return "#"
    return "@" if len(token) == 1 and token.isascii() and token.isalpha() else token


def is_word(token: str) -> bool:
    """A word of prose, unlike a number, a variable or an operator."""
    return token.isalpha() and (len(token) > 1 or not token.isascii())


def is_operator(token: str) -> bool:
    return token in _OPERATORS
