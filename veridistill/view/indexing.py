"""Keeps the indexes of a run up to date, in a thread of its own; pages read what there is so far.

One viewer of a run writes; another one that is opened meanwhile waits for it. Indexes lie in `RUN/view`, or, where that
cannot be written, in the user's cache. An index of files that are no longer there is removed.
"""

import fcntl
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from veridistill.data.rundir import RunDir
from veridistill.errors import VeridistillError
from veridistill.records import Seed
from veridistill.view import asked, built, exams, rounds
from veridistill.view.index import Writer
from veridistill.view.items import Text
from veridistill.view.rounds import Source

BATCH = 1_000
"""Entries in a transaction, after which they can be read."""
REPLIES = 2_000
"""Replies of the journal that are looked at in one go."""
PAUSE = 1.0
"""Seconds between two looks at the run."""

T = TypeVar("T")


def folder(run: RunDir) -> Path:
    """Where a run's indexes lie."""
    own = run.path / "view"
    with suppress(OSError):
        own.mkdir(exist_ok=True)
    if os.access(own, os.W_OK | os.X_OK):
        return own
    name = hashlib.blake2b(os.fsencode(run.path.absolute()), digest_size=8).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = cache / "veridistill" / "view" / name
    found.mkdir(parents=True, exist_ok=True)
    return found


class Indexer:
    """`start` begins, `stop` ends after the transaction at hand. `error` says why an index could not be made."""

    def __init__(self, run: RunDir) -> None:
        self.run, self.folder, self.error = run, folder(run), ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="view-index", daemon=True)
        self._seeds: Mapping[str, tuple[int, Seed]] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def path(self, source: Source) -> Path:
        return self.folder / source.index

    def seeds(self) -> Mapping[str, tuple[int, Seed]]:
        """`asked.known_seeds`, read once: their files may be large. A run that is starting may not have them yet."""
        self._seeds = self._seeds or asked.known_seeds(self.run)
        return self._seeds

    def update(self) -> None:
        """Bring all indexes up to date, once. Raises `VeridistillError`, `OSError` and `sqlite3.Error`."""
        wanted = rounds.sources(self.run)
        self._remove_all_but({source.index for source in wanted})
        for source in wanted:
            with closing(Writer(self.path(source))) as writer:
                if source.live:
                    self._follow(source, writer)
                elif not writer.state("complete"):
                    self._build(source, writer)

    def _loop(self) -> None:
        with (self.folder / "lock").open("w") as lock:
            while not self._stopping.is_set():
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.update()
                    self.error = ""
                except BlockingIOError:
                    pass  # another viewer of this run keeps the indexes
                except (VeridistillError, OSError, sqlite3.Error) as error:
                    # A build that replaces its tables at this moment; what lasts is shown on the pages.
                    self.error = str(error)
                self._stopping.wait(PAUSE)

    def _build(self, source: Source, writer: Writer) -> None:
        if source.kind == "exam":
            self._build_exam(source, writer)
            return
        done = writer.state("done")
        states = {"total": built.total(source.files)}
        for batch in self._batches(islice(built.entries(source.files), done, None)):
            done += len(batch)
            texts = [text for entry in batch for text in entry.texts]
            writer.write([entry.item for entry in batch], texts, **states, done=done)
        self._finish(writer)

    def _build_exam(self, source: Source, writer: Writer) -> None:
        """Entries are few, and texts long; an exam whose texts were cut off is begun again under the same numbers."""
        items = list(exams.entries(source.files))
        writer.write(items, (), total=len(items), done=len(items))
        numbers = {item.key: item.no for item in items}
        told = writer.state("told")
        for batch in self._batches(islice(exams.texts(source.files, numbers), told, None)):
            told += len(batch)
            writer.write((), batch, told=told)
        self._finish(writer)

    def _finish(self, writer: Writer) -> None:
        if not self._stopping.is_set():
            writer.optimize()
            writer.write((), (), complete=1)

    def _batches(self, entries: Iterable[T]) -> Iterator[list[T]]:
        """Until there are no more, or the viewer stops."""
        iterator = iter(entries)
        while not self._stopping.is_set() and (batch := list(islice(iterator, BATCH))):
            yield batch

    def _follow(self, source: Source, writer: Writer) -> None:
        """Look at the replies that are new in the journal, and at the questions that they belong to."""
        journal = self.run.journal
        if not journal.is_file():
            return
        models = rounds.models(self.run, source.round)
        while not self._stopping.is_set():
            seen = writer.state("seen")
            last, units = _new_units(journal, seen)
            if last == seen:
                return
            found = asked.entries(self.run, self._numbers(units, writer), self.seeds(), models)
            texts = [text for entry in found for text in entry.texts]
            writer.write([entry.item for entry in found], _new_texts(writer, texts), seen=last)

    def _numbers(self, units: Iterable[str], writer: Writer) -> dict[str, int]:
        """Questions by their place among the seeds; others after them, as they come."""
        seeds = self.seeds()
        numbers: dict[str, int] = {}
        extra = writer.state("extra")
        for unit in units:
            known = writer.find(unit)
            if unit in seeds:
                numbers[unit] = seeds[unit][0]
            elif known is not None:
                numbers[unit] = known.no
            else:
                extra += 1
                numbers[unit] = len(seeds) + extra
        writer.write((), (), extra=extra)
        return numbers

    def _remove_all_but(self, names: set[str]) -> None:
        for path in self.folder.glob("*-*-*.sqlite*"):
            if path.name.partition(".sqlite")[0] + ".sqlite" not in names:
                path.unlink(missing_ok=True)


def _new_units(journal: Path, seen: int) -> tuple[int, list[str]]:
    """The last of some new replies, and the questions that they are about. The transaction lasts for this one query."""
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT rowid, unit, role FROM replies WHERE rowid > ? ORDER BY rowid LIMIT ?", (seen, REPLIES)
        ).fetchall()
    last = rows[-1][0] if rows else seen
    return last, list(dict.fromkeys(unit for _, unit, role in rows if role != "exam"))


def _new_texts(writer: Writer, texts: list[Text]) -> list[Text]:
    """Those that are not searchable yet: a sampled text never changes."""
    return [text for text in texts if not writer.has_text(text)]
