"""Overlap of texts: seed questions with one another, and with the questions of benchmarks.

`words` says what counts as the same word, `near` finds near duplicates, `contamination` the benchmarks' questions.
Each gives one `Overlap` for each seed to be dropped or reported; `seeds` drops them. `docs/decontamination.md` gives
the reasons for the rules.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Rule = Literal["exact", "contained", "13-gram", "coverage", "masked", "masked_short", "near_duplicate"]
_EXCERPT = 240


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a seed question shares with another text: one line of the audit file.

    `benchmark` and `problem_id` name the other text; for a near duplicate they are "seeds" and the earlier question's
    id. `share` is, by rule, the share of the benchmark's words that is covered, or the Jaccard similarity. `shared`
    is the longest sequence of shared words, normalised as for the comparison.
    """

    seed_id: str
    source: str
    rule: Rule
    action: Literal["dropped", "reported"]
    benchmark: str
    problem_id: str
    share: float
    shared: str
    question: str
    other: str


def excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 3] + "..."


def audit_lines(overlaps: Iterable[Overlap]) -> str:
    """The audit file's text: JSONL, one overlap per line."""
    return "".join(json.dumps(asdict(overlap), ensure_ascii=False) + "\n" for overlap in overlaps)
