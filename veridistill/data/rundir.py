"""A run is a directory: the paths of its files, its lock, and the rule by which it may be resumed.

`config.yaml` holds the resolved configuration, `layout` which version made the run. The same command resumes a run. A
change of an *identity* field is refused with the differences, since it would mix two experiments; a fork is a new run
that reads the old journal.
"""

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import veridistill
from veridistill.config import Config, config_file, dump, identity_differences, load, load_known
from veridistill.data import layout
from veridistill.errors import ConfigError, RunLocked


@dataclass(frozen=True, slots=True)
class RoundDir:
    """The files of one round; `model` appears by an atomic rename once training is done."""

    path: Path

    @property
    def tables(self) -> Path:
        return self.path / "tables"

    @property
    def dataset(self) -> Path:
        return self.path / "dataset"

    @property
    def train(self) -> Path:
        return self.path / "train"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def examples(self) -> Path:
        return self.dataset / "examples.parquet"

    @property
    def built(self) -> bool:
        """Whether the tables and the dataset of a build are complete: `examples` appears last."""
        return self.examples.is_file()


@dataclass(frozen=True, slots=True)
class RunDir:
    """The files of a run. `older`: the journals of the runs that it is forked from."""

    path: Path
    config: Config
    older: tuple[Path, ...] = ()

    @property
    def journal(self) -> Path:
        return journal_path(self.path, self.config)

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def overlaps(self) -> Path:
        """Seed questions that overlap with benchmarks or one another."""
        return self.path / "overlaps.jsonl"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def round(self, number: int) -> RoundDir:
        return RoundDir(self.path / "rounds" / str(number))


def journal_path(path: Path, config: Config) -> Path:
    return path / (config.journal.path or "journal.sqlite")


def stored_config(path: Path) -> Config:
    """The configuration of an existing run, to read what it left: fields that this version does not have are left out.

    Raises `ConfigError` when there is none, or a later version made the run.
    """
    if not (path / "config.yaml").is_file():
        raise ConfigError(
            f"{path}: not a run directory (no config.yaml); start one with veridistill run --out {path}"
        )
    layout.readable(path)
    return load_known(path / "config.yaml")


def resumed_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a run that goes on, with overrides.

    Raises `ConfigError` when this version would do something else than the one that made the run: its settings say
    what this one does not know.
    """
    stored, made_by = path / "config.yaml", layout.readable(path)
    try:
        load(stored)
    except ConfigError as error:
        if made_by.version == veridistill.__version__:
            raise
        exactly = (
            f"pip install 'veridistill=={made_by.version}'"
            if made_by.version
            else "use the version that made it"
        )
        raise ConfigError(
            f"{error}\n{path}: made by {made_by.maker}; veridistill {veridistill.__version__} cannot go on with these"
            f" settings. To go on: {exactly}. What it holds can be read as it is: status, report, audit, and the"
            " tables in rounds/"
        ) from None
    return load(stored, overrides)


def chosen_config(named: str | Path | None, path: Path, overrides: Sequence[str] = ()) -> Config:
    """What a command goes by: the named file or preset; else that of the run at `path`; else the defaults if a model is
    named; else the preset `lab`.
    """
    if named is None and (path / "config.yaml").is_file():
        return resumed_config(path, overrides)
    if named is None and names_a_model(overrides):
        return load(None, overrides)
    return load(config_file(named or "lab"), overrides)


def names_a_model(overrides: Sequence[str]) -> bool:
    return any(override.startswith("model") for override in overrides)


@contextmanager
def opened(path: Path, config: Config, older: tuple[Path, ...] = ()) -> Iterator[RunDir]:
    """Create or resume the run at `path`, locked for this process.

    When a `ConfigError` ends the block before anything was asked, a new directory is removed again, and an
    existing one is as empty as before.

    Raises `RunLocked` when another process holds it and `ConfigError` when it cannot be written or an identity field
    of `config` differs from the stored one.
    """
    try:
        made = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        fresh = not any(path.iterdir())
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be used as a run directory ({error.strerror}); name another --out"
        ) from None
    try:
        _hold(lock, f"{path}: in use by another process; wait for it, or name another --out")
        yield _checked(path, config, older)
    except ConfigError:
        if fresh and not _begun(path):
            with suppress(OSError):
                _empty(path)  # nothing was asked, so nothing is lost
                if made:
                    path.rmdir()
        raise
    finally:
        os.close(lock)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from working on the existing run at `path`. Raises `RunLocked` when one does."""
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _hold(lock, f"{path}: in use by another process; wait for it to end")
        yield
    finally:
        os.close(lock)


