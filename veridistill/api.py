"""Whole runs from Python: `veridistill.run(model=..., seeds=..., out=...)` gives a `Result`.

Each call works in a thread with an event loop of its own, so a notebook, whose loop is running already, can make it.
An interrupt stops it as Ctrl-C stops the command, and the same call resumes. The steps are `runs.pipeline`'s.
"""

import asyncio
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.config import ALIASES
from veridistill.data.meanings import TABLES
from veridistill.data.rundir import (
    RunDir,
    chosen_config,
    forked_journals,
    opened,
    read_json,
    stored_config,
    write_atomically,
)
from veridistill.data.seeds.files import HUB
from veridistill.errors import ConfigError, Incomplete
from veridistill.report.progress import Progress
from veridistill.report.screens import Show
from veridistill.runs import pipeline
from veridistill.runs.session import Session

Question = str | Mapping[str, Any]
Seeds = str | Path | Iterable[str | Path | Mapping[str, Any]] | Any
"""A path or several; questions, as texts or as rows; or a table of pandas, Arrow or datasets."""
Step = Callable[[Session], Awaitable[Any]]

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv")


@dataclass(frozen=True)
class Result:
    """A run as its directory has it now; `Result("runs/demo")` opens any run.

    `data` is `results.json` (docs/evaluation.md). `gain` is the paired difference before and after with its interval,
    in points, None without both exams.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        stored_config(self.path)

    @property
    def data(self) -> dict[str, Any]:
        return read_json(self._run.results)

    @property
    def status(self) -> str:
        return str(self.data.get("status", "not started"))

    @property
    def gain(self) -> dict[str, Any] | None:
        return self.data.get("gain")

    @property
    def rounds(self) -> int:
        """How many rounds are built."""
        numbers = range(1, self._run.config.rounds + 1)
        return max((number for number in numbers if self._run.round(number).built), default=0)

    @property
    def report(self) -> Path:
        return self._run.report

    @property
    def dataset(self) -> Path:
        """The latest round's folder with `examples.parquet` and `train.jsonl`."""
        return self._run.round(max(self.rounds, 1)).dataset

    @property
    def model(self) -> Path | None:
        """The model that was trained last."""
        numbers = range(self._run.config.rounds, 0, -1)
        return next((m for number in numbers if (m := self._run.round(number).model).is_dir()), None)

    def table(self, name: str, round: int | None = None) -> Any:
        """A table of docs/tables.md as a `pyarrow.Table`, such as "candidates" or "exam_after"; `.to_pandas()` follows.

        Of `round`, or of the latest that has it. Raises `ConfigError` when there is none.
        """
        import pyarrow.parquet as pq

        numbers = [round] if round is not None else range(self._run.config.rounds, 0, -1)
        for number in numbers:
            folder = self._run.round(number)
            path = folder.examples if name == "examples" else folder.tables / f"{name}.parquet"
            if path.is_file():
                return pq.read_table(path)
        known = [*(one for one in TABLES if one != "attempts"), "exam_base", "exam_after"]
        raise ConfigError(
            f"{self.path}: has no table {name}; tables are {', '.join(known)}, once they are made"
        )

    @property
    def _run(self) -> RunDir:
        return RunDir(self.path, stored_config(self.path))

    def __repr__(self) -> str:
        words = [self.status]
        if self.gain:
            words.append(f"gain {self.gain['mean']:+.1f} points")
        if funnel := self.data.get("funnel"):
            words.append(f"{funnel['kept']:,} kept of {funnel['seeds']:,} questions")
        return f"Result({str(self.path)!r}: {', '.join(words)})"


def run(
    model: str | Path | None = None,
    seeds: Seeds = None,
    out: str | Path = "runs/default",
    *,
    config: str | Path | None = None,
    fork: str | Path | None = None,
    progress: Show = "auto",
    **settings: Any,
) -> Result:
    """Build, train, evaluate and report, as `veridistill run`; the same call resumes a run that was stopped.

    `seeds`: paths, or questions themselves (texts, rows, a table). `config`: a preset or a YAML file;
    without one the run's own, else the defaults if a model is named, else the lab's. `fork`: the run whose
    replies a new run in `out` reuses.
    `settings`: any field, as `judge={"votes": 3}`, `**{"judge.votes": 3}`, or by the name of its option (`n=8`, `k=4`).
    Raises `VeridistillError`, and KeyboardInterrupt once a stopped run is closed.
    """
    return _done(pipeline.run, model, seeds, out, config, fork, progress, settings)


def build(
    model: str | Path | None = None,
    seeds: Seeds = None,
    out: str | Path = "runs/default",
    *,
    config: str | Path | None = None,
    fork: str | Path | None = None,
    progress: Show = "auto",
    **settings: Any,
) -> Result:
    """Distil the seed questions into a training dataset, as `veridistill build`; arguments are those of `run`."""
    return _done(pipeline.build_step, model, seeds, out, config, fork, progress, settings)


