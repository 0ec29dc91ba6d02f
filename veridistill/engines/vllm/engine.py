"""The engine for GPUs: vLLM in this program, its model in processes of their own.

`VllmEngine` renders prompts by the checkpoint's own tokenizer and chat template and hands vLLM token ids, so that
prompts, texts and fingerprints are those of `local` for the same files. vLLM schedules, batches and caches prefixes;
it applies no default of its own: every sampling field is sent with each request. It is loaded in `load`, which blocks
and may run in any thread; after that one event loop uses the engine.
"""

import asyncio
import contextlib
import gc
import itertools
import json
import multiprocessing
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from veridistill.engines.base import EngineStats
from veridistill.engines.chat import ControlTokens
from veridistill.engines.checkpoint import Checkpoint, files_hash, line_of
from veridistill.engines.vllm import watch
from veridistill.errors import ConfigError, EngineDown, RequestRefused, missing_extra
from veridistill.records import Completion, Messages, Sampling, TokenIds

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_ENVIRONMENT = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # forking a program that has threads may deadlock
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout is data
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "4",  # GiB; read on machines without a GPU, where vLLM takes 90 % of the memory
}
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the LoRA ranks that vLLM has room for
_BATCHED_TOKENS = 8192
_GRACE = 10.0  # seconds that processes have to end before they are killed


