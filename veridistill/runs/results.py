"""`results.json`: one object a program can read, kept up to date as the steps of a run end.

What it holds is described in `docs/results.md`. Points are percentage points. Numbers are read off the tables, the
journal and the steps; nothing is computed here but sums and the exam's statistics.
"""

import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

import veridistill
from veridistill.calls.journal import Usage
from veridistill.calls.meter import Meter
from veridistill.data import tables
from veridistill.data.rundir import RunDir, read_json, write_json
from veridistill.data.seeds import Seeds
from veridistill.engines.base import Engine, EngineStats
from veridistill.errors import QualityLimit
from veridistill.evaluation import paired, statistics, ttc
from veridistill.records import Attempt, Problem
from veridistill.runs.canaries import Canaries
from veridistill.runs.funnel import Audit, Funnel
from veridistill.training.rows import Curation
from veridistill.training.sft import TrainResult

Status = Literal["running", "complete", "incomplete", "below_quality"]
OUTCOMES = ("accepted", "rejected", "malformed", "unjudged", "skipped")
_RATES = ("truncated", "no_answer", "refused", "ungraded")
_LIBRARIES = ("torch", "transformers", "trl", "vllm", "ray")


def read(run: RunDir) -> dict[str, Any]:
    return read_json(run.results)


def start(run: RunDir) -> None:
    """What this process is; the figures of earlier processes on this run stand until they are replaced."""
    data: dict[str, Any] = {
        "version": veridistill.__version__,
        "status": "running",
        "base": None,
        "after": None,
        "gain": None,
        "gains": None,
        "ttc": None,
        "funnel": None,
        "outcomes": None,
        "votes": None,
        "audit": None,
        "canaries": None,
        "calls": {"total": 0},
        "tokens": {"prompt": 0, "completion": 0, "cancelled": 0, "unneeded": 0, "by_role": {}},
        "control_tokens": 0,
        "seconds": {},
        "rounds": [],
        "warnings": [],
        "config": run.config.model_dump(mode="json"),
        "versions": _versions(),
        "fingerprints": {},
    }
    own = ("version", "status", "warnings", "config", "versions")
    old = {name: value for name, value in read(run).items() if name not in own}
    write_json(run.results, data | old)


def begin(run: RunDir) -> None:
    """A fresh object, or the one that is there with this process's settings and versions."""
    if not run.results.is_file():
        start(run)
    _merge(run, config=run.config.model_dump(mode="json"), versions=_versions())


@contextmanager
def step(run: RunDir, done: Status | None = None) -> Iterator[None]:
    """Keep `status` true, however the block ends; a single step (`done` None) leaves a run as complete as it was."""
    begin(run)
    done = done or ("complete" if read(run)["status"] == "complete" else "incomplete")
    try:
        yield
        _merge(run, status=done)
    except BaseException as error:
        with suppress(OSError):  # a full disk must not take the place of the error
            _merge(run, status="below_quality" if isinstance(error, QualityLimit) else "incomplete")
        raise


def warn(run: RunDir, message: str) -> None:
    _merge(run, warnings=[*read(run).get("warnings", []), message])


def add_seconds(run: RunDir, step: str, seconds: float) -> None:
    known = read(run).get("seconds", {})
    _merge(run, seconds={**known, step: round(known.get(step, 0.0) + seconds, 3)})


def add_usage(run: RunDir, usage: Iterable[Usage], stats: EngineStats, meter: Meter) -> None:
    """Calls and tokens by role over the whole journal; `stats` of the engine that is about to close."""
    rows, old = list(usage), read(run).get("tokens", {})
    cancelled = old.get("cancelled", 0) + stats.cancelled_tokens
    unneeded = max(old.get("unneeded", 0), meter.unneeded_tokens)
    calls = {row.role: row.calls for row in rows}
    _merge(
        run,
        calls=calls | {"total": sum(calls.values()), "cancelled": sum(row.cancelled for row in rows)},
        tokens={
            "prompt": sum(row.prompt_tokens for row in rows),
            "completion": sum(row.completion_tokens for row in rows),
            "cancelled": cancelled,
            "unneeded": unneeded,
            "by_role": {
                row.role: {"prompt": row.prompt_tokens, "completion": row.completion_tokens} for row in rows
            },
        },
        control_tokens=read(run).get("control_tokens", 0) + stats.control_tokens,
    )


@dataclass(frozen=True, slots=True)
class Built:
    """What a build counted, and who answered."""

    seeds: Seeds
    funnel: Funnel
    audit: Audit
    canaries: Canaries
    curation: Curation
    engine: Engine
    judge: Engine


def add_build(run: RunDir, number: int, built: Built) -> None:
    """A round's counts; the top level shows the latest round."""
    found = _counts(built) | _who(built)
    data = read(run)
    later = data["rounds"][number - 1] if len(data["rounds"]) >= number else {}
    found |= {name: later[name] for name in ("training", "after") if name in later}
    rounds = [*data["rounds"][: number - 1], found]
    names = data["fingerprints"] | ({"base": built.engine.fingerprint} if number == 1 else {})
    top = {name: found[name] for name in ("funnel", "outcomes", "votes", "audit", "canaries")}
    _merge(run, rounds=rounds, fingerprints=names, warnings=[], **top)


def _counts(built: Built) -> dict[str, Any]:
    seeds, funnel, curation = built.seeds, built.funnel, built.curation
    return {
        "funnel": funnel.counts(),
        "outcomes": {name: funnel.outcomes[name] for name in OUTCOMES},
        "defects": dict(sorted(funnel.defects.items())),
        "votes": funnel.ballots(),
        "invalid_share": funnel.invalid_share,
        "audit": built.audit.summary(),
        "canaries": built.canaries.summary(),
        "questions_kept": funnel.questions_kept,
        "duplicate_seeds": seeds.num_duplicates,
        "near_duplicate_seeds": seeds.num_near_duplicates,
        "contaminated_seeds": seeds.num_contaminated,
        "examples": curation.examples,
        "dropped_examples": dict(curation.dropped),
    }