def evaluate(
    model: str | Path | None = None,
    out: str | Path = "runs/default",
    *,
    config: str | Path | None = None,
    progress: Show = "auto",
    **settings: Any,
) -> Result:
    """Measure pass@1, as `veridistill evaluate`; name `problems` or `benchmarks`. Arguments are those of `run`."""
    return _done(pipeline.evaluate_step, model, None, out, config, None, progress, settings)


def _done(
    step: Step,
    model: str | Path | None,
    seeds: Seeds,
    out: str | Path,
    config: str | Path | None,
    fork: str | Path | None,
    progress: Show,
    settings: Mapping[str, Any],
) -> Result:
    folder = Path(out)
    given = _given(seeds, folder)
    named = {"model": model, "seeds": given.path, **settings}
    fields = _flat({name: value for name, value in named.items() if value is not None})
    overrides = [f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in fields]
    chosen = chosen_config(config, folder, overrides)
    with opened(folder, chosen, forked_journals(Path(fork)) if fork is not None else ()) as run_dir:
        if given.text is not None:
            write_atomically(Path(str(given.path)), given.text)
        with Progress(run_dir.path, progress) as shown:
            _in_thread(Session(run_dir, shown), step)
    return Result(folder)


# --- settings -------------------------------------------------------------------------------------------------


def _flat(named: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Settings by dotted name. Short names stand for fields at the top alone."""
    for name, value in named.items():
        field = f"{prefix}{name}" if prefix or isinstance(value, Mapping) else ALIASES.get(name, name)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{field}.")
        else:
            yield field, list(value) if isinstance(value, tuple) else value


# --- seeds ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Given:
    """What `seeds.path` is set to, and the text of a file that must first be written there."""

    path: Any = None
    text: str | None = None


def _given(seeds: Seeds, out: Path) -> _Given:
    """Paths as they are; questions as a file in the run, named by its content: other questions are other seeds."""
    if seeds is None or isinstance(seeds, str | Path):
        return _Given(None if seeds is None else str(seeds))
    if isinstance(seeds, Mapping) and "path" in seeds:
        return _Given(seeds)  # the section itself
    listed = _rows(seeds)
    paths = [one for one in listed if isinstance(one, Path) or (isinstance(one, str) and _is_path(one))]
    if listed and len(paths) == len(listed):
        return _Given([str(path) for path in paths])
    if paths or not listed:
        found = f"a path, {paths[0]}, among questions" if paths else "nothing"
        raise ConfigError(f"seeds: must be paths, or questions (texts or rows); found {found}")
    rows = [one if isinstance(one, Mapping) else {"question": one} for one in listed]
    text = "".join(json.dumps(dict(row), ensure_ascii=False, default=str) + "\n" for row in rows)
    name = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return _Given(str(out / f"seeds-{name}.jsonl"), text)


def _rows(seeds: Any) -> list[Any]:
    """The rows of a table (Arrow, datasets, Polars, pandas), or the items of a list."""
    for method in ("to_pylist", "to_list", "to_dicts"):
        if hasattr(seeds, method):
            return list(getattr(seeds, method)())
    if hasattr(seeds, "to_json") and hasattr(
        seeds, "columns"
    ):  # pandas, whose own numbers JSON does not know
        return list(json.loads(seeds.to_json(orient="records")))
    return list(seeds)


def _is_path(text: str) -> bool:
    """Whether a text in a list names a file: questions have spaces, or no suffix of a file of questions."""
    return text.startswith(HUB) or (text.lower().endswith(_SUFFIXES) and not any(map(str.isspace, text)))


# --- the thread -----------------------------------------------------------------------------------------------


class _Work(threading.Thread):
    """Runs a step to its end. `stop` may be called from another thread: first gently, then at once."""

    def __init__(self, session: Session, step: Step) -> None:
        super().__init__(name="veridistill", daemon=True)
        self.error: BaseException | None = None
        # Not `join`: in Python 3.11 one that is interrupted takes the thread for ended.
        self.ended = threading.Event()
        self._session, self._step = session, step
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._asked = 0
        self.start()

    def run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # raised again where the call was made
            self.error = error
        finally:
            self.ended.set()

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._asked:
            return
        await self._step(self._session)

    def stop(self) -> None:
        self._asked += 1
        if self._loop is not None and not self.ended.is_set():
            self._loop.call_soon_threadsafe(self._cancel, self._asked)

    def _cancel(self, times: int) -> None:
        assert self._task is not None
        if times == 1 and self._session.gate is not None:
            self._session.gate.drain(self._task.cancel)
        else:
            self._task.cancel()


def _in_thread(session: Session, step: Step) -> None:
    """Run a step in a thread and wait for it. An interrupt waits for the running calls, a second one does not."""
    work, interrupts = _Work(session, step), 0
    while not work.ended.is_set():
        try:
            work.ended.wait()
        except KeyboardInterrupt:
            interrupts += 1
            work.stop()
    work.join()
    if interrupts:
        raise KeyboardInterrupt("stopped; the same call resumes the run") from None
    if isinstance(work.error, asyncio.CancelledError):
        raise Incomplete("the run was cancelled; the same call resumes it") from None
    if work.error is not None:
        raise work.error
