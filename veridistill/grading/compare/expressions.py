r"""Mathematical answers as text: their shape, their units, and the numbers that need no algebra. Pure.

An answer is a value, an ordered tuple or interval `(1, 2)`, `[0, 1)`, a set `\{1, 2\}`, or a bare list `1, 2`; the
parts are answers again. `same` compares shapes and settles what it can: equal texts, words, numbers. What needs algebra
it hands to `equal`: in the parent that never knows (None), in a worker it is `mathcheck`. So the two cannot disagree.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from veridistill.grading.compare.latex import CLOSE, OPEN, TOKEN, alike, plain, tidy
from veridistill.grading.compare.values import Equal, Parses, has_variable, quantity, same_value
from veridistill.grading.compare.values import number as number
from veridistill.grading.compare.values import readable as readable_value

_NAME = re.compile(
    r"\(?\s*(?:\\[a-zA-Z]+|[A-Za-z])(?:_(?:\{[^{}]*\}|\w))?'?(?:\s*,\s*[A-Za-z])*\s*\)?(?:\s*\(\s*[A-Za-z](?:,\s*[A-Za-z])*\))?"
)
# Of geometry and in words: `AB = 5`, `\angle ABC = 30`, `\text{Area} = 5`, `|S| = 10`; but `PV = nRT` is an equation.
_MEASURE = re.compile(
    r"(?:m\s*)?(?:\\(?:angle|overline|triangle|widehat)\s*)?(?:[A-Z]{1,3}|\{[A-Z]{1,3}\})"
    r"|\\(?:text|mathrm|operatorname)\s*\{[A-Za-z ]+\}|\|[A-Z]\|"
)
_MOST_PARTS = 64
"""Parts of a set or list that are matched in any order; longer ones must come in order."""
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_MEMBER = re.compile(r"\\in(?![A-Za-z])")
_UNION = re.compile(r"\\cup(?![A-Za-z])")
_RELATION = re.compile(
    r"[<>]|\\(?:leq?|geq?|neq?|in|notin|cup|cap|setminus|mathbb|lt|gt|infty|emptyset)(?![A-Za-z])"
)


# `\{x \mid x > 2\}` is `x > 2`.
_BUILDER = re.compile(
    r"\\\{\s*[A-Za-z]\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?:\\mid(?![A-Za-z])|:|\|)(?P<rule>.*)\\\}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How an answer is built. `brackets` are those of an ordered one; `name` is that of `x = ...`, or empty."""

    kind: Literal["value", "ordered", "set", "list"]
    parts: tuple[str, ...]
    brackets: str = ""
    name: str = ""


def shape(text: str) -> Shape:
    r"""The shape of tidy text. `x = \{1, 2\}` and `x \in \{1, 2\}` are sets named x, `3 \pm 1` is the list 4, 2."""
    parts = split(text, ",;")
    if len(parts) > 1 and not _THOUSANDS.fullmatch(quantity(text).value):
        return Shape("list", tuple(parts))
    name, text = _assignment(text)
    opening, inner, closing = _outer(text)
    if opening:
        parts = split(inner, ",;")
        if opening in (r"\{", r"\lbrace"):
            return Shape("set", tuple(parts) if inner.strip() else (), name=name)
        if len(parts) > 1:
            brackets = opening.replace(r"\langle", "(") + closing.replace(r"\rangle", ")")
            return Shape("ordered", tuple(parts), brackets, name)
        if (opening, closing) == ("(", ")"):
            inside = shape(inner.strip())
            return Shape(inside.kind, inside.parts, inside.brackets, name or inside.name)
    if text.count(r"\pm") == 1 and r"\mp" not in text:
        return Shape("list", (text.replace(r"\pm", "+"), text.replace(r"\pm", "-")), name=name)
    return Shape("value", (text,), name=name)


def split(text: str, marks: str) -> list[str]:
    """The parts between those of `marks` that stand outside all brackets, without white space at their ends."""
    parts, start, depth = [], 0, 0
    for token in TOKEN.finditer(text):
        if token[0] in OPEN:
            depth += 1
        elif token[0] in CLOSE:
            depth -= 1
        elif token[0] in marks and depth == 0:
            parts.append(text[start : token.start()].strip())
            start = token.end()
    parts.append(text[start:].strip())
    return parts if r"\begin" not in text else [text]


def _outer(text: str) -> tuple[str, str, str]:
    """The bracket that opens a text, what it holds and the bracket that closes it at the text's end; else empty."""
    first, depth = None, 0
    for token in TOKEN.finditer(text):
        if token[0] in OPEN:
            if first is None and token.start() > 0:
                return "", "", ""
            first = first or token
            depth += 1
        elif token[0] in CLOSE and first is not None:
            depth -= 1
            if depth == 0:
                whole = token.end() == len(text) and first[0] != "{"
                return (first[0], text[first.end() : token.start()], token[0]) if whole else ("", "", "")
    return "", "", ""


