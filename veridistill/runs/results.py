"""`results.json`: one object a program can read, kept up to date as the steps of a run end.

Its content is described in `docs/evaluation.md`. Each function merges the figures of one step into the file, which is
replaced atomically. `figures` computes them.
"""

import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib import metadata
from typing import Any, Literal

import veridistill
from veridistill.calls.journal import Usage
from veridistill.calls.meter import Meter
from veridistill.data import tables
from veridistill.data.rundir import RunDir, read_json, write_json
from veridistill.engines.base import EngineStats
from veridistill.errors import QualityLimit
from veridistill.records import Attempt, Problem
from veridistill.runs import cost, figures
from veridistill.training.job import TrainResult

Status = Literal["running", "complete", "incomplete", "below_quality"]
_LIBRARIES = ("torch", "transformers", "trl", "vllm", "ray")


def read(run: RunDir) -> dict[str, Any]:
    return read_json(run.results)


def start(run: RunDir) -> None:
    """Describe this process; the figures of earlier processes on this run stay until they are replaced."""
    data: dict[str, Any] = {
        "version": veridistill.__version__,
        "status": "running",
        "base": None,
        "after": None,
        "gain": None,
        "gains": None,
        "ttc": None,
        "funnel": None,
        "domains": None,
        "outcomes": None,
        "votes": None,
        "audit": None,
        "canaries": None,
        "stopped_early": None,
        "calls": {"total": 0},
        "tokens": {"prompt": 0, "completion": 0, "cancelled": 0, "unneeded": 0, "by_role": {}},
        "control_tokens": 0,
        "cost": None,
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
    """The existing object, or a new one, with this process's settings and versions."""
    if not run.results.is_file():
        start(run)
    _merge(run, config=run.config.model_dump(mode="json"), versions=_versions())


@contextmanager
def step(run: RunDir, done: Status | None = None) -> Iterator[None]:
    """Keep `status` correct however the block ends; after a single step (`done` None) it is as it was before."""
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
    data = read(run)
    found = figures.of_usage(list(usage), data.get("tokens", {}), stats, meter)
    _merge(
        run,
        **found,
        cost=cost.of_tokens(run.config.cost, found["tokens"]),
        control_tokens=data.get("control_tokens", 0) + stats.control_tokens,
    )


def add_build(run: RunDir, number: int, built: figures.Built) -> None:
    """A round's counts; the top level shows the latest round.

    A trained model is never trained again, so while the round's model exists, the figures of its training, its exam
    and the later rounds stay. An earlier round whose figures were lost is an empty entry.
    """
    found = figures.of_round(built)
    data = read(run)
    earlier, (old, *later) = data["rounds"][: number - 1], data["rounds"][number - 1 :] or [{}]
    earlier += [{}] * (number - 1 - len(earlier))
    if run.round(number).model.exists():
        found |= {name: old[name] for name in ("training", "after") if name in old}
    else:
        later = []
    rounds = [*earlier, found, *later]
    names = data["fingerprints"] | ({"base": built.engine.fingerprint} if number == 1 else {})
    top = {name: rounds[-1][name] for name in ("funnel", "domains", "outcomes", "votes", "audit", "canaries")}
    _merge(run, rounds=rounds, fingerprints=names, warnings=[], stopped_early=None, **top)


def add_stop(run: RunDir, found: dict[str, Any]) -> None:
    """A build that was stopped after its first questions."""
    _merge(run, stopped_early=found)


def add_training(run: RunDir, number: int, trained: TrainResult) -> None:
    rounds = read(run)["rounds"]
    rounds[number - 1]["training"] = {
        name: value for name, value in asdict(trained).items() if name != "losses"
    }
    _merge(run, rounds=rounds)


def add_exam(run: RunDir, which: str, number: int, fingerprint: str) -> None:
    """`base` or `after` from the attempts' table, and the paired gains once both exist.

    The top level keeps the exam of the latest round, even when that of an earlier one is written again.
    """
    data = read(run)
    attempts, problems = _attempts(run, number, which), _problems(run, number)
    found = figures.of_exam(attempts, problems)
    update = {which: found, "fingerprints": data["fingerprints"] | {which: fingerprint}}
    if which == "after":
        if len(data["rounds"]) >= number:
            data["rounds"][number - 1]["after"] = found
        if any("after" in later for later in data["rounds"][number:]):
            update = {}
        else:
            update |= figures.gains(
                _attempts(run, 1, "base"), attempts, {p.benchmark: p.domain for p in problems}
            )
        update["rounds"] = data["rounds"]
    _merge(run, **update)


def add_ttc(run: RunDir, which: str, found: dict[str, Any]) -> None:
    """The figures of the cascade at test time and its baselines."""
    _merge(run, ttc=(read(run)["ttc"] or {}) | {which: found})


def _attempts(run: RunDir, number: int, which: str) -> list[Attempt]:
    path = run.round(number).tables / f"exam_{which}.parquet"
    return list(tables.ATTEMPTS.read(path, without=["response"]))


def _problems(run: RunDir, number: int) -> list[Problem]:
    path = run.round(number).tables / "problems.parquet"
    return list(tables.PROBLEMS.read(path, without=["tests"]))


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