class VllmEngine:
    """One causal language model served by vLLM. Make it with `VllmEngine.load`."""

    def __init__(
        self,
        llm: Any,
        processes: list[BaseProcess],
        watcher: "subprocess.Popen[bytes]",
        checkpoint: Checkpoint,
        fingerprint: str,
        seeded: bool,
        lora: Any,
        capacity: int,
    ) -> None:
        self.capacity = capacity
        self.fingerprint = fingerprint
        self.prompts = checkpoint.prompts
        self.reasons = checkpoint.prompts.reasons
        self.stop_ids = checkpoint.end_ids
        self.context_length = int(llm.model_config.max_model_len)
        self._llm: Any = llm
        self._watcher = watcher
        self._lora = lora
        self._seeded = seeded
        self._end_ids = frozenset(checkpoint.end_ids)
        self._processes = processes
        self._numbers = itertools.count()
        self._works: dict[str, asyncio.Task[Any]] = {}  # requests inside vLLM
        self._aborts: set[asyncio.Task[None]] = set()
        self._closed = False
        self._stats = EngineStats()

    @classmethod
    def load(
        cls,
        path: str,
        revision: str | None = None,
        dtype: Dtype = "auto",
        max_num_seqs: int = 256,
        max_model_len: int | None = None,
        tensor_parallel: int = 1,
        data_parallel: int = 1,
        gpu_memory: float = 0.9,
        enforce_eager: bool = False,
        lora: str | None = None,
        seeded: bool = True,
        enable_thinking: bool | None = None,
        control_tokens: ControlTokens = "neutralise",
    ) -> "VllmEngine":
        """Start vLLM on a directory or a Hub id; its code is never taken from there.

        `capacity` is a quarter more than the sequences that are decoded together, so that a free place is filled at
        once. `seeded` False lets vLLM draw from one generator: faster, and no reply can be had again.
        Raises `ConfigError` for a model or settings that cannot be used, before vLLM is loaded where that can be told
        from the files; `MissingExtra` without vLLM.
        """
        if find_spec("vllm") is None or find_spec("transformers") is None:
            raise missing_extra("engine.kind=vllm", "vllm")
        checkpoint = Checkpoint.open(path, revision, enable_thinking, control_tokens)
        adapter = None if lora is None else _Adapter.open(lora)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        resolved = dtype if dtype != "auto" else ("float32" if on_cpu else "bfloat16")
        settings: dict[str, Any] = {
            "model": str(checkpoint.directory),
            "dtype": resolved,
            "generation_config": "vllm",
            "enable_prefix_caching": True,
            "max_num_seqs": max_num_seqs,
            "max_model_len": max_model_len,
            "tensor_parallel_size": tensor_parallel,
            "data_parallel_size": data_parallel,
            "gpu_memory_utilization": gpu_memory,
            "enforce_eager": enforce_eager,
            "seed": secrets.randbits(31),
            "skip_tokenizer_init": True,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
        }
        if (
            on_cpu and seeded
        ):  # a seeded prompt taken in parts ends vLLM 0.32 there: its generators cannot step back
            whole = max(max_model_len or checkpoint.context_length, _BATCHED_TOKENS)
            settings |= {"enable_chunked_prefill": False, "max_num_batched_tokens": whole}
        if adapter is not None:
            settings |= {"enable_lora": True, "max_lora_rank": adapter.rank}
        watcher = _watcher()
        fingerprint = checkpoint.fingerprint(resolved, *([adapter.fingerprint] if adapter else []))
        capacity = max_num_seqs * data_parallel * 5 // 4
        return cls(
            *_start(settings, watcher),
            watcher,
            checkpoint,
            fingerprint,
            seeded,
            adapter and adapter.request(),
            capacity,
        )

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        """One sampled reply.

        Raises `RequestRefused` when prompt and one token exceed the context, `ConfigError` for a temperature and the
        like that vLLM takes in no request.
        """
        if self._closed:
            raise EngineDown("the vllm engine is closed; open it again")
        ids = self.prompts.ids(messages)
        if len(ids) >= self.context_length:
            raise RequestRefused(
                f"the prompt has {len(ids)} tokens, the model's context {self.context_length}; shorten it"
            )
        name = str(next(self._numbers))
        work = asyncio.create_task(self._work(name, ids, sampling, seed))
        self._works[name] = work
        self._count(calls=1, prompt_tokens=len(ids))
        try:
            return self._completion(ids, await asyncio.shield(work))
        except asyncio.CancelledError:
            abort = asyncio.create_task(self._abort(name, work))
            self._aborts.add(abort)  # the loop keeps no task alive
            abort.add_done_callback(self._aborts.discard)
            await asyncio.shield(abort)
            raise
        finally:
            if work.done():
                self._works.pop(name, None)

    def _params(self, sampling: Sampling, num_prompt: int, seed: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=min(sampling.max_tokens, self.context_length - num_prompt),
            seed=seed if self._seeded else None,
            stop_token_ids=list(self.stop_ids),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    async def _work(self, name: str, ids: tuple[int, ...], sampling: Sampling, seed: int) -> Any:
        """vLLM's final output; of an aborted request, what was generated until then."""
        from vllm.exceptions import VLLMClientError

        prompt = {"type": "token", "prompt_token_ids": list(ids)}
        try:
            params = self._params(sampling, len(ids), seed)
        except (VLLMClientError, ValueError) as error:
            raise ConfigError(
                f"vLLM does not sample so ({line_of(error)}); change it in the sections that ask (generate, judge,"
                " evaluation)"
            ) from None
        try:
            async for output in self._llm.generate(prompt, params, name, lora_request=self._lora):
                if output.finished:
                    return output.outputs[0]
        except (VLLMClientError, ValueError) as error:
            raise RequestRefused(f"vLLM refused the request ({line_of(error)})") from None
        except Exception as error:  # the engine boundary: whatever else vLLM raised ends the engine
            raise self._down(error) from error
        raise EngineDown("vLLM ended a request without an answer")

    def _completion(self, ids: tuple[int, ...], output: Any) -> Completion:
        if output.finish_reason == "abort":  # by close: whoever cancels does not come here
            raise EngineDown("the vllm engine was closed")
        sampled = tuple(output.token_ids)
        self._count(completion_tokens=len(sampled))
        return Completion(
            text=self.prompts.text(sampled[:-1] if sampled and sampled[-1] in self._end_ids else sampled),
            finish_reason=str(output.finish_reason),
            prompt_tokens=len(ids),
            completion_tokens=len(sampled),
            token_ids=TokenIds(sampled),
            prompt_token_ids=TokenIds(ids),
        )

    async def _abort(self, name: str, work: "asyncio.Task[Any]") -> None:
        """End a request inside vLLM and count what it had generated."""
        await self._ended(name, work)
        failed = work.cancelled() or work.exception() is not None
        num = 0 if failed else len(work.result().token_ids)
        self._count(cancelled_calls=1, cancelled_tokens=num)
        self._works.pop(name, None)

    async def _ended(self, name: str, work: "asyncio.Task[Any]") -> None:
        """A request that vLLM does not know yet cannot be aborted: asked again until it ends."""
        for _ in range(20):
            await self._llm.abort(name)
            if (await asyncio.wait({work}, timeout=0.05))[0]:
                return
        work.cancel()
        await asyncio.wait({work})

    def _down(self, error: Exception) -> EngineDown:
        ended = [f"{p.name} ended with exit status {p.exitcode}" for p in self._processes if p.exitcode]
        killed = any(process.exitcode == -signal.SIGKILL for process in self._processes)
        memory = " (the system kills what uses too much memory)" if killed else ""
        return EngineDown(
            f"vLLM died: {', '.join(ended) or line_of(error).rstrip('.')}{memory}. What it wrote before says why; "
            "the same command goes on from here"
        )

    def _count(self, **more: int) -> None:
        old = self._stats
        self._stats = replace(old, **{name: getattr(old, name) + value for name, value in more.items()})

    def stats(self) -> EngineStats:
        return replace(self._stats, control_tokens=self.prompts.guard.num_found)

    async def close(self) -> None:
        """End vLLM's processes, and with them the weights; calls under way fail with `EngineDown`."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(self._ended(name, work) for name, work in self._works.items()))
        await asyncio.gather(*self._aborts)
        llm, self._llm = self._llm, None
        if llm.output_handler is not None:
            llm.output_handler.cancel()  # else it reports the end of the processes as a death
        await asyncio.to_thread(_stop, llm, self._processes)
        self._watcher.kill()
        self._watcher.wait()
        del llm
        gc.collect()  # what is left of vLLM's client at the program's end complains


@dataclass(frozen=True, slots=True)
class _Adapter:
    """A LoRA adapter, as far as it must be known before vLLM is loaded."""

    directory: Path
    rank: int
    fingerprint: str

    @classmethod
    def open(cls, path: str) -> "_Adapter":
        directory = Path(path).expanduser()
        file = directory / "adapter_config.json"
        try:
            text = file.read_text(encoding="utf-8")
            rank = json.loads(text)["r"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"model.lora: {directory} holds no LoRA adapter ({line_of(error)})") from None
        if not isinstance(rank, int) or not 1 <= rank <= _RANKS[-1]:
            raise ConfigError(f"model.lora: vLLM takes ranks from 1 to {_RANKS[-1]}, {file} has {rank}")
        return cls(directory, next(fits for fits in _RANKS if fits >= rank), files_hash(directory) + text)

    def request(self) -> Any:
        from vllm.lora.request import LoRARequest

        return LoRARequest("adapter", 1, str(self.directory))


def _watcher() -> "subprocess.Popen[bytes]":
    """Ends vLLM's processes should this one be killed."""
    nowhere = subprocess.DEVNULL
    command = [sys.executable, watch.__file__, str(os.getpid())]
    return subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)


