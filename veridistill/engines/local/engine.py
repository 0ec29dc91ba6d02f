"""The embedded engine: a transformers model on the CPU or one GPU, concurrent calls decoded together.

`LocalEngine` renders prompts with the chat template, hands them to one worker thread and turns sampled ids
into replies. The worker keeps up to `batch_size` rows decoding and refills the batch as rows finish; how a
batch is decoded is `decode`'s. The event loop never waits for the model.

Contents are data: an added token such as `<|im_end|>` or `<think>` inside a message is broken by a
zero-width joiner before the prompt is rendered, so the prompt's control ids are the template's own.
"""

import asyncio
import contextlib
import queue
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from veridistill.engines.base import EngineStats
from veridistill.engines.chat import ControlTokens
from veridistill.engines.checkpoint import Checkpoint, line_of
from veridistill.engines.local.decode import Batch, Finished, Row, pool_for
from veridistill.errors import ConfigError, EngineDown, RequestRefused, missing_extra
from veridistill.records import Completion, Messages, Sampling, TokenIds

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_TINY = 20_000_000  # parameters
_PATIENCE = 32  # steps a free row may wait for company before it is filled


@dataclass(eq=False, slots=True)
class _Job:
    row: Row
    future: "asyncio.Future[Finished]"
    loop: asyncio.AbstractEventLoop


class LocalEngine:
    """One causal language model in this process. Make it with `LocalEngine.load`."""

    def __init__(
        self,
        model: Any,
        checkpoint: Checkpoint,
        fingerprint: str,
        batch_size: int,
        seeded: bool,
    ) -> None:
        prompts, end_ids = checkpoint.prompts, checkpoint.end_ids
        self.capacity = 2 * batch_size
        self.fingerprint = fingerprint
        self.reasons = prompts.reasons
        self.prompts = prompts
        self.context_length = checkpoint.context_length
        self.stop_ids = end_ids
        self._end_ids = frozenset(end_ids)
        self._seeded = seeded
        self._stats = EngineStats()
        self._worker: _Worker | None = _Worker(model, end_ids, batch_size)

    @classmethod
    def load(
        cls,
        path: str,
        revision: str | None = None,
        dtype: Dtype = "auto",
        device: str = "auto",
        batch_size: int = 64,
        threads: int | None = None,
        seeded: bool = True,
        enable_thinking: bool | None = None,
        control_tokens: ControlTokens = "neutralise",
    ) -> "LocalEngine":
        """Load weights and tokenizer from a directory or the Hub.

        `threads` is the number of CPU threads (None: one for a tiny model, else torch's default). `seeded` False
        draws fresh seeds.
        Raises `ConfigError` for a model that cannot be used, `MissingExtra` without torch and transformers.
        """
        try:
            import torch
            import transformers  # noqa: F401
        except ImportError:
            raise missing_extra("engine.kind=local", "local") from None
        checkpoint = Checkpoint.open(path, revision, enable_thinking, control_tokens)
        target = _device(device)
        resolved = dtype if dtype != "auto" else ("float32" if target == "cpu" else "bfloat16")
        model = _weights(checkpoint, getattr(torch, resolved), target)
        if threads is not None or _is_tiny(model):
            torch.set_num_threads(threads or 1)
        return cls(model, checkpoint, checkpoint.fingerprint(resolved), batch_size, seeded)

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        """One sampled reply. Raises `RequestRefused` when prompt and one token exceed the context."""
        worker = self._worker
        if worker is None:
            raise EngineDown("the local engine is closed; open it again")
        ids = self.prompts.ids(messages)
        room = self.context_length - len(ids)
        if room < 1:
            raise RequestRefused(
                f"the prompt has {len(ids)} tokens, the model's context {self.context_length}; shorten it"
            )
        row = Row(ids, sampling, (seed if self._seeded else secrets.randbits(31)) % (1 << 31), room)
        row.limit = min(sampling.max_tokens, room)
        loop = asyncio.get_running_loop()
        job = _Job(row, loop.create_future(), loop)
        worker.put(job)
        self._count(calls=1, prompt_tokens=len(ids))
        try:
            finished = await job.future
        except asyncio.CancelledError:
            worker.cancel(job)
            raise
        return self._completion(finished)

    def _completion(self, finished: Finished) -> Completion:
        ids = finished.token_ids
        self._count(completion_tokens=len(ids))
        text_ids = ids[:-1] if ids and ids[-1] in self._end_ids else ids
        return Completion(
            text=self.prompts.text(text_ids),
            finish_reason=finished.finish_reason,
            prompt_tokens=len(finished.row.prompt),
            completion_tokens=len(ids),
            token_ids=TokenIds(ids),
            prompt_token_ids=TokenIds(finished.row.prompt),
        )

    def _count(self, **more: int) -> None:
        old = self._stats
        self._stats = replace(old, **{name: getattr(old, name) + value for name, value in more.items()})

    def stats(self) -> EngineStats:
        if (worker := self._worker) is None:
            return self._stats
        return replace(
            self._stats,
            control_tokens=self.prompts.guard.num_found,
            cancelled_tokens=worker.cancelled_tokens,
            cancelled_calls=worker.cancelled_calls,
        )

    async def close(self) -> None:
        """Stop the worker and drop the weights; calls under way fail with `EngineDown`."""
        self._stats, worker, self._worker = self.stats(), self._worker, None
        if worker is not None:
            await asyncio.to_thread(worker.stop)


