"""The engine for GPUs: vLLM in this program, its model in separate processes.

`VllmEngine` renders prompts by the checkpoint's own tokenizer and chat template and hands vLLM token ids, so that
prompts, texts and fingerprints are those of `local` for the same files. vLLM schedules, batches and caches prefixes;
none of its defaults is applied: every sampling field is sent with each request. It is loaded in `load`, which blocks
and may run in any thread; after that one event loop uses the engine.
"""

import asyncio
import gc
import itertools
import os
import secrets
import signal
import subprocess
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from typing import Any

from veridistill.engines.base import ControlTokens, EngineStats, Rendering
from veridistill.engines.chat import Prompts
from veridistill.engines.checkpoint import Checkpoint, line_of
from veridistill.engines.choices import Ids, allowed_ids, next_ids
from veridistill.engines.common import Rendered, context_of_cut, room_for
from veridistill.engines.dtype import Dtype, resolved
from veridistill.engines.vllm.adapter import Adapter
from veridistill.engines.vllm.processes import start, start_watcher, stop
from veridistill.errors import ConfigError, EngineDown, RequestRefused, missing_extra
from veridistill.records import Completion, Messages, Sampling, TokenIds

_ENVIRONMENT = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # forking a program that has threads may deadlock
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout is data
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "4",  # GiB; read on machines without a GPU, where vLLM takes 90 % of the memory
}
_BATCHED_TOKENS = 8192
_FEW_CPUS = 8
_ATTEMPTS = 3  # of one request that vLLM itself ends with an error
_FAILED_IN_A_ROW = 16  # requests given up without a reply between them: then the requests are not the cause


