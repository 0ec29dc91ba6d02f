"""What a build holds of a question that is done, until its rows are written and its figures are counted.

Questions end in any order; `pipeline` takes them in the seeds' order, so that tables, figures and the place where a
build stops depend on stored replies alone.
"""

from dataclasses import dataclass

from veridistill.method import Distilled
from veridistill.records import Seed, Verdict
from veridistill.runs.canaries import Planted


@dataclass(frozen=True, slots=True)
class Found:
    """Verdicts by index, and who is kept; candidates' texts and token ids stay in the journal.

    `audited`: whether everything was asked. `planted`: the known-bad answers that were judged beside the candidates.
    """

    seed: Seed
    verdicts: tuple[Verdict, ...]
    kept: frozenset[int]
    audited: bool = False
    planted: tuple[Planted, ...] = ()

    @classmethod
    def of(cls, distilled: Distilled, audited: bool = False, planted: tuple[Planted, ...] = ()) -> "Found":
        verdicts = tuple(judged.verdict for judged in distilled.judged)
        kept = frozenset(candidate.index for candidate in distilled.kept)
        return cls(distilled.seed, verdicts, kept, audited, planted)