def _is_tiny(model: Any) -> bool:
    """Whether CPU threads would wait for one another more than they compute.

    At a million parameters two threads gave 703 tokens/s where one gave 7,184 (docs/lab.md), batch 128.
    """
    return bool(model.device.type == "cpu" and sum(p.numel() for p in model.parameters()) < _TINY)


class _Worker:
    """The thread that owns the model. `put`, `cancel` and `stop` may be called from any thread."""

    def __init__(self, model: Any, end_ids: Sequence[int], batch_size: int) -> None:
        self.cancelled_tokens = self.cancelled_calls = 0
        self._model, self._end_ids, self._batch_size = model, end_ids, batch_size
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._jobs: dict[Row, _Job] = {}  # waiting and decoding; owned by the thread
        self._waiting: list[Row] = []
        self._dropped: list[Row] = []
        self._patience = 0
        self._stopping = False
        self._ended: EngineDown | None = None
        self._thread = threading.Thread(target=self._run, name="veridistill-local", daemon=True)
        self._thread.start()

    def put(self, job: _Job) -> None:
        self._inbox.put(lambda: self._take(job))
        if self._ended is not None:
            job.future.cancel()
            raise EngineDown(str(self._ended)) from self._ended.__cause__

    def cancel(self, job: _Job) -> None:
        self._inbox.put(lambda: self._dropped.append(job.row))

    def stop(self) -> None:
        self._inbox.put(lambda: setattr(self, "_stopping", True))
        self._thread.join()

    def _take(self, job: _Job) -> None:
        self._jobs[job.row] = job
        self._waiting.append(job.row)

    def _run(self) -> None:
        try:
            self._serve()
            ended = EngineDown("the local engine was closed")
        except Exception as failure:  # the engine boundary: whatever the model raised ends the engine
            ended = EngineDown(
                f"the local engine failed: {type(failure).__name__}: {failure}{_advice(failure)}"
            )
            ended.__cause__ = failure.with_traceback(None)  # frames would keep the weights
        self._ended, self._model = ended, None
        self._read(block=False)
        self._deliver([(job, ended) for job in self._jobs.values()])
        self._jobs.clear()
        _free_gpu_memory()

    def _serve(self) -> None:
        import torch

        with torch.inference_mode():
            batch = Batch(pool_for(self._model, self._batch_size), self._end_ids, self._model.device)
            while not self._stopping:
                self._read(block=not batch.rows and not self._waiting)
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
            finished = batch.step() if batch.rows else []
        except torch.OutOfMemoryError:
            if len(batch.rows) + len(rows) == 1:
                raise
        else:
            self._deliver([(self._jobs.pop(done.row), done) for done in finished])
            return
        if rows:
            self._batch_size = len(batch.rows) + len(rows) // 2
        else:
            rows = batch.evict()
            self._batch_size = len(batch.rows)
        self._waiting = rows + self._waiting
        _free_gpu_memory()

    def _read(self, block: bool) -> None:
        with contextlib.suppress(queue.Empty):
            if block:
                self._inbox.get()()
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

    def _deliver(self, results: Sequence[tuple[_Job, Finished | EngineDown]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Finished | EngineDown]]] = {}
        for job, result in results:
            by_loop.setdefault(job.loop, []).append((job, result))
        for loop, settled in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, settled)


def _settle(results: Iterable[tuple[_Job, Finished | EngineDown]]) -> None:
    for job, result in results:
        if job.future.done():
            continue
        if isinstance(result, EngineDown):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)


def _weights(checkpoint: Checkpoint, dtype: Any, device: str) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    directory = checkpoint.directory
    logging.disable_progress_bar()  # stderr is the run's own progress
    try:
        model = AutoModelForCausalLM.from_pretrained(directory, config=checkpoint.config, dtype=dtype)
        return model.to(device).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"model.path: {directory} cannot be loaded on {device} ({line_of(error)})"
        ) from None


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise ConfigError(f"engine.device: unknown device {name!r}; choose auto, cpu or cuda") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"engine.device: {name} is not available on this machine; choose auto or cpu")
    return name


def _advice(error: Exception) -> str:
    return "; a smaller engine.batch_size needs less memory" if "out of memory" in str(error) else ""


def _free_gpu_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
