"""The embedded engine: a transformers model on the CPU or one GPU, concurrent calls decoded together.

`LocalEngine` renders prompts with the chat template, hands them to one worker thread and turns sampled ids
into replies (`worker`, which decodes a `batch` of rows). The event loop never waits for the model.

Messages are data: an added token such as `<|im_end|>` or `<think>` inside a message is broken by a
zero-width joiner before the prompt is rendered, so the prompt's control ids are the template's own.
"""

import asyncio
import secrets
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from veridistill.engines.base import ControlTokens, EngineStats, Rendering
from veridistill.engines.chat import Prompts
from veridistill.engines.checkpoint import Checkpoint, line_of
from veridistill.engines.choices import allowed_ids
from veridistill.engines.common import Rendered, context_of_cut, room_for
from veridistill.engines.dtype import Dtype, resolved
from veridistill.engines.local.batch import Finished, Row
from veridistill.engines.local.worker import Job, Worker
from veridistill.errors import ConfigError, EngineDown, missing_extra
from veridistill.records import Completion, Messages, Sampling, TokenIds

_TINY = 20_000_000  # parameters


class LocalEngine:
    """One causal language model in this process. Make it with `LocalEngine.load`."""

    def __init__(
        self,
        model: Any,
        checkpoint: Checkpoint,
        dtype: str,
        batch_size: int,
        seeded: bool,
        context_length: int,
    ) -> None:
        self.capacity = 2 * batch_size
        self.fingerprint = checkpoint.fingerprint(dtype)
        self.prompts = checkpoint.prompts
        self.reasons = checkpoint.prompts.reasons
        self.stop_ids = checkpoint.end_ids
        self.context_length = context_length
        self._checkpoint, self._dtype, self._seeded = checkpoint, dtype, seeded
        self._guards = [checkpoint.prompts.guard]
        self._stats = EngineStats()
        self._worker: Worker | None = Worker(model, checkpoint.end_ids, batch_size)

    @classmethod
    def load(
        cls,
        path: str,
        revision: str | None = None,
        dtype: Dtype = "auto",
        device: str = "auto",
        batch_size: int = 64,
        threads: int | None = None,
        max_model_len: int | None = None,
        seeded: bool = True,
        enable_thinking: bool | None = None,
        control_tokens: ControlTokens = "neutralise",
    ) -> "LocalEngine":
        """Load weights and tokenizer from a directory or the Hub.

        `threads` is the number of CPU threads (None: one for a tiny model, else torch's default). `max_model_len` is
        the longest prompt and reply together, in tokens (None: the model's context). `seeded` False draws fresh seeds.
        Raises `ConfigError` for a model that cannot be used, `MissingExtra` without torch and transformers.
        """
        try:
            import torch
            import transformers  # noqa: F401
        except ImportError:
            raise missing_extra("engine.kind=local", "local") from None
        checkpoint = Checkpoint.open(path, revision, enable_thinking, control_tokens)
        context = _context(max_model_len, checkpoint)
        target = _device(device)
        kind: Literal["cpu", "gpu"] = "cpu" if torch.device(target).type == "cpu" else "gpu"
        chosen = resolved(dtype, kind, checkpoint.directory)
        model = _weights(checkpoint, getattr(torch, chosen), target)
        if threads is not None or _is_tiny(model):
            torch.set_num_threads(threads or 1)
        return cls(model, checkpoint, chosen, batch_size, seeded, context)

    def rendered(self, rendering: Rendering) -> Rendered:
        """The same weights, in the same batch, with prompts rendered differently."""
        other = self._checkpoint.rendered(rendering)
        self._guards.append(other.prompts.guard)
        generate = partial(self._generate, other.prompts)
        return Rendered(self, other.fingerprint(self._dtype), other.prompts.reasons, generate)

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        """One sampled reply. Raises `RequestRefused` when the context leaves no room for a token."""
        return await self._generate(self.prompts, messages, sampling, seed)

    async def _generate(
        self, prompts: Prompts, messages: Messages, sampling: Sampling, seed: int
    ) -> Completion:
        worker = self._worker
        if worker is None:
            raise EngineDown("the local engine is closed; open it again")
        self._count(calls=1)
        ids = prompts.ids(messages)
        limit = min(sampling.max_tokens, room_for(len(ids), self.context_length))
        allowed = allowed_ids(sampling.choices, prompts, self.stop_ids)
        row = Row(ids, sampling, (seed if self._seeded else secrets.randbits(31)) % (1 << 31), limit, allowed)
        loop = asyncio.get_running_loop()
        job = Job(row, loop.create_future(), loop)
        worker.put(job)
        try:
            finished = await job.future
        except asyncio.CancelledError:
            worker.cancel(job)
            raise
        return self._completion(finished)

    def _completion(self, finished: Finished) -> Completion:
        ids, row = finished.token_ids, finished.row
        self._count(prompt_tokens=len(row.prompt), reused_tokens=row.reused, completion_tokens=len(ids))
        text_ids = ids[:-1] if ids and ids[-1] in self.stop_ids else ids
        return Completion(
            text=self.prompts.text(text_ids),
            finish_reason=finished.finish_reason,
            prompt_tokens=len(row.prompt),
            completion_tokens=len(ids),
            token_ids=TokenIds(ids),
            prompt_token_ids=TokenIds(row.prompt),
            context=context_of_cut(finished.finish_reason, len(ids), row.sampling, self.context_length),
        )

    def _count(self, **more: int) -> None:
        old = self._stats
        self._stats = replace(old, **{name: getattr(old, name) + value for name, value in more.items()})

    def stats(self) -> EngineStats:
        if (worker := self._worker) is None:
            return self._stats
        return replace(
            self._stats,
            control_tokens=sum(guard.num_found for guard in self._guards),
            cancelled_tokens=worker.cancelled_tokens,
            cancelled_calls=worker.cancelled_calls,
            decoded_tokens=worker.decoded_tokens,
        )

    async def close(self) -> None:
        """Stop the worker and drop the weights; running calls fail with `EngineDown`."""
        self._stats, worker, self._worker = self.stats(), self._worker, None
        if worker is not None:
            await asyncio.to_thread(worker.stop)


def _context(max_model_len: int | None, checkpoint: Checkpoint) -> int:
    most = checkpoint.context_length
    if max_model_len is not None and max_model_len > most:
        raise ConfigError(
            f"engine.max_model_len: {max_model_len} is more than the context of {most} that {checkpoint.directory} has"
        )
    return max_model_len or most


def _is_tiny(model: Any) -> bool:
    """Whether CPU threads would wait for one another more than they compute.

    At a million parameters two threads gave 703 tokens/s where one gave 7,184 (docs/measurements.md), batch 128.
    """
    return bool(model.device.type == "cpu" and sum(p.numel() for p in model.parameters()) < _TINY)


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
