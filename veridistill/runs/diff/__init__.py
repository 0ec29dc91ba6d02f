"""Two runs compared, from what their directories hold; nothing is asked, and nothing is written there.

`sides` reads a run, `settings` compares configurations, `kept` the builds, `judges` verdicts on the same candidates,
`exams` the problems. `words` makes sentences and tables of the result, for a terminal (`text`) or a page (`page`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from veridistill.runs.diff import exams, judges, kept, settings, sides
from veridistill.runs.diff.exams import Exams
from veridistill.runs.diff.judges import Verdicts
from veridistill.runs.diff.kept import Questions
from veridistill.runs.diff.settings import Setting
from veridistill.runs.diff.sides import Side

__all__ = ["Diff", "compare"]

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Diff:
    """What is different between the runs `a` and `b`; a part that cannot be compared is None or empty.

    `settings` are the fields that differ. `exams` compares their models before training, and after.
    """

    a: Side
    b: Side
    settings: tuple[Setting, ...]
    questions: Questions | None
    verdicts: Verdicts | None
    exams: tuple[Exams, ...]

    @property
    def shares_nothing(self) -> bool:
        """Whether the runs have neither a question nor a problem in common."""
        return not (self.questions and self.questions.common) and not any(one.common for one in self.exams)

    def summary(self) -> dict[str, Any]:
        """As JSON has it; `docs/diff.md` describes it."""
        return {"shares_nothing": self.shares_nothing, **asdict(self)}


def compare(a: Path, b: Path, shown: int = SHOWN) -> Diff:
    """The latest round that each run has built, and its latest exams.

    `shown` limits how many questions and problems of each kind are listed; all are counted. Raises `ConfigError` when a
    directory is no run, or one of its tables cannot be read.
    """
    first, second = sides.read(a), sides.read(b)
    old, new = kept.read(first), kept.read(second)
    return Diff(
        a=first.side,
        b=second.side,
        settings=settings.compare(first.run.config, second.run.config),
        questions=kept.compare(old, new, shown) if old and new else None,
        verdicts=judges.compare(old, new) if old and new else None,
        exams=exams.compare(first, second, shown),
    )
