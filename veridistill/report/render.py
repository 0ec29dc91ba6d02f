r"""The one place where a model's text becomes HTML. Whatever the text is, it can only be read.

Every character is escaped, so no tag and no attribute comes from a text; what is made of it are the elements written
here, MathML of `mathml` and spans of `highlight`, none of which loads or runs anything. Characters that are invisible
or turn the direction of the text are shown as their code. The time is linear in the text.

    reply(text)    a model's raw reply: reasoning folded, then the answer
    prose(text)    any other text, such as a question: mathematics and fenced code
    source(text)   as it is, without either

Each takes a limit in bytes of UTF-8; a longer text is clipped and says how much is left.
"""

import re
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from veridistill import decide
from veridistill.records import without_surrogates
from veridistill.report.highlight import highlighted
from veridistill.report.mathml import LONGEST, mathml

CLIP = 4_096
"""Bytes of one text in a report."""

_MOST_FORMULAS = 2_000
_CLOSING = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
_TOKEN = re.compile(r"\\\\|\\\$|\\[()\[\]]|\$\$|\$|`[^`\n]*+`")
_BOX = re.compile(r"\\boxed\{(?:[^{}\n$`]|\{[^{}\n$`]{0,100}\}){1,200}+\}")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n`]*")
# Controls but tab and newline, marks that turn or join text invisibly, tags, and what is no character.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff"
    "\U000e0000-\U000e0fff]"
)


class Clipped(NamedTuple):
    """The start of a text, and how many bytes of it are left."""

    text: str
    left: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place where mathematics may begin or end."""

    kind: str
    start: int
    end: int
    opens: bool
    closes: bool


def clip(text: str, limit: int | None) -> Clipped:
    """At most `limit` bytes of the text in UTF-8, whole characters only; None: all of it."""
    text = without_surrogates(text)
    size = len(text) if text.isascii() else len(text.encode("utf-8"))
    if limit is None or size <= limit:
        return Clipped(text, 0)
    shown = text[:limit].encode("utf-8")[:limit].decode("utf-8", "ignore")
    return Clipped(shown, size - len(shown.encode("utf-8")))


def visible(text: str) -> str:
    """The text on which no character is invisible or turns the others: such a one is shown as its code."""
    return _HIDDEN.sub(_code, without_surrogates(text).replace("\r\n", "\n"))


def reply(text: str, limit: int | None = CLIP) -> Markup:
    """A raw reply: its reasoning folded, with its own limit, and its answer."""
    found = decide.split(text)
    if not found.closed:
        reasoning, answer, ended = text.strip().removeprefix(decide.THINK_OPEN), "", " (never closed)"
    else:
        reasoning, answer, ended = found.reasoning or "", found.answer, ""
    folded = Markup("")
    if reasoning.strip():
        folded = Markup(
            '<details class="reasoning"><summary>Reasoning{}, {:,} characters</summary>{}</details>'
        )
        folded = folded.format(ended, len(reasoning), prose(reasoning, limit))
    return folded + prose(answer, limit) if answer or not reasoning.strip() else folded


def prose(text: str, limit: int | None = CLIP) -> Markup:
    """A text with its mathematics as MathML and its fenced code coloured."""
    shown, left = clip(text, limit)
    return _block(_fenced(visible(shown)), left)


def source(text: str, limit: int | None = CLIP) -> Markup:
    """A text exactly as it is, for output in which every dollar sign counts."""
    shown, left = clip(text, limit)
    return _block(escape(visible(shown)), left)


def line(text: str, length: int = 160) -> Markup:
    """The start of a text on one line, cut between words, for a heading; formulas that are whole are MathML."""
    words = " ".join(visible(text[: 4 * length]).split())
    if len(words) > length or len(text) > 4 * length:
        words = words[:length]
        words = (words.rpartition(" ")[0] or words) + " …"
    return Markup(_mathematical(words, headings=True))


def _block(html: str, left: int) -> Markup:
    rest = f'<p class="rest">… {left:,} bytes more: <code>veridistill view RUN</code></p>' if left else ""
    empty = '<div class="text empty">(empty)</div>'
    return Markup((f'<div class="text" dir="auto">{html}</div>' if html.strip() else empty) + rest)


def _code(found: re.Match[str]) -> str:
    return f"⟨U+{ord(found[0]):04X}⟩"


def _fenced(text: str) -> str:
    """Fenced blocks as code, and what is between them as prose; a fence that is never closed goes to the end."""
    parts: list[str] = []
    lines: list[str] = []
    fence, language = "", ""
    for one in text.split("\n"):
        found = _FENCE.fullmatch(one)
        if not fence and found:
            parts.append(_mathematical("\n".join(lines)))
            fence, language, lines = found[1], found[2], []
        elif fence and found and found[1].startswith(fence) and one.strip() == found[1]:
            parts.append(_pre("\n".join(lines), language))
            fence, lines = "", []
        else:
            lines.append(one)
    parts.append(_pre("\n".join(lines), language) if fence else _mathematical("\n".join(lines)))
    return "".join(parts)


def _pre(code: str, language: str) -> str:
    return f"<pre>{highlighted(code, language)}</pre>"


def _mathematical(text: str, headings: bool = False) -> str:
    """Escaped text in which formulas are MathML. A formula ends at the next mark that closes it.

    In headings none stands on a line of its own.
    """
    marks = [_mark(text, found) for found in _TOKEN.finditer(text)]
    closers = _closers(marks)
    parts, place, number, most = [], 0, 0, _MOST_FORMULAS
    while number < len(marks) and most:
        mark, closer = marks[number], closers[number]
        number += 1
        if closer is None:
            continue
        end = marks[closer]
        inner = text[mark.end : end.start] if end.start - mark.end <= LONGEST else ""
        block = mark.kind in ("$$", r"\[") and not headings
        made = None if "\n\n" in inner else mathml(inner, block)
        most -= 1
        if made is not None:
            before = text[place : mark.start]
            parts += [_boxes(before.removesuffix("\n") if block else before), made]
            place = end.end + (block and text[end.end : end.end + 1] == "\n")
        if made is not None or inner:
            number = closer + 1
    return "".join([*parts, _boxes(text[place:])])


def _boxes(text: str) -> str:
    """Escaped text in which a final answer in a bare box, outside of any formula, is one."""
    parts, place = [], 0
    for found in _BOX.finditer(text):
        made = mathml(found[0])
        if made is not None:
            parts += [escape(text[place : found.start()]), made]
            place = found.end()
    return "".join([*parts, escape(text[place:])])


def _mark(text: str, found: re.Match[str]) -> _Mark:
    """A dollar sign opens before what is no space, and closes after what is none, unless a digit follows ($5, $6)."""
    kind, start, end = found[0], found.start(), found.end()
    if kind != "$":
        return _Mark(kind, start, end, kind in _CLOSING, kind in _CLOSING.values())
    opens = not text[end : end + 1].isspace() and end < len(text)
    closes = start > 0 and not text[start - 1].isspace() and not text[end : end + 1].isdigit()
    return _Mark(kind, start, end, opens, closes)


def _closers(marks: list[_Mark]) -> list[int | None]:
    """For each mark that opens, the number of the next one that closes it."""
    following: dict[str, int] = {}
    found: list[int | None] = [None] * len(marks)
    for number in range(len(marks) - 1, -1, -1):
        mark = marks[number]
        if mark.opens:
            found[number] = following.get(_CLOSING[mark.kind])
        if mark.closes:
            following[mark.kind] = number
        elif mark.kind == "$":  # an amount of money: no formula goes beyond it
            following.pop("$", None)
    return found
