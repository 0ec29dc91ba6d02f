"""The thread that owns a model: it takes jobs from any event loop and keeps up to `batch_size` rows decoding.

It refills the batch as rows finish, drops rows whose callers were cancelled, and makes the batch smaller when a GPU's
memory is exhausted. How a batch is decoded is described in `batch`; messages and text are left to `engine`.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from veridistill.engines.local.batch import Batch, Finished, Row
from veridistill.engines.local.pool import pool_for
from veridistill.errors import EngineDown

_PATIENCE = 32  # steps a free row may wait for company before it is filled


@dataclass(eq=False, slots=True)
class Job:
    """A row and the caller that waits for it on an event loop."""

    row: Row
    future: "asyncio.Future[Finished]"
    loop: asyncio.AbstractEventLoop


class Worker:
    """The thread that owns the model. `put`, `cancel` and `stop` may be called from any thread."""

    def __init__(self, model: Any, end_ids: Sequence[int], batch_size: int) -> None:
        self.cancelled_tokens = self.cancelled_calls = self.decoded_tokens = 0
        self._model, self._end_ids, self._batch_size = model, end_ids, batch_size
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._jobs: dict[Row, Job] = {}  # waiting and decoding; owned by the thread
        self._waiting: list[Row] = []
        self._dropped: list[Row] = []
        self._patience = 0
        self._stopping = False
        self._ended: EngineDown | None = None
        self._thread = threading.Thread(target=self._run, name="veridistill-local", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        self._inbox.put(lambda: self._take(job))
        if self._ended is not None:
            job.future.cancel()
            raise EngineDown(str(self._ended)) from self._ended.__cause__

    def cancel(self, job: Job) -> None:
        self._inbox.put(lambda: self._dropped.append(job.row))

    def stop(self) -> None:
        self._inbox.put(lambda: setattr(self, "_stopping", True))
        self._thread.join()

    def _take(self, job: Job) -> None:
        self._jobs[job.row] = job
        self._waiting.append(job.row)

    def _run(self) -> None:
        try:
            self._serve()
            ended = EngineDown("the local engine was closed")
        except Exception as failure:  # the engine boundary: any error of the model ends the engine
            ended = EngineDown(
                f"the local engine failed: {type(failure).__name__}: {failure}{_advice(failure)}"
            )
            ended.__cause__ = failure.with_traceback(None)  # frames would keep the weights
        self._ended, self._model = ended, None
        self._read()
        self._deliver([(job, ended) for job in self._jobs.values()])
        self._jobs.clear()
        _free_gpu_memory()

    def _serve(self) -> None:
        import torch

        with torch.inference_mode():
            batch = Batch(pool_for(self._model, self._batch_size), self._end_ids, self._model.device)
            while not self._stopping:
                if not batch.rows and not self._waiting:
                    self._wait()
                self._read()
                self._drop(batch)
                self._advance(batch)

    def _advance(self, batch: Batch) -> None:
        """Admit and decode; where the GPU's memory is exhausted, with fewer rows from now on."""
        import torch

        rows = self._newcomers(batch)
        try:
            if rows:
                batch.admit(rows)
                rows = []
            num = len(batch.rows)
            finished = batch.step() if num else []
        except torch.OutOfMemoryError:
            if len(batch.rows) + len(rows) == 1:
                raise
        else:
            self.decoded_tokens += num
            self._deliver([(self._jobs.pop(done.row), done) for done in finished])
            return
        if rows:
            self._batch_size = len(batch.rows) + len(rows) // 2
        else:
            rows = batch.evict()
            self._batch_size = len(batch.rows)
        self._waiting = rows + self._waiting
        _free_gpu_memory()

    def _wait(self) -> None:
        """Do the next piece of work in the inbox, as soon as there is one."""
        self._inbox.get()()

    def _read(self) -> None:
        """Do all work that is in the inbox now."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._inbox.get_nowait()()

    def _drop(self, batch: Batch) -> None:
        gone, self._dropped = [row for row in self._dropped if row in self._jobs], []
        if gone:
            self.cancelled_tokens += batch.drop(gone)
            self.cancelled_calls += len(gone)
            for row in gone:
                del self._jobs[row]
            self._waiting = [row for row in self._waiting if row in self._jobs]

    def _newcomers(self, batch: Batch) -> list[Row]:
        """Rows to admit now, oldest first. A prefill costs about a step: lone free rows wait for company."""
        free = self._batch_size - len(batch.rows)
        if not self._waiting or not free:
            return []
        self._patience += 1
        few = min(free, len(self._waiting)) < self._batch_size // 16
        if batch.rows and few and self._patience < _PATIENCE:
            return []
        self._patience = 0
        rows, self._waiting = self._waiting[:free], self._waiting[free:]
        return rows

    def _deliver(self, results: Sequence[tuple[Job, Finished | EngineDown]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Finished | EngineDown]]] = {}
        for job, result in results:
            by_loop.setdefault(job.loop, []).append((job, result))
        for loop, settled in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed: its callers are gone
                loop.call_soon_threadsafe(_settle, settled)


def _settle(results: Iterable[tuple[Job, Finished | EngineDown]]) -> None:
    for job, result in results:
        if job.future.done():
            continue
        if isinstance(result, EngineDown):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)


def _advice(error: Exception) -> str:
    return "; a smaller engine.batch_size needs less memory" if "out of memory" in str(error) else ""


def _free_gpu_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
