"""Values of a row that cannot be used, and the errors that say so."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

# Columns in which public data sets keep their questions, looked for when the configured one is missing.
_USUAL = ("question", "problem", "prompt", "query", "instruction", "text", "input")


class Unfit(Exception):
    """What is wrong with a row, or with a file: a text for each fault."""

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(map(str, self.args))


@dataclass(frozen=True, slots=True)
class Column:
    """A column that the configuration names, and the field that names it."""

    name: str
    setting: str


def missing(column: Column, names: Iterable[str]) -> str:
    """The error for a column that is not among a file's, with the one that was probably meant."""
    found = list(names)
    listed = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
    return f"no column {column.name} (columns: {listed or 'none'}); {_hint(column, found)}"


def _hint(column: Column, found: list[str]) -> str:
    name, setting = column.name, column.setting
    folded: dict[str, str] = {one.casefold(): one for one in reversed(found)}
    tests: list[Callable[[], list[str]]] = [
        lambda: difflib.get_close_matches(name.casefold(), folded, 1),
        lambda: [usual for usual in _USUAL if usual in folded] if setting == "seeds.question" else [],
    ]
    close = next((folded[match[0]] for test in tests if (match := test())), None)
    if setting == "seeds.domain":
        meant = f"column {close}" if close else "column with one of them in each row"
        return f"give seeds.domain=math, science or code, or the {meant}"
    if setting == "seeds.question with {}":
        return f"did you mean {{{close}}} in seeds.question?" if close else "change seeds.question"
    return f"did you mean {setting}={close}?" if close else f"set {setting}"
