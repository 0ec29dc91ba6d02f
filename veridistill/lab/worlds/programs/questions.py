"""The questions of the programs world: a function is described operation by operation, and one example is given.

The last operation's digit may be left to the example: `add k to each`. What a program means is what it returns for
`INPUTS`, which are also its tests.
"""

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from veridistill.lab.worlds.programs.operations import (
    KINDS,
    NUMBERS,
    Operation,
    Value,
    of_shown,
    of_words,
    shown,
    states,
)
from veridistill.lab.worlds.world import Mix
from veridistill.records import Problem

INPUTS: tuple[tuple[int, ...], ...] = (
    (3, 8, 1, 6, 0, 9, 4, 7, 2, 5), (5, 0, 7, 2, 9, 4, 8, 1, 6, 3), (2, 9, 4, 4, 7), (8, 3, 5, 1), (6, 6, 0, 9, 1, 3),
    (1, 7, 2, 8, 5, 0, 4),
)  # fmt: skip
"""Every digit occurs in two of them, so that no two limits or digits mean the same."""
WORDINGS = (
    "Write f(v) for a list of digits v: {steps}.{find} f({given})=={wanted}",
    "Given a list of digits v, f(v) must do this: {steps}.{find} Example: f({given})=={wanted}",
    "I need a function f. It takes a list of digits, and in this order you {steps}.{find} So f({given})=={wanted}",
)
"""The first one without its example is the canonical one."""
_FIND = " The example tells k."
_THEN = ", then "
_PATTERNS = tuple(
    re.compile(re.sub(r"\\\{(\w+)\\\}", lambda found: f"(?P<{found[1]}>.*?)", re.escape(wording)))
    for wording in WORDINGS
)
CANONICAL = "Write f(v) for a list of digits v: {steps}."


@dataclass(frozen=True)
class Program:
    """`operations` in order; `hidden`: the last one's digit is left to the example, whose input is `given`."""

    operations: tuple[Operation, ...]
    given: tuple[int, ...]
    hidden: bool = False
    wording: int = 0
    words: int = 0

    @property
    def key(self) -> str:
        return meaning(self.operations) or ""

    @property
    def wanted(self) -> Value:
        found = states(self.operations, self.given)
        assert found is not None, "a program of the world runs on its example"
        return found[-1]

    @property
    def asked(self) -> tuple[Operation, ...]:
        """The operations as the question names them."""
        *first, last = self.operations
        return (*first, Operation(last.name)) if self.hidden else self.operations

    @property
    def question(self) -> str:
        return WORDINGS[self.wording].format(
            steps=steps(self.asked, self.words), find=_FIND if self.hidden else "",
            given=shown(self.given), wanted=shown(self.wanted),
        )  # fmt: skip

    @property
    def problem(self) -> Problem:
        cases = [
            {"input": shown(given), "output": shown(found[-1])}
            for given in INPUTS
            if (found := states(self.operations, given))
        ]
        tests = json.dumps({"kind": "functional", "entry": "f", "cases": cases})
        return Problem(self.key, "programs", "code", self.question, "", "code", tests=tests)


def steps(operations: Sequence[Operation], words: int) -> str:
    return _THEN.join(operation.words(words) for operation in operations)


@lru_cache(maxsize=65_536)
def meaning(operations: tuple[Operation, ...]) -> str | None:
    """A hash of what the program returns for `INPUTS`; None where it fails on one of them."""
    found = [states(operations, given) for given in INPUTS]
    if None in found:
        return None
    returned = "|".join(shown(one[-1]) for one in found if one)
    return hashlib.sha256(returned.encode()).hexdigest()[:16]


_NOTHING = hashlib.sha256("|".join(map(shown, INPUTS)).encode()).hexdigest()[:16]
_SIZES: Mapping[Mix, tuple[float, float]] = {
    "solver": (0.75, 0.25),
    "judge": (0.55, 0.45),
    "hard": (0.0, 1.0),
}
"""Shares of programs of two operations and of three."""
_LENGTHS: Mapping[Mix, tuple[int, ...]] = {"solver": (4, 4, 5), "judge": (4, 5), "hard": (5,)}
_HIDDEN: Mapping[Mix, float] = {"solver": 0.6, "judge": 0.6, "hard": 1.0}
_ENDING_IN_A_NUMBER = 0.1
_LISTS = tuple(name for name in KINDS if name not in NUMBERS)
_OPEN = tuple(name for name, kind in KINDS.items() if kind.hidden)


def draw(rng: random.Random, mix: Mix) -> Program:
    """A program whose example runs, returns something, and settles what is left to it."""
    while True:
        size = rng.choices((2, 3), _SIZES[mix])[0]
        hidden = rng.random() < _HIDDEN[mix]
        lasts = _OPEN if hidden else NUMBERS if rng.random() < _ENDING_IN_A_NUMBER else _LISTS
        last = rng.choice(lasts)
        names = [*rng.sample([name for name in _LISTS if name != last], k=size - 1), last]
        operations = tuple(_any(rng, name) for name in names)
        given = tuple(rng.randrange(10) for _ in range(rng.choice(_LENGTHS[mix])))
        made = Program(operations, given, hidden, rng.randrange(len(WORDINGS)), rng.randrange(2))
        if is_sound(made):
            return made


def _any(rng: random.Random, name: str) -> Operation:
    parameters = KINDS[name].parameters
    return Operation(name, rng.choice(parameters) if parameters else None)


def is_sound(program: Program) -> bool:
    """Whether it runs on all inputs, changes something, and its example leaves one digit only for a hidden one."""
    key, found = meaning(program.operations), states(program.operations, program.given)
    if key in (None, _NOTHING) or found is None or found[-1] == ():
        return False
    return not program.hidden or len(fitting(program.operations, program.given, found[-1])) == 1


def fitting(operations: Sequence[Operation], given: tuple[int, ...], wanted: Value) -> list[int]:
    """The digits of the last operation with which the example holds."""
    *first, last = operations
    tried = {k: states([*first, Operation(last.name, k)], given) for k in last.kind.parameters}
    return [k for k, found in tried.items() if found is not None and found[-1] == wanted]


def parse(text: str) -> Program | None:
    """The program that this question asks for, or None when the world cannot make it."""
    for wording, pattern in enumerate(_PATTERNS):
        if match := pattern.fullmatch(text.strip()):
            operations, given = read_steps(match["steps"]), of_shown(match["given"])
            wanted = of_shown(match["wanted"])
            if not operations or not isinstance(given, tuple) or wanted is None:
                continue
            *first, last = operations
            hidden = bool(last.kind.parameters) and last.k is None
            if hidden:
                found = fitting(operations, given, wanted) if last.kind.hidden else []
                if len(found) != 1:
                    return None
                last = Operation(last.name, found[0])
            for words in range(2):
                made = Program((*first, last), given, hidden, wording, words)
                if is_sound(made) and made.question == text.strip():
                    return made
    return None


def read_steps(text: str) -> tuple[Operation, ...] | None:
    """The operations of a description; None where one of them is not known."""
    found = [of_words(part) for part in text.split(_THEN)]
    known = [operation for operation in found if operation is not None]
    return tuple(known) if len(known) == len(found) else None