def _who(built: Built) -> dict[str, Any]:
    return {
        "model": built.engine.fingerprint,
        "reasons": built.engine.reasons,
        "stop_ids": list(built.engine.stop_ids),
        "judge": {"model": built.judge.fingerprint, "reasons": built.judge.reasons},
    }


def add_training(run: RunDir, number: int, trained: TrainResult) -> None:
    rounds = read(run)["rounds"]
    rounds[number - 1]["training"] = {
        name: value for name, value in asdict(trained).items() if name != "losses"
    }
    _merge(run, rounds=rounds)


def add_exam(run: RunDir, which: str, number: int, fingerprint: str) -> None:
    """`base` or `after` from the attempts' table, and the paired gains once both are there."""
    data = read(run)
    attempts, problems = _attempts(run, number, which), _problems(run, number)
    update = {
        which: exam_summary(attempts, problems),
        "fingerprints": data["fingerprints"] | {which: fingerprint},
    }
    if which == "after":
        update |= gains(_attempts(run, 1, "base"), attempts, {p.benchmark: p.domain for p in problems})
        data["rounds"][number - 1]["after"] = update[which]
        update["rounds"] = data["rounds"]
    _merge(run, **update)


def add_ttc(run: RunDir, which: str, found: dict[str, Any]) -> None:
    """What the cascade at test time and its baselines came to."""
    _merge(run, ttc=(read(run)["ttc"] or {}) | {which: found})


def _attempts(run: RunDir, number: int, which: str) -> list[Attempt]:
    path = run.round(number).tables / f"exam_{which}.parquet"
    return list(tables.ATTEMPTS.read(path, without=["response"]))


def _problems(run: RunDir, number: int) -> list[Problem]:
    path = run.round(number).tables / "problems.parquet"
    return list(tables.PROBLEMS.read(path, without=["tests"]))


def exam_summary(attempts: list[Attempt], problems: Iterable[Problem]) -> dict[str, Any]:
    """`statistics.describe` over all problems, and for each benchmark; answers vote by the form of their kind."""
    kinds = {(p.benchmark, p.problem_id): p.kind for p in problems}

    def described(found: list[Attempt]) -> dict[str, Any]:
        return asdict(
            statistics.describe(found, lambda a: ttc.form(kinds[a.benchmark, a.problem_id], a.answer))
        )

    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.benchmark, []).append(attempt)
    return described(attempts) | {"benchmarks": {name: described(group) for name, group in groups.items()}}


def gains(before: list[Attempt], after: list[Attempt], domains: dict[str, str]) -> dict[str, Any]:
    """`gain`: the paired difference over all problems; `gains`: those by benchmark and by domain."""
    found = paired.compare(before, after, domains).summary()
    return {"gain": found.pop("pooled"), "gains": found}


def _merge(run: RunDir, **parts: Any) -> None:
    write_json(run.results, read(run) | parts)


def _versions() -> dict[str, str]:
    found = {"veridistill": veridistill.__version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def summary_lines(data: dict[str, Any]) -> str:
    """What a run came to, for a terminal: a line for the whole, and one for each benchmark where there are several."""
    gain, base = data.get("gain"), data.get("base")
    if gain and base:
        lines = [f"pass@1 {_gain_line(gain)} x {base['samples']} samples"]
        apart = data["gains"]["benchmarks"]
        lines += [f"  {name}: {_gain_line(one)}" for name, one in apart.items() if one and len(apart) > 1]
        return "\n".join(lines)
    if not data.get("rounds"):
        return "nothing built yet"
    funnel, kept = data["funnel"], data["rounds"][-1]["questions_kept"]
    return f"{funnel['kept']} candidates kept, of {kept} of {funnel['seeds']} questions; no exam"


def exam_lines(data: dict[str, Any]) -> str:
    """What exams came to, for a terminal: models, benchmarks, the gain, and the cascade at test time."""
    lines = []
    for which in ("base", "after"):
        if found := data.get(which):
            apart = found["benchmarks"]
            lines.append(f"{which:6} {_exam_line(found)}")
            lines += [f"  {name}: {_exam_line(one)}" for name, one in apart.items() if len(apart) > 1]
    if data.get("gain"):
        lines.append(summary_lines(data))
    for which, found in (data.get("ttc") or {}).items():
        lines += [f"at test time, {which}:", ttc.table(found)]
    return "\n".join(lines)


def _exam_line(found: dict[str, Any]) -> str:
    if found["pass_at_1"] is None:
        return "pass@1 unknown: no sample could be graded"
    error = "" if found["se"] is None else f" (standard error {found['se']:.1f})"
    rates = ", ".join(
        f"{found[name]:.1f} % {name.replace('_', ' ')}"
        for name in _RATES
        if found[name] or name == "truncated"
    )
    size = f"{found['num_problems']} problems x {found['samples']} samples"
    return f"pass@1 {found['pass_at_1']:.1f}{error}, {size}; {rates}"


def _gain_line(gain: dict[str, Any]) -> str:
    few = gain["low"] is None
    interval = (
        "too few problems for an interval"
        if few
        else f"95 % interval [{gain['low']:+.1f}, {gain['high']:+.1f}]"
    )
    return (
        f"{gain['before']:.1f} -> {gain['after']:.1f}: gain {gain['mean']:+.1f} points, {interval},"
        f" {gain['num_problems']} problems"
    )
