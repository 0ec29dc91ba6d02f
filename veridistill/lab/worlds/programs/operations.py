"""The operations that programs are composed of: what each does, its line of Python and its words in a question."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = tuple[int, ...] | int
"""A list of digits, or the number that the last operation made of it."""


@dataclass(frozen=True)
class Kind:
    """`line` is what follows `v=`, `words` are two ways to ask for it; `{k}` is a digit out of `parameters`.

    `hidden`: whether an example can say which digit it is.
    """

    line: str
    words: tuple[str, str]
    apply: Callable[[tuple[int, ...], int], Value]
    parameters: tuple[int, ...] = ()
    hidden: bool = False


_FEW, _DIGITS, _FACTORS = (1, 2, 3), tuple(range(10)), (2, 3, 4, 6, 7, 8, 9)

KINDS: dict[str, Kind] = {
    "rev": Kind("v[::-1]", ("reverse it", "turn it around"), lambda v, k: v[::-1]),
    "sort": Kind("sorted(v)", ("sort it up", "put the smallest first"), lambda v, k: tuple(sorted(v))),
    "desc": Kind(
        "sorted(v)[::-1]", ("sort it down", "put the largest first"), lambda v, k: tuple(sorted(v))[::-1]
    ),
    "even": Kind(
        "[x for x in v if x%2==0]", ("keep the even ones", "remove the odd ones"),
        lambda v, k: tuple(x for x in v if x % 2 == 0),
    ),
    "odd": Kind(
        "[x for x in v if x%2==1]", ("keep the odd ones", "remove the even ones"),
        lambda v, k: tuple(x for x in v if x % 2 == 1),
    ),
    "alt": Kind("v[::2]", ("keep every other one", "skip every second one"), lambda v, k: v[::2]),
    "add": Kind(
        "[(x+{k})%10 for x in v]", ("add {k} to each modulo 10", "raise each by {k} modulo 10"),
        lambda v, k: tuple((x + k) % 10 for x in v), _DIGITS[1:], True,
    ),
    "mul": Kind(
        "[x*{k}%10 for x in v]", ("multiply each by {k} modulo 10", "take each {k} times modulo 10"),
        lambda v, k: tuple(x * k % 10 for x in v), _FACTORS,
    ),
    "rot": Kind(
        "v[{k}:]+v[:{k}]", ("move {k} from the front to the end", "rotate it left by {k}"),
        lambda v, k: v[k:] + v[:k], _FEW, True,
    ),
    "drop": Kind("v[{k}:]", ("drop {k} from the front", "leave out {k} at the front"), lambda v, k: v[k:], _FEW, True),
    "cut": Kind("v[:-{k}]", ("drop {k} from the end", "leave out {k} at the end"), lambda v, k: v[:-k], _FEW, True),
    "above": Kind(
        "[x for x in v if x>{k}]", ("keep those above {k}", "keep what is more than {k}"),
        lambda v, k: tuple(x for x in v if x > k), _DIGITS[:9],
    ),
    "below": Kind(
        "[x for x in v if x<{k}]", ("keep those below {k}", "keep what is less than {k}"),
        lambda v, k: tuple(x for x in v if x < k), _DIGITS[1:],
    ),
    "end": Kind("v+[{k}]", ("put {k} at the end", "append {k}"), lambda v, k: (*v, k), _DIGITS, True),
    "front": Kind("[{k}]+v", ("put {k} in front", "start it with {k}"), lambda v, k: (k, *v), _DIGITS, True),
    "max": Kind("max(v)", ("take the largest", "return the maximum"), lambda v, k: max(v)),
    "min": Kind("min(v)", ("take the smallest", "return the minimum"), lambda v, k: min(v)),
    "len": Kind("len(v)", ("count them", "return how many there are"), lambda v, k: len(v)),
}  # fmt: skip
NUMBERS = ("max", "min", "len")
"""Those that end in a number; each can only be the last."""


@dataclass(frozen=True)
class Operation:
    """`k` is the digit, where the kind has one; None in a question that leaves it to the example."""

    name: str
    k: int | None = None

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    @property
    def line(self) -> str:
        return self.kind.line.format(k=self.k)

    def words(self, wording: int) -> str:
        return self.kind.words[wording].format(k="k" if self.k is None else self.k)

    @property
    def short(self) -> str:
        """As in a trace: `drop2`."""
        return self.name + ("" if self.k is None else str(self.k))


def states(operations: Sequence[Operation], value: Value) -> list[Value] | None:
    """The value after each operation, or None where one of them fails."""
    found = []
    for operation in operations:
        if isinstance(value, int) or (operation.name in ("max", "min") and not value):
            return None
        value = operation.kind.apply(value, operation.k or 0)
        found.append(value)
    return found


_LINES = [
    (name, re.compile(re.escape(kind.line).replace(r"\{k\}", "([0-9])"))) for name, kind in KINDS.items()
]
_WORDS = [
    (name, re.compile(re.escape(words).replace(r"\{k\}", "([0-9k])")))
    for name, kind in KINDS.items()
    for words in kind.words
]


def of_line(text: str) -> Operation | None:
    """The operation whose line this is."""
    return _read(text, _LINES)


def of_words(text: str) -> Operation | None:
    """The operation that is asked for in these words; `k` for the digit leaves it open."""
    return _read(text, _WORDS)


def _read(text: str, patterns: list[tuple[str, re.Pattern[str]]]) -> Operation | None:
    for name, pattern in patterns:
        if found := pattern.fullmatch(text):
            digits = set(found.groups())
            if not KINDS[name].parameters:
                return Operation(name)
            if len(digits) != 1:
                return None
            digit = digits.pop()
            return Operation(name, None if digit == "k" else int(digit))
    return None


def shown(value: Value) -> str:
    """As Python writes it, without spaces: `[3,1]` or `4`."""
    return str(value) if isinstance(value, int) else f"[{','.join(map(str, value))}]"


def of_shown(text: str) -> Value | None:
    if re.fullmatch(r"\[(?:[0-9](?:,[0-9])*)?\]", text):
        return tuple(map(int, re.findall("[0-9]", text)))
    return int(text) if re.fullmatch("[0-9]{1,3}", text) else None


def compact(value: Value) -> str:
    """As in a trace: the digits of a list, `-` for an empty one, `n4` for a number."""
    return f"n{value}" if isinstance(value, int) else "".join(map(str, value)) or "-"
