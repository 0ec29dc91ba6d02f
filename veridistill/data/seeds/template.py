"""`seeds.question`: the column that holds the question, or a template over columns.

    {text}\\n\\nYour code should pass, for example:\\n{test_list[0]}

`{column}` is a column's value, `{column[0]}` an item of a list, `{column[key]}` a value of a mapping; `{{` and `}}` are
braces. It is filled in one pass: what a column holds is never read as a template. A text without `{` names one column.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from veridistill.data.jsonl import shown
from veridistill.data.seeds.columns import Column, Unfit, missing
from veridistill.errors import ConfigError

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<slot>[^{}]*)\}|[{}]")
_SLOT = re.compile(r"(?P<column>[^\[\]]+)(?P<keys>(?:\[[^\[\]]+\])*)")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that a value is filled into: of a column, or of what `keys` lead to inside it."""

    column: Column
    keys: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.column.name + "".join(f"[{key}]" for key in self.keys)

    def value(self, record: Mapping[str, Any]) -> Any:
        """Raises `Unfit` when the row has no such value."""
        if self.column.name not in record:
            raise Unfit(missing(self.column, record))
        value, where = record[self.column.name], self.column.name
        for key in self.keys:
            value, where = _inside(value, key, where), f"{where}[{key}]"
        return value


@dataclass(frozen=True, slots=True)
class Filled:
    """A question, and the values in it, in order."""

    text: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """Texts and slots in turn, a text first and last; a column alone is one slot between empty texts."""

    texts: tuple[str, ...]
    slots: tuple[Slot, ...]

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        return tuple(dict.fromkeys(slot.column for slot in self.slots))

    def fill(self, record: Mapping[str, Any]) -> Filled:
        """The question that a row asks. Raises `Unfit` with every value that is missing or of the wrong kind."""
        faults, values = list[str](), list[str]()
        for slot in self.slots:
            try:
                values.append(self._text(slot, slot.value(record)))
            except Unfit as unfit:
                faults += unfit.faults
        if not faults and not any(value.strip() for value in values):
            names = " and ".join(slot.name for slot in self.slots)
            faults = [f"{names} {_are(self.slots)} {'blank' if any(values) else 'empty'}"]
        if faults:
            raise Unfit(*dict.fromkeys(faults))
        pairs = zip(self.texts, (*values, ""), strict=True)
        return Filled("".join(part for pair in pairs for part in pair), tuple(values))

    def _text(self, slot: Slot, value: Any) -> str:
        """Numbers may stand in a template; a question that is one column is text."""
        if isinstance(value, str):
            return value
        alone = slot.column.setting == "seeds.question"
        if alone or isinstance(value, bool) or not isinstance(value, int | float):
            wanted = "text" if alone else "text or a number"
            raise Unfit(f"{slot.name} must be {wanted} (found {shown(value)})")
        if isinstance(value, float) and not isfinite(value):
            raise Unfit(
                f"{slot.name} must be text or a number (found {value}); pandas writes NaN where none is given"
            )
        return str(value)


def parse(text: str) -> Template:
    """Raises `ConfigError` for a template that cannot be read."""
    if "{" not in text:
        return Template(("", ""), (Slot(Column(text, "seeds.question")),))
    texts, slots, position = [""], list[Slot](), 0
    for token in _TOKEN.finditer(text):
        texts[-1] += text[position : token.start()]
        position = token.end()
        if token[0] in ("{{", "}}"):
            texts[-1] += token[0][0]
        elif token["slot"] is None:
            raise _unreadable(text, f"a single {token[0]}; write {token[0] * 2} for a brace")
        else:
            slots.append(_slot(text, token["slot"]))
            texts.append("")
    texts[-1] += text[position:]
    if not slots:
        raise _unreadable(text, "no column; name one, for example {question}")
    return Template(tuple(texts), tuple(slots))


def _slot(text: str, inner: str) -> Slot:
    found = _SLOT.fullmatch(inner.strip())
    if found is None:
        raise _unreadable(text, f"{{{inner}}}, which is no column, column[0] or column[key]")
    column = found["column"].strip()
    for mark, what in ((".", "attribute"), ("!", "conversion"), (":", "format")):
        if mark in column:
            raise _unreadable(
                text, f"{{{inner}}}: there is no {what} with {mark} here, only column[0] and column[key]"
            )
    keys = tuple(key.strip() for key in re.findall(r"\[([^\[\]]+)\]", found["keys"]))
    return Slot(Column(column, "seeds.question with {}"), keys)


def _unreadable(text: str, fault: str) -> ConfigError:
    return ConfigError(f"seeds.question: the template {shown(text)} has {fault}")


def _inside(value: Any, key: str, where: str) -> Any:
    if isinstance(value, Mapping):
        if key not in value:
            listed = ", ".join(map(str, list(value)[:8])) or "none"
            raise Unfit(f"{where} has no key {key} (keys: {listed})")
        return value[key]
    if not isinstance(value, list):
        raise Unfit(
            f"{where} must be a list or a mapping, since [{key}] is asked of it (found {shown(value)})"
        )
    if not (key.isascii() and key.isdigit()):
        raise Unfit(f"{where} is a list: [{key}] must be a whole number from 0")
    if int(key) >= len(value):
        size = f"{len(value)} item{'' if len(value) == 1 else 's'}"
        raise Unfit(f"{where}[{key}] is not there: the list has {size}, counted from 0")
    return value[int(key)]


def _are(slots: tuple[Slot, ...]) -> str:
    return "is" if len(slots) == 1 else "are"
