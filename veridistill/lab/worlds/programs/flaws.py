"""Answers of the programs world with planted flaws."""

import random
from collections.abc import Iterator, Mapping

from veridistill.lab.worlds.programs.answers import Stated
from veridistill.lab.worlds.programs.operations import KINDS, NUMBERS, Operation, Value, states
from veridistill.lab.worlds.programs.questions import Program, meaning
from veridistill.lab.worlds.world import Flaw, Stage

_TRIES = 60


def _result(operations: tuple[Operation, ...], given: tuple[int, ...]) -> Value | None:
    found = states(operations, given)
    return found[-1] if found else None


def _another_digit(rng: random.Random, q: Program) -> tuple[tuple[Operation, ...], Value] | None:
    """The program with another digit for the one that the example tells, and what it returns for the example."""
    if not q.hidden:
        return None
    *first, last = q.operations
    others = [k for k in last.kind.parameters if k != last.k]
    rng.shuffle(others)
    for k in others:
        operations = (*first, Operation(last.name, k))
        found = _result(operations, q.given)
        if found is not None and meaning(operations) not in (None, q.key):
            return operations, found
    return None


def _slip(rng: random.Random, q: Program) -> str | None:
    """Another digit, and the question's example claimed nevertheless."""
    made = _another_digit(rng, q)
    return Stated(q.given, q.wanted, made[0]).text if made else None


def _digit(rng: random.Random, q: Program) -> str | None:
    """Another digit, and what it gives claimed as the example."""
    made = _another_digit(rng, q)
    return Stated(q.given, made[1], made[0]).text if made else None


def _changed(rng: random.Random, q: Program) -> Iterator[tuple[Operation, ...]]:
    """Programs that the question does not describe: an operation is replaced, left out or added."""
    for _ in range(_TRIES):
        place = rng.randrange(len(q.operations))
        names = [name for name in KINDS if name not in NUMBERS or place == len(q.operations) - 1]
        name = rng.choice(names)
        parameters = KINDS[name].parameters
        new = (Operation(name, rng.choice(parameters) if parameters else None),)
        before, after = q.operations[:place], q.operations[place + 1 :]
        middle = rng.choice((new, new, (), (*new, q.operations[place])))
        made = (*before, *middle, *after)
        open_digit = q.hidden and [one.name for one in made] == [one.name for one in q.operations]
        same_else = open_digit and made[:-1] == q.operations[:-1]
        if made and len(made) <= 3 and not same_else and meaning(made) not in (None, q.key):
            yield made


def _misread(rng: random.Random, q: Program) -> str | None:
    """Another program, which does not give the example; what it gives is claimed."""
    for operations in _changed(rng, q):
        found = _result(operations, q.given)
        if found is not None and found != q.wanted:
            return Stated(q.given, found, operations).text
    return None


def _neighbour(rng: random.Random, q: Program) -> str | None:
    """Another program that happens to give the example."""
    fitting = (made for made in _changed(rng, q) if _result(made, q.given) == q.wanted)
    operations = next(fitting, None)
    return Stated(q.given, q.wanted, operations).text if operations else None


def _broken(rng: random.Random, q: Program) -> str:
    """The right operations in what is no program: no colon, nothing or an unknown name returned."""
    colon, returned = rng.choice((("", "v"), (":", ""), (":", "w")))
    return Stated(q.given, q.wanted, q.operations, colon, returned).text


def _misprint(rng: random.Random, q: Program) -> str:
    """The right program behind a wrong example."""
    if isinstance(q.wanted, int):
        claimed: Value = (q.wanted + rng.randrange(1, 9)) % 10
    else:
        place = rng.randrange(len(q.wanted))
        digit = (q.wanted[place] + rng.randrange(1, 10)) % 10
        claimed = (*q.wanted[:place], digit, *q.wanted[place + 1 :])
    return Stated(q.given, claimed, q.operations).text


def _seen(*stages: Stage) -> frozenset[Stage]:
    return frozenset(stages)


FLAWS: Mapping[str, Flaw[Program]] = {
    "slip": Flaw(0.22, _seen("factuality", "correctness"), _slip),
    "digit": Flaw(0.18, _seen("correctness"), _digit),
    "misread": Flaw(0.22, _seen("cycle_consistency", "correctness"), _misread),
    "neighbour": Flaw(0.16, _seen("cycle_consistency"), _neighbour),
    "broken": Flaw(0.14, _seen("factuality"), _broken),
    "misprint": Flaw(0.08, _seen("factuality"), _misprint, "right"),
}
