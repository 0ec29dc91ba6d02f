"""One of the two runs: where it stands, what it cost, and which of its rounds is compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.data.rundir import RoundDir, RunDir, forked_journals, read_json, stored_config
from veridistill.report.values import number, part


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run asked itself; replies that it took from the runs that it was forked from are not among it.

    `accepted_per_million`: accepted candidates of the compared round per million tokens of building it alone, as far as
    all tokens but the exams' are those of one round; None for several rounds.
    """

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cancelled_tokens: int
    seconds: float
    accepted_per_million: float | None


@dataclass(frozen=True, slots=True)
class Side:
    """A run. `round`: the latest one that is built, None without any; `funnel`, `outcomes`: its counts.

    `forked`: how many other runs' replies it reads. `shard`: the part of the questions that it has.
    """

    run: str
    status: str
    version: str
    round: int | None
    shard: str | None
    forked: int
    fingerprints: Mapping[str, str]
    funnel: Mapping[str, Any] | None
    outcomes: Mapping[str, int] | None
    cost: Cost | None
    gain: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Found:
    """A run as the comparison reads it: its side, its directory, the folder of the compared round."""

    side: Side
    run: RunDir
    folder: RoundDir | None


def read(path: Path) -> Found:
    """Raises `ConfigError` when there is no run."""
    run = RunDir(path, stored_config(path))
    results = read_json(run.results)
    built = [number for number in _rounds(run) if run.round(number).built]
    latest = built[-1] if built else None
    rounds = results.get("rounds") or []
    counted = rounds[latest - 1] if latest is not None and len(rounds) >= latest else {}
    side = Side(
        run=str(path),
        status=str(results.get("status", "not started")),
        version=str(results.get("version", "")),
        round=latest,
        shard=run.config.seeds.shard,
        forked=len(forked_journals(path)) - 1,
        fingerprints=results.get("fingerprints") or {},
        funnel=part(counted, "funnel"),
        outcomes=part(counted, "outcomes"),
        cost=_cost(results, counted, len(rounds)) if results else None,
        gain=results.get("gain"),
    )
    return Found(side, run, None if latest is None else run.round(latest))


def exam(found: Found, which: str) -> RoundDir | None:
    """The folder of the latest round that has the exam "base" or "after"."""
    folders = [found.run.round(number) for number in _rounds(found.run)]
    return next((f for f in reversed(folders) if (f.tables / f"exam_{which}.parquet").is_file()), None)


def _rounds(run: RunDir) -> list[int]:
    """The numbers of the rounds that have a folder."""
    return sorted(int(folder.name) for folder in (run.path / "rounds").glob("[0-9]*"))


def _cost(results: Mapping[str, Any], counted: Mapping[str, Any], num_rounds: int) -> Cost:
    prompt, completion = (int(part(results, "tokens", name) or 0) for name in ("prompt", "completion"))
    exams = part(results, "tokens", "by_role", "exam")
    building = prompt + completion - sum(int(part(exams, name) or 0) for name in ("prompt", "completion"))
    accepted = number(part(counted, "outcomes", "accepted"))
    known = accepted is not None and building > 0 and num_rounds == 1
    return Cost(
        calls=int(part(results, "calls", "total") or 0),
        prompt_tokens=prompt,
        completion_tokens=completion,
        cancelled_tokens=int(part(results, "tokens", "cancelled") or 0),
        seconds=sum(number(value) or 0.0 for value in (results.get("seconds") or {}).values()),
        accepted_per_million=1e6 * (accepted or 0.0) / building if known else None,
    )
