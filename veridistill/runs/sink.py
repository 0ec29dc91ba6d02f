"""Writes what a build found: tables for people, examples for training, each question in its place.

While a question waits for an earlier one, memory holds its verdicts alone. Candidates' texts and token ids are read
from the journal again when their rows are written, so one slow question behind which thousands have ended costs little.
Rows are written in a thread of their own: compressing a row group must not hold up the event loop.

The files belong together, so a set is never mixed: those of an earlier build are removed before the first of the new
ones gets its name, and `examples.parquet`, last to get its name and first to lose it, says that the set is whole
(`RoundDir.built`). A kill leaves the old set, the new one, or one without examples; to build again costs no call.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from veridistill.data import tables
from veridistill.data.parquet import Writer, sync_directory
from veridistill.data.rundir import RoundDir
from veridistill.method import generate, solve_prompt
from veridistill.records import Candidate, Example, TokenIds
from veridistill.runs.found import Found
from veridistill.runs.session import Serving
from veridistill.training import rows


class Sink:
    """The files of one build, written with `async with`: they get their names at its end, one after the other.

    After an error the files of an earlier build are as they were; after a kill the set may lack examples (see above).
    """

    def __init__(self, folder: RoundDir, serving: Serving) -> None:
        self.curation = rows.Curation()
        # One, since memory that a thread frees serves that thread alone.
        self._thread = ThreadPoolExecutor(1, "sink")
        self._folder = folder
        self._asker = serving.asker
        self._plan = serving.plan
        self._curator = rows.Curator(serving.engine.stop_ids, serving.tokenizer)
        self._seeds = tables.SEEDS.writer(folder.tables / "seeds.parquet")
        self._candidates = tables.CANDIDATES.writer(folder.tables / "candidates.parquet")
        self._votes = tables.VOTES.writer(folder.tables / "votes.parquet")
        self._rows = tables.TRAIN_ROWS.writer(folder.dataset / "train.parquet")
        self._examples: Writer[Example] = tables.EXAMPLES.writer(folder.examples)
        self._messages = (folder.dataset / ".train.jsonl").open(
            "w", encoding="utf-8", errors="replace", newline="\n"
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        with self._thread:
            await self._in_thread(self._publish if kind is None else self._discard)

    async def add(self, found: Found) -> None:
        """Write the rows of one question; the order of the calls is that of the rows."""
        answered = await self._asker.answered(found.seed.seed_id, "solve")
        candidates = [
            await generate(found.seed, verdict.candidate, self._plan, answered) for verdict in found.verdicts
        ]
        await self._in_thread(self._write, found, candidates)

    def _in_thread(self, work: Callable[..., None], *args: Any) -> asyncio.Future[None]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _write(self, found: Found, candidates: list[Candidate]) -> None:
        self._seeds.add(found.seed)
        for candidate, verdict in zip(candidates, found.verdicts, strict=True):
            self._candidates.add(
                tables.CandidateRow.of(candidate, verdict, kept=candidate.index in found.kept)
            )
            for vote in tables.VoteRow.of(verdict):
                self._votes.add(vote)
        prompt = solve_prompt(found.seed, self._plan)
        kept = [rows.Kept(found.seed, one, prompt) for one in candidates if one.index in found.kept]
        for example in self._curator.curate(kept, self.curation):
            self._examples.add(example)
            ids, labels = rows.row(example, self._curator.stop_ids)
            self._rows.add(tables.TrainRow(example.seed_id, TokenIds(ids), TokenIds(labels)))
            self._messages.write(rows.message_line(example))

    @property
    def _writers(self) -> tuple[Writer[Any], ...]:
        """`examples` last."""
        return self._seeds, self._candidates, self._votes, self._rows, self._examples

    def _publish(self) -> None:
        messages, staged = self._folder.dataset / "train.jsonl", Path(self._messages.name)
        try:
            for writer in self._writers:
                writer.finish()
            self._messages.flush()
            os.fsync(self._messages.fileno())
            self._messages.close()
        except BaseException:
            self._discard()
            raise
        for path in (self._folder.examples, messages, *(writer.path for writer in self._writers)):
            path.unlink(missing_ok=True)
        sync_directory(self._folder.dataset)
        os.replace(staged, messages)
        for writer in self._writers:
            writer.publish()

    def _discard(self) -> None:
        with ExitStack() as stack:
            for writer in self._writers:
                stack.callback(writer.discard)
            stack.callback(Path(self._messages.name).unlink, missing_ok=True)
            with suppress(OSError):  # a full disk
                self._messages.close()
