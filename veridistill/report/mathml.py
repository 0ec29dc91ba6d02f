r"""LaTeX as MathML that can do nothing but be shown: elements and attributes of a closed list, or no MathML at all.

latex2mathml copies what a formula says into tags and attributes (`\href`, `\style`, markup in `\text`), so its own
HTML is never used. Its tree is read instead: element by element, against the lists below. What is not on them, or
would hide a part of the formula, makes the formula unfit, and the page then shows its source.
"""

import re
import unicodedata
from functools import lru_cache
from html import escape, unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LONGEST = 2_000
"""Characters of a formula; a longer one is shown as its source, which bounds the time that one formula can take."""

_DEEPEST = 60
_MOST_ELEMENTS = 3_000
_ELEMENTS = {
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msup", "msub", "msubsup", "mfrac", "msqrt", "mroot", "mover",
    "munder", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "menclose",
}  # fmt: skip
_CHILDREN = {
    "mfrac": 2,
    "msub": 2,
    "msup": 2,
    "mroot": 2,
    "munder": 2,
    "mover": 2,
    "msubsup": 3,
    "munderover": 3,
}
_WORDS = {
    "accent": ("true", "false"),
    "columnalign": ("left", "right", "center"),
    "display": ("block", "inline"),
    "displaystyle": ("true", "false"),
    "fence": ("true", "false"),
    "form": ("prefix", "infix", "postfix"),
    "largeop": ("true", "false"),
    "movablelimits": ("true", "false"),
    "notation": ("box", "updiagonalstrike", "downdiagonalstrike"),
    "scriptlevel": ("0", "1", "2"),
    "separator": ("true", "false"),
    "stretchy": ("true", "false"),
    "linethickness": ("0",),
}
_LENGTHS = ("width", "height", "depth", "lspace", "rspace", "minsize", "maxsize")
_LENGTH = re.compile(r"[+-]?(?:\d{1,2}|\d{0,2}\.\d{1,3})(?:em|ex|px|pt)?", re.ASCII)
_MOST_EM = 5.0
# Links and styles; macros, which can grow without end; and what hides a part of the formula from its reader.
_REFUSED = re.compile(
    r"\\(?:href|url|class|cssId|style|unicode|rule|[hv]?phantom|smash|[rlc]lap|mathchoice|verb|require|includegraphics"
    r"|raise|lower|move(?:left|right)|def|[gex]def|let|(?:re)?newcommand|providecommand|(?:re)?newenvironment"
    r"|DeclareMathOperator)(?![a-zA-Z])"
)
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%")
# Environments that latex2mathml lacks or numbers, under the name of one that looks alike.
_ENVIRONMENT = re.compile(
    r"\\(begin|end)\{(?:aligned|align|alignedat|gather\*?|gathered|eqnarray\*?|equation\*?|multline\*?)\}"
)
_LETTERS = {
    "double-struck": ("MATHEMATICAL DOUBLE-STRUCK", "DOUBLE-STRUCK"),
    "bold": ("MATHEMATICAL BOLD",),
    "script": ("MATHEMATICAL SCRIPT", "SCRIPT"),
    "fraktur": ("MATHEMATICAL FRAKTUR", "BLACK-LETTER"),
    "sans-serif": ("MATHEMATICAL SANS-SERIF",),
    "monospace": ("MATHEMATICAL MONOSPACE",),
}
_DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")


class _Unfit(Exception):
    """A formula that is to be shown as its source."""


@lru_cache(maxsize=8_192)
def mathml(latex: str, block: bool = False) -> str | None:
    """A `<math>` element, or None for a formula that is empty, too long, unknown to latex2mathml or unfit."""
    if not latex.strip() or len(latex) > LONGEST or _REFUSED.search(latex):
        return None
    from latex2mathml.converter import convert_to_element

    display = "block" if block else "inline"
    try:
        known = _ENVIRONMENT.sub(r"\\\1{align*}", _COMMENT.sub(r"\1\\%", latex))
        tree = convert_to_element(known, display=display)
        parts: list[str] = []
        _write(tree, parts, 0)
    except (Exception, RecursionError):  # latex2mathml raises whatever a malformed formula makes it run into
        return None
    return "".join(parts)


def _write(element: "Element", parts: list[str], depth: int) -> None:
    tag = element.tag
    if tag not in _ELEMENTS or depth > _DEEPEST or len(parts) > 3 * _MOST_ELEMENTS:
        raise _Unfit
    if len(element) != _CHILDREN.get(tag, len(element)):
        raise _Unfit
    kept = "".join(
        f' {name}="{value}"' for name, value in sorted(element.attrib.items()) if _allowed(name, value)
    )
    variant = element.get("mathvariant", "")
    if variant == "normal" and tag == "mi":
        kept += ' mathvariant="normal"'
    parts.append(f"<{tag}{kept}>")
    text = _styled(unescape(element.text or ""), variant)
    if (
        text.startswith("\\") and tag != "mtext" and len(text) > 1
    ):  # a command that latex2mathml does not know
        raise _Unfit
    parts.append(escape(text))
    for child in element:
        _write(child, parts, depth + 1)
        if child.tail:
            raise _Unfit
    parts.append(f"</{tag}>")


def _allowed(name: str, value: str) -> bool:
    if name in _WORDS:
        return value in _WORDS[name]
    return name in _LENGTHS and _LENGTH.fullmatch(value) is not None and _ems(value) <= _MOST_EM


def _ems(length: str) -> float:
    """How many em a length is, about, whatever its sign."""
    number = float(re.sub(r"[^\d.]", "", length) or 0)
    return number / (1 if length.endswith("em") else 2 if length.endswith("ex") else 16)


def _styled(text: str, variant: str) -> str:
    """Letters of a mathematical alphabet, which browsers no longer make from `mathvariant`."""
    if variant not in _LETTERS or len(text) != 1 or not text.isascii() or not text.isalnum():
        return text
    kind = "CAPITAL" if text.isupper() else "SMALL"
    name = f"DIGIT {_DIGITS[int(text)]}" if text.isdigit() else f"{kind} {text.upper()}"
    for alphabet in _LETTERS[variant]:
        try:
            return unicodedata.lookup(f"{alphabet} {name}")
        except KeyError:
            continue
    return text
