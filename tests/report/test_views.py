"""Which questions the report shows: a mix of fates, by a hash of the id alone."""

import random
from typing import Any

from veridistill.records import Verdict
from veridistill.report.views import choose

FATES: list[tuple[Any, str | None]] = [
    ("accepted", None),
    ("rejected", "factuality"),
    ("rejected", "correctness"),
    ("malformed", "truncated"),
]


def verdicts(num_seeds: int) -> list[Verdict]:
    rare = Verdict("rare", 0, "unjudged", "factuality")
    return [rare] + [
        Verdict(f"{index:04x}", 0, *FATES[0 if index % 50 else 1 + index // 50 % 3])
        for index in range(num_seeds)
    ]


def test_every_fate_is_shown() -> None:
    found = verdicts(1000)
    chosen = choose(found, 20)
    assert len(chosen) == len(set(chosen)) == 20
    fates = {(v.outcome, v.rejected_by) for v in found if v.seed_id in chosen}
    assert fates == {*FATES, ("unjudged", "factuality")}


def test_order_of_the_verdicts_does_not_matter() -> None:
    found = verdicts(300)
    chosen = choose(found)
    random.Random(0).shuffle(found)
    assert choose(found) == chosen
    assert choose(found, 5) == chosen[:5]


def test_long_runs_choose_as_if_all_were_remembered() -> None:
    """What is dropped on the way could never have been chosen."""
    found = verdicts(3000)
    assert choose(found, 7) == choose(found, 3000)[:7]


def test_a_question_with_many_fates_is_shown_once() -> None:
    found = [Verdict("a", index, *fate) for index, fate in enumerate(FATES)]
    assert choose(found) == ["a"]
    assert choose([]) == []
    assert choose([Verdict("a", 1, "skipped")]) == []
