"""What a run has to show at this moment, round by round, and under which name its index is kept.

A round's questions come from its tables once it is built, and from the journal until then. An index is named by the
files that it was made of, so one of other files is never taken for it.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from veridistill.data.rundir import RoundDir, RunDir, read_json
from veridistill.view.index import VERSION

Kind = Literal["questions", "exam"]


@dataclass(frozen=True, slots=True)
class Source:
    """The files of a list. `live`: from the journal, which grows. `index` is the name of the file that indexes it."""

    round: int
    kind: Kind
    files: tuple[Path, ...]
    live: bool
    index: str


@dataclass(frozen=True, slots=True)
class Models:
    """The fingerprints of those whose replies belong to a round; None where any may.

    `not_solving`: models of earlier rounds, which are known before those of a round that is still being built.
    """

    solving: str | None
    judging: str | None
    not_solving: frozenset[str] = frozenset()
    reasons: bool = False


def numbers(run: RunDir) -> list[int]:
    """The rounds that have begun, at least 1."""
    folders = [path.name for path in (run.path / "rounds").glob("*") if path.name.isdecimal()]
    return list(range(1, max(map(int, folders), default=1) + 1))


def questions(run: RunDir, number: int) -> Source:
    folder = run.round(number)
    files = tuple(folder.tables / f"{name}.parquet" for name in ("seeds", "candidates", "votes"))
    if folder.built and (name := _name(number, "questions", files)):
        return Source(number, "questions", files, False, name)
    return Source(number, "questions", (run.journal,), True, f"{number}-questions-{VERSION}-live.sqlite")


def exam(run: RunDir, number: int) -> Source | None:
    """The exam before training, which is the first round's, and that after; None where there is neither."""
    files = [path for path in (base_exam(run), after_exam(run.round(number))) if path.is_file()]
    problems = [run.round(one).tables / "problems.parquet" for one in dict.fromkeys((1, number))]
    files += [path for path in problems if path.is_file()]
    name = _name(number, "exam", tuple(files))
    return Source(number, "exam", tuple(files), False, name) if len(files) > 1 and name else None


def base_exam(run: RunDir) -> Path:
    return run.round(1).tables / "exam_base.parquet"


def after_exam(folder: RoundDir) -> Path:
    return folder.tables / "exam_after.parquet"


def sources(run: RunDir) -> list[Source]:
    found: list[Source] = []
    for number in numbers(run):
        found.append(questions(run, number))
        if (one := exam(run, number)) is not None:
            found.append(one)
    return found


def models(run: RunDir, number: int) -> Models:
    known = results(run).get("rounds") or []
    if number <= len(known) and known[number - 1].get("model"):
        entry = known[number - 1]
        return Models(entry["model"], entry["judge"]["model"], reasons=bool(entry["judge"]["reasons"]))
    earlier = frozenset(entry["model"] for entry in known[: number - 1] if entry.get("model"))
    own = [entry["judge"] for entry in known[: number - 1] if entry.get("judge")]
    return Models(None, None, earlier, bool(own and own[-1]["reasons"]))


def results(run: RunDir) -> dict[str, Any]:
    """`results.json`, empty where it cannot be read."""
    try:
        return read_json(run.results)
    except (OSError, ValueError, AssertionError):
        return {}


def _name(number: int, kind: Kind, files: tuple[Path, ...]) -> str | None:
    """None where a file is missing, as for a moment while a build replaces its tables."""
    try:
        stats = [(str(path.absolute()), os.stat(path)) for path in files]
    except OSError:
        return None
    stamp = repr([(path, one.st_size, one.st_mtime_ns, one.st_ino) for path, one in stats])
    digest = hashlib.blake2b(stamp.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return f"{number}-{kind}-{VERSION}-{digest}.sqlite"