def _start(settings: dict[str, Any], watcher: "subprocess.Popen[bytes]") -> tuple[Any, list[BaseProcess]]:
    """A running AsyncLLM and its processes. Raises `ConfigError` with vLLM's own words."""
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    where, others = settings["model"], _processes()
    try:
        arguments = AsyncEngineArgs(**settings)
        # In no variable here: vLLM keeps errors of optional imports, their frames, and so what this one holds.
        with _deaf_to_interrupts():
            return AsyncLLM.from_engine_args(arguments), _processes(others)
    except Exception as error:  # the engine boundary: vLLM raises what its parts raise
        watcher.kill()
        watcher.wait()
        _join(_processes(others), _GRACE)
        raise ConfigError(
            f"engine.kind=vllm cannot serve {where} ({_reason(error)}); what vLLM wrote before says more. "
            "Less memory is needed with a smaller engine.max_model_len, engine.max_num_seqs or engine.gpu_memory"
        ) from None


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C, which the terminal sends to all: this program alone decides.

    They inherit the signal mask of the thread that starts them. The resource tracker, which multiprocessing starts
    on first use, lifts the mask of that thread: it is started before.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _processes(others: Sequence[BaseProcess] = ()) -> list[BaseProcess]:
    """vLLM's own among the children of this process, without those of another engine here (a judge's)."""
    children = multiprocessing.active_children()
    return [p for p in children if p.name.startswith(("EngineCore", "VLLM")) and p not in others]


def _join(processes: list[BaseProcess], seconds: float) -> None:
    for process in processes:
        process.join(seconds)


def _stop(llm: Any, processes: list[BaseProcess]) -> None:
    llm.shutdown(timeout=_GRACE)
    _join(processes, _GRACE)
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()


def _reason(error: Exception) -> str:
    """pydantic says what is wrong after a line that counts the errors, and shows all values after it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = "".join(lines[1:2] or lines[:1]).partition(" [type=")[0].removeprefix("Value error, ")
    return reason.rstrip(".") or type(error).__name__