def _hold(lock: int, otherwise: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunLocked(otherwise) from None


def _checked(path: Path, config: Config, older: tuple[Path, ...]) -> RunDir:
    stored = path / "config.yaml"
    if _begun(path) and (differences := _differences(path, resumed_config(path), config)):
        listed = "\n  ".join(differences)
        if all(line.startswith("evaluation.") for line in differences):
            raise ConfigError(
                f"{path}: this run was evaluated with other settings; use the same ones, or evaluate in a new directory"
                f" with veridistill evaluate --model MODEL --out NEW:\n  {listed}"
            )
        raise ConfigError(
            f"{path}: holds a run with other settings; resume it with the same ones, or start a new run that reuses its"
            f" replies, with --fork NEW:\n  {listed}"
        )
    forks = path / "forks.json"
    if (own := journal_path(path, config)).absolute() in [journal.absolute() for journal in older]:
        raise ConfigError(
            f"journal.path: {own} belongs to the run that is forked; give the new one its own with -o journal.path="
        )
    if older and not forks.is_file():
        write_atomically(forks, json.dumps([str(journal.absolute()) for journal in older]))
    write_atomically(stored, dump(config))
    if not (path / layout.FILE).is_file():
        write_atomically(path / layout.FILE, layout.text())
    return RunDir(
        path, config, tuple(Path(p) for p in json.loads(forks.read_text())) if forks.is_file() else ()
    )


def _differences(path: Path, old: Config, new: Config) -> list[str]:
    """The identity fields that differ and may not; those of `evaluation` may change until the first evaluation.

    `build.target` may change until a model is trained, since that is never trained again.
    """
    evaluated = any(path.glob("rounds/*/tables/exam_*.parquet"))
    found = [
        line for line in identity_differences(old, new) if evaluated or not line.startswith("evaluation.")
    ]
    if old.build.target != new.build.target and any(path.glob("rounds/*/model")):
        found.append(f"build.target: {old.build.target} -> {new.build.target} (a model is trained already)")
    return found


def _begun(path: Path) -> bool:
    """Whether anything was asked: until then settings may still be corrected, such as a mistyped path."""
    stored = path / "config.yaml"
    if not stored.is_file():
        return False
    written = any(file.is_file() for file in (path / "rounds").rglob("*"))
    return written or _asked(journal_path(path, stored_config(path)))


def _asked(journal: Path) -> bool:
    """Whether a journal holds any call. A file that cannot be read as a journal counts as one that does."""
    if not journal.is_file():
        return journal.exists()
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute("SELECT 1 FROM replies LIMIT 1").fetchone() is not None
        except sqlite3.Error:
            return True


def _empty(path: Path) -> None:
    for child in path.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()


def forked_journals(path: Path) -> tuple[Path, ...]:
    """The journals that a fork of the run at `path` reads: the run's own, then those that it reads itself."""
    forks = path / "forks.json"
    older = [Path(p) for p in json.loads(forks.read_text())] if forks.is_file() else []
    return (journal_path(path, stored_config(path)), *older)


def write_atomically(path: Path, text: str) -> None:
    """Write the complete file or nothing: temporary name, fsync, rename."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty when the file does not exist."""
    if not path.is_file():
        return {}
    data = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data