def _assignment(text: str) -> tuple[str, str]:
    r"""The name and the value of `x = 5`, `f(x) = x^2`, `x \in [0, 1]`, `x = 1/2 = 0.5`; `2 + 3 = 5` is 5.

    A real equation, `x^2 + y^2 = 1`, is itself the value: it is not the 1 at its end.
    """
    exact, _, about = text.partition(r"\approx")
    if about:
        text = about if not exact.strip() or _NAME.fullmatch(exact.strip()) else exact
    sides = split(text, "=")
    if len(sides) == 1 or "" in sides or re.search(r"[<>!=]$|\\[a-z]+$", sides[0]):
        name, *rest = _MEMBER.split(text, maxsplit=1)
        members = "".join(rest)
        return (
            (plain(name), members.strip())
            if members and _NAME.fullmatch(name.strip())
            else ("", text.strip())
        )
    measure = _MEASURE.fullmatch(sides[0]) and not has_variable(quantity(sides[-1]).value)
    if (measure or _NAME.fullmatch(sides[0])) and len(
        {n.value for side in sides if (n := number(side)) is not None}
    ) <= 1:
        return plain(sides[0]), sides[-1]
    numbers = [found.value for side in sides if (found := number(side)) is not None]
    if re.search(r"(?<![\\A-Za-z])[A-Za-z]", sides[0]) or len(set(numbers)) > 1:
        return "", text.strip()
    return "", sides[-1]


def same(answer: str, reference: str, equal: Equal) -> bool | None:
    """Whether an answer is the reference; None where `equal` does not know what decides it."""
    answer, reference = _ruled(tidy(answer)), _ruled(tidy(reference))
    if alike(answer, reference):
        return True
    found, wanted = shape(answer), shape(reference)
    if found.kind == "value" != wanted.kind and _THOUSANDS.fullmatch(answer):
        found = Shape("list", tuple(answer.split(",")))
    if wanted.kind == "value" != found.kind and _THOUSANDS.fullmatch(reference):
        wanted = Shape("list", tuple(reference.split(",")))
    if found.name and wanted.name and found.name != wanted.name:
        return False
    if found.kind == wanted.kind == "value":
        if _is_equation(found.parts[0]) != _is_equation(wanted.parts[0]):
            # An equation is no value, but `2x = 4` is `x = 2`.
            return equal(answer, reference) if found.name or wanted.name else False
        return same_value(found.parts[0], wanted.parts[0], equal)
    if "value" in (found.kind, wanted.kind):
        return _one_and_many(found, wanted, answer, reference, equal)
    return _parts(found, wanted, equal)


def readable(reference: str, parses: Parses) -> bool | None:
    """Whether a reference can be compared with answers; None where `parses` does not know what decides it."""
    built = shape(_ruled(tidy(reference)))
    if built.kind == "value":
        return readable_value(built.parts[0], parses)
    return _all(readable(part, parses) for part in built.parts)


def _ruled(text: str) -> str:
    """The rule of a set that one inequality of its members defines; else the text."""
    found = _BUILDER.fullmatch(text)
    return (
        found["rule"].strip() if found and re.search(r"[<>]|\\[lg]eq?(?![A-Za-z])", found["rule"]) else text
    )


def _is_equation(text: str) -> bool:
    return len(split(text, "=")) > 1


def _one_and_many(found: Shape, wanted: Shape, answer: str, reference: str, equal: Equal) -> bool | None:
    r"""`\{5\}` is 5; `x > 5` may be `(5, \infty)`; nothing else of one part is anything of many."""
    if len(found.parts) == len(wanted.parts) == 1:
        return same(found.parts[0], wanted.parts[0], equal)
    # An inequality and the interval or union that it is.
    pair = [
        _RELATION.search(text) or built.kind == "ordered"
        for text, built in ((answer, found), (reference, wanted))
    ]
    if not all(pair):
        return False
    if found.kind == "list" or wanted.kind == "list":
        # `x < -1 or x > 3` is a list of inequalities here, and a union elsewhere.
        pieces = [_UNION.split(one.parts[0]) if one.kind == "value" else one.parts for one in (found, wanted)]
        if len(pieces[0]) != len(pieces[1]):
            return False
        return _unordered([piece.strip() for piece in pieces[0]], [p.strip() for p in pieces[1]], equal)
    return equal(_bare(found, answer), _bare(wanted, reference))


def _bare(built: Shape, text: str) -> str:
    r"""An interval without the name in front of it: `x \in [0, 1]` is no set to a parser."""
    if built.kind != "ordered" or not built.name:
        return text
    return built.brackets[0] + ", ".join(built.parts) + built.brackets[-1]


def _parts(found: Shape, wanted: Shape, equal: Equal) -> bool | None:
    """Part by part: in order for tuples and intervals, whose brackets must agree; in any order for sets and lists."""
    kinds = {found.kind, wanted.kind}
    if len(found.parts) != len(wanted.parts) or kinds == {"ordered", "set"}:
        return False
    if kinds == {"ordered"} and found.brackets != wanted.brackets:
        return False
    if "ordered" in kinds or len(wanted.parts) > _MOST_PARTS:
        return _all(same(a, r, equal) for a, r in zip(found.parts, wanted.parts, strict=True))
    return _unordered(list(found.parts), wanted.parts, equal)


def _all(results: Iterable[bool | None]) -> bool | None:
    unknown = False
    for result in results:
        if result is False:
            return False
        unknown = unknown or result is None
    return None if unknown else True


def _unordered(answers: list[str], references: Sequence[str], equal: Equal) -> bool | None:
    """Whether the answers are the references in some order. Equality is transitive, so the first match will do."""
    unknown = False
    for reference in references:
        results = [same(answer, reference, equal) for answer in answers]
        if True in results:
            answers.pop(results.index(True))
        elif None in results:
            unknown = True
        else:
            return False
    return None if unknown else True