class VllmEngine:
    """One causal language model served by vLLM. Make it with `VllmEngine.load`."""

    def __init__(
        self,
        llm: Any,
        processes: list[BaseProcess],
        watcher: "subprocess.Popen[bytes]",
        checkpoint: Checkpoint,
        identity: tuple[str, ...],
        seeded: bool,
        lora: Any,
        capacity: int,
    ) -> None:
        """`identity` is what the fingerprint holds beside the files: the dtype and the adapter."""
        self.capacity = capacity
        self.fingerprint = checkpoint.fingerprint(*identity)
        self.prompts = checkpoint.prompts
        self.reasons = checkpoint.prompts.reasons
        self.stop_ids = checkpoint.end_ids
        self.context_length = int(llm.model_config.max_model_len)
        self._llm: Any = llm
        self._watcher = watcher
        self._lora = lora
        self._seeded = seeded
        self._checkpoint, self._identity = checkpoint, identity
        self._guards = [checkpoint.prompts.guard]
        self._failed = 0  # requests given up since the last reply
        self._processes = processes
        self._numbers = itertools.count()
        self._works: dict[str, asyncio.Task[Any]] = {}  # requests inside vLLM
        self._aborts: set[asyncio.Task[None]] = set()
        self._closed = False
        self._stats = EngineStats()
        self._decoded = 0
        self._watch_steps()

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
        once. `seeded` False lets vLLM draw from one generator: faster, but no reply can be repeated.
        Raises `ConfigError` for a model or settings that cannot be used, before vLLM is loaded where the files show it;
        `MissingExtra` without vLLM.
        """
        if find_spec("vllm") is None or find_spec("transformers") is None:
            raise missing_extra("engine.kind=vllm", "vllm")
        checkpoint = Checkpoint.open(path, revision, enable_thinking, control_tokens)
        adapter = None if lora is None else Adapter.open(lora)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        if on_cpu and tensor_parallel == data_parallel == 1:
            use_few_cpus()
        chosen = resolved(dtype, "cpu" if on_cpu else "gpu", checkpoint.directory)
        settings: dict[str, Any] = {
            "model": str(checkpoint.directory),
            "dtype": chosen,
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
        watcher = start_watcher()
        return cls(
            *start(settings, watcher),  # in no variable, for the reason given in `start`
            watcher,
            checkpoint,
            (chosen, adapter.fingerprint) if adapter else (chosen,),
            seeded,
            adapter and adapter.request(),
            max_num_seqs * data_parallel * 5 // 4,
        )

    def _watch_steps(self) -> None:
        """Count the tokens of each of vLLM's steps, since a reply comes whole.

        vLLM hands the tokens of all requests to one method, in the event loop. Its own statistics say the same, but
        then it times every request.
        """
        processor = self._llm.output_processor
        process = processor.process_outputs

        def counted(outputs: Any, *more: Any, **named: Any) -> Any:
            self._decoded += sum(len(output.new_token_ids) for output in outputs)
            return process(outputs, *more, **named)

        processor.process_outputs = counted

    def rendered(self, rendering: Rendering) -> Rendered:
        """The same weights, in the same vLLM, with prompts rendered otherwise."""
        other = self._checkpoint.rendered(rendering)
        self._guards.append(other.prompts.guard)
        generate = partial(self._generate, other.prompts)
        return Rendered(self, other.fingerprint(*self._identity), other.prompts.reasons, generate)

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        """One sampled reply.

        Raises `RequestRefused` when the context leaves no room for a token or vLLM fails at this request again and
        again, `ConfigError` for sampling fields that vLLM never accepts.
        """
        return await self._generate(self.prompts, messages, sampling, seed)

    async def _generate(
        self, prompts: Prompts, messages: Messages, sampling: Sampling, seed: int
    ) -> Completion:
        self._check_open()
        self._count(calls=1)
        ids = prompts.ids(messages)
        room_for(len(ids), self.context_length)
        if sampling.choices:
            allowed = allowed_ids(sampling.choices, prompts, self.stop_ids)
            return self._completion(ids, *await self._chosen(ids, allowed, sampling, seed), sampling)
        output = await self._sampled(ids, sampling, seed)
        one, reused = output.outputs[0], output.num_cached_tokens or 0
        return self._completion(ids, tuple(one.token_ids), str(one.finish_reason), sampling, reused)

    async def _chosen(
        self, ids: Ids, allowed: tuple[Ids, ...], sampling: Sampling, seed: int
    ) -> tuple[Ids, str]:
        """One of the allowed replies: vLLM draws the tokens at which they part, one request each.

        vLLM's own structured outputs need a tokenizer inside of it, and there is none.
        """
        said: Ids = ()
        limit = min(sampling.max_tokens, self.context_length - len(ids))
        while len(said) < limit and (options := next_ids(allowed, said)):
            if len(options) == 1:
                self._decoded += 1  # vLLM draws the others
            else:
                one = replace(sampling, max_tokens=1)
                output = await self._sampled((*ids, *said), one, seed + len(said), options)
                options = output.outputs[0].token_ids
            said = (*said, options[0])
        return said, "stop" if said[-1] in self.stop_ids else "length"

    async def _sampled(self, ids: Ids, sampling: Sampling, seed: int, only: list[int] | None = None) -> Any:
        """vLLM's final output, of tokens in `only` if any are named.

        Raises `RequestRefused` when it fails at this request again and again.
        """
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._count(retries=1)
            output = await self._asked(ids, sampling, seed, only)
            if (reason := str(output.outputs[0].finish_reason)) not in ("error", "abort"):
                self._failed = 0
                return output
            self._check_open()  # `close` aborts what is under way
        self._failed += 1
        what = f"vLLM ended the request {_ATTEMPTS} times with finish reason {reason}"
        if self._failed > _FAILED_IN_A_ROW:
            raise EngineDown(f"{self._failed} requests in a row failed: {what}; see vLLM's own messages")
        raise RequestRefused(what)

    async def _asked(self, ids: Ids, sampling: Sampling, seed: int, only: list[int] | None) -> Any:
        """vLLM's final output for one attempt. Cancelling ends the request inside vLLM."""
        name = str(next(self._numbers))
        work = asyncio.create_task(self._work(name, ids, sampling, seed, only))
        self._works[name] = work
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            abort = asyncio.create_task(self._abort(name, work))
            self._aborts.add(abort)  # the loop keeps no task alive
            abort.add_done_callback(self._aborts.discard)
            await asyncio.shield(abort)
            raise
        finally:
            if work.done():
                self._works.pop(name, None)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineDown("the vllm engine is closed; open it again")

    def _params(self, sampling: Sampling, num_prompt: int, seed: int, only: list[int] | None) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=min(sampling.max_tokens, self.context_length - num_prompt),
            seed=seed if self._seeded else None,
            stop_token_ids=list(self.stop_ids),
            allowed_token_ids=only,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    async def _work(self, name: str, ids: Ids, sampling: Sampling, seed: int, only: list[int] | None) -> Any:
        """vLLM's final output; of an aborted request, what was generated until then."""
        from vllm.exceptions import VLLMClientError

        prompt = {"type": "token", "prompt_token_ids": list(ids)}
        try:
            params = self._params(sampling, len(ids), seed, only)
        except (VLLMClientError, ValueError) as error:
            raise ConfigError(
                f"vLLM does not accept these sampling fields ({line_of(error)}); change them in the sections that use"
                " them (generate, judge, evaluation)"
            ) from None
        try:
            async for output in self._llm.generate(prompt, params, name, lora_request=self._lora):
                if output.finished:
                    return output
        except (VLLMClientError, ValueError) as error:
            raise RequestRefused(f"vLLM refused the request ({line_of(error)})") from None
        except Exception as error:  # the engine boundary: any other error of vLLM ends the engine
            raise self._down(error) from error
        raise EngineDown("vLLM ended a request without an answer")

    def _completion(
        self, ids: Ids, sampled: Ids, reason: str, sampling: Sampling, reused: int = 0
    ) -> Completion:
        self._count(prompt_tokens=len(ids), reused_tokens=reused, completion_tokens=len(sampled))
        return Completion(
            text=self.prompts.text(sampled[:-1] if sampled and sampled[-1] in self.stop_ids else sampled),
            finish_reason=reason,
            prompt_tokens=len(ids),
            completion_tokens=len(sampled),
            token_ids=TokenIds(sampled),
            prompt_token_ids=TokenIds(ids),
            context=context_of_cut(reason, len(sampled), sampling, self.context_length),
        )

    async def _abort(self, name: str, work: "asyncio.Task[Any]") -> None:
        """End a request inside vLLM and count what it had generated."""
        await self._ended(name, work)
        failed = work.cancelled() or work.exception() is not None
        num = 0 if failed else len(work.result().outputs[0].token_ids)
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
        memory = " (the system kills processes when memory runs out)" if killed else ""
        return EngineDown(
            f"vLLM died: {', '.join(ended) or line_of(error).rstrip('.')}{memory}. See vLLM's own messages for the "
            "reason; the same command resumes the run"
        )

    def _count(self, **more: int) -> None:
        old = self._stats
        self._stats = replace(old, **{name: getattr(old, name) + value for name, value in more.items()})

    def stats(self) -> EngineStats:
        markers = sum(guard.num_found for guard in self._guards)
        return replace(self._stats, control_tokens=markers, decoded_tokens=self._decoded)

    async def close(self) -> None:
        """End vLLM's processes, and with them the weights; running calls fail with `EngineDown`."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(self._ended(name, work) for name, work in self._works.items()))
        await asyncio.gather(*self._aborts)
        llm, self._llm = self._llm, None
        if llm.output_handler is not None:
            llm.output_handler.cancel()  # else it reports the end of the processes as a death
        await asyncio.to_thread(stop, llm, self._processes)
        self._watcher.kill()
        self._watcher.wait()
        del llm
        gc.collect()  # vLLM's client warns if it is still there at the program's end


def use_few_cpus() -> None:
    """Let vLLM's threads use every CPU of a small machine: by itself it leaves one out, half of a machine with two.

    On a larger one its own choice stands (one socket, no hyper-threads), as does a user's everywhere.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) <= _FEW_CPUS:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, cpus)))
