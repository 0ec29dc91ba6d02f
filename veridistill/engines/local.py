"""The embedded engine: a transformers model on the CPU or one GPU, concurrent calls decoded together.

`LocalEngine` renders prompts with the chat template, hands them to one worker thread and turns sampled ids
into replies. The worker keeps up to `batch_size` rows decoding and refills the batch as rows finish; how a
batch is decoded is `decode`'s. The event loop never waits for the model.

Contents are data: an added token such as `<|im_end|>` or `<think>` inside a message is broken by a
zero-width joiner before the prompt is rendered, so the prompt's control ids are the template's own.
"""

import asyncio
import contextlib
import hashlib
import queue
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from veridistill.engines.base import EngineStats
from veridistill.engines.decode import Batch, Finished, Row, pool_for
from veridistill.errors import ConfigError, EngineDown, RequestRefused, missing_extra
from veridistill.records import Completion, Message, Messages, Sampling

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_JOINER = "\u200d"
_WHOLE_FILE = 64 << 20  # weights files up to this size are hashed whole
_BLOCK = 1 << 20
_REMEMBERED = 1 << 20  # prompt tokens remembered, so that the votes of one prompt are rendered once
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
        prompts: "Prompts",
        fingerprint: str,
        end_ids: Sequence[int],
        batch_size: int,
        seeded: bool,
    ) -> None:
        self.capacity = 2 * batch_size
        self.fingerprint = fingerprint
        self.reasons = prompts.reasons
        self.prompts = prompts
        self.context_length = _context_length(model.config.get_text_config(decoder=True))
        self.stop_ids = tuple(end_ids)
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
        directory = _directory(path, revision)
        config = _model_config(directory)
        prompts = Prompts(_tokenizer(directory), enable_thinking, directory)
        target = _device(device)
        resolved = dtype if dtype != "auto" else ("float32" if target == "cpu" else "bfloat16")
        model = _weights(directory, config, getattr(torch, resolved), target)
        if threads is not None or _is_tiny(model):
            torch.set_num_threads(threads or 1)
        parts = (_files_hash(directory), prompts.identity(), resolved)
        fingerprint = hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
        return cls(model, prompts, fingerprint, _end_ids(model, prompts.tokenizer), batch_size, seeded)

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
            token_ids=ids,
            prompt_token_ids=tuple(finished.row.prompt),
        )

    def _count(self, **more: int) -> None:
        old = self._stats
        self._stats = replace(old, **{name: getattr(old, name) + value for name, value in more.items()})

    def stats(self) -> EngineStats:
        if (worker := self._worker) is None:
            return self._stats
        return replace(
            self._stats, cancelled_tokens=worker.cancelled_tokens, cancelled_calls=worker.cancelled_calls
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


class Prompts:
    """Messages to ids and ids to text, by one tokenizer and its chat template."""

    def __init__(self, tokenizer: Any, enable_thinking: bool | None, where: Path) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ConfigError(
                f"model.path: {where} has no chat template; use a post-trained (instruct) model, or add "
                "chat_template.jinja to the directory"
            )
        self.tokenizer = tokenizer
        self.template = str(tokenizer.chat_template)
        self.reasons = "<think>" in self.template and enable_thinking is not False
        self.num_neutralised = 0
        self._arguments = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        added = {
            token: index for token, index in tokenizer.get_added_vocab().items() if len(token.strip()) > 1
        }
        self._control_ids = frozenset(added.values())
        longest_first = sorted(added, key=lambda token: (-len(token), token))
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._own: dict[tuple[str, ...], int] = {}
        self._cache: dict[Messages, tuple[int, ...]] = {}
        self._cached_tokens = 0

    def ids(self, messages: Messages) -> tuple[int, ...]:
        """The rendered prompt. Raises `RequestRefused` if it has more control ids than the template's own."""
        if (known := self._cache.get(messages)) is not None:
            return known
        ids = self._render(tuple(Message(m.role, self._neutral(m.content)) for m in messages))
        roles = tuple(message.role for message in messages)
        if roles not in self._own:
            self._own[roles] = self.num_control_ids(self._render(tuple(Message(role, "x") for role in roles)))
        if (found := self.num_control_ids(ids)) != self._own[roles]:
            raise RequestRefused(
                f"the prompt has {found} control tokens, its chat template {self._own[roles]}"
            )
        if (size := self._cached_tokens + len(ids)) > _REMEMBERED:
            self._cache.clear()
            size = len(ids)
        self._cache[messages], self._cached_tokens = ids, size
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """Markers such as `<think>` stay; lone surrogates become U+FFFD."""
        decoded = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return _SURROGATE.sub("\ufffd", decoded)

    def num_control_ids(self, ids: Iterable[int]) -> int:
        return sum(index in self._control_ids for index in ids)

    def identity(self) -> str:
        return repr((self.template, sorted(self._arguments.items())))

    def _render(self, messages: Messages) -> tuple[int, ...]:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        text = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=False, **self._arguments
        )
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _neutral(self, content: str) -> str:
        """The content with a zero-width joiner after the first character of every added token in it."""
        content = _SURROGATE.sub("\ufffd", content)
        while True:
            content, num = self._control.subn(lambda found: found[0][0] + _JOINER + found[0][1:], content)
            if not num:
                return content
            self.num_neutralised += num


def _directory(path: str, revision: str | None) -> Path:
    directory = Path(path).expanduser()
    if directory.is_dir():
        return directory
    if directory.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise ConfigError(
            f"model.path: {path} is no directory; give a model directory or a Hub id such as Qwen/Qwen3-0.6B"
        )
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=wanted, etag_timeout=5))
    except (OSError, ValueError) as error:
        what = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"model.path: {path} is neither a directory nor to be had from the Hub ({what})"
        ) from None


def _model_config(directory: Path) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    try:
        config = AutoConfig.from_pretrained(directory)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"model.path: {directory} has no usable config.json ({_line(error)})") from None
    if config.model_type not in CAUSAL or getattr(config, "is_encoder_decoder", False):
        raise ConfigError(
            f"model.path: {directory} holds a {config.model_type} model, which is no causal language model; "
            "give one that transformers' AutoModelForCausalLM loads"
        )
    return config


def _tokenizer(directory: Path) -> Any:
    from transformers import AutoTokenizer

    names = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt")
    if not any((directory / name).is_file() for name in names):
        raise ConfigError(
            f"model.path: {directory} has no tokenizer; copy tokenizer.json and tokenizer_config.json there"
        )
    try:
        return AutoTokenizer.from_pretrained(directory)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"model.path: the tokenizer in {directory} cannot be read ({_line(error)})"
        ) from None


def _weights(directory: Path, config: Any, dtype: Any, device: str) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # stderr is the run's own progress
    try:
        model = AutoModelForCausalLM.from_pretrained(directory, config=config, dtype=dtype)
        return model.to(device).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"model.path: {directory} cannot be loaded on {device} ({_line(error)})") from None


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


def _end_ids(model: Any, tokenizer: Any) -> list[int]:
    """The end-of-turn tokens: those of the generation config, and the tokenizer's."""
    named = model.generation_config.eos_token_id
    ids = {named} if isinstance(named, int) else set(named or ())
    return sorted(ids | ({tokenizer.eos_token_id} - {None}))


def _context_length(config: Any) -> int:
    """Positions of the model; without a limit of its own, 2^20."""
    return int(getattr(config, "max_position_embeddings", None) or 1 << 20)


def _files_hash(directory: Path) -> str:
    """A hash of config, tokenizer and weights.

    Files above 64 MiB count by name, size and 64 blocks of 1 MiB: the first (with the safetensors header),
    the last and evenly spaced ones between.
    """
    digest = hashlib.blake2b(digest_size=16)
    names = (
        *("config.json", "generation_config.json", "tokenizer_config.json", "added_tokens.json"),
        *("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt"),
    )
    for file in sorted(directory.iterdir()):
        if not file.is_file() or not (file.name in names or file.suffix in (".safetensors", ".bin")):
            continue
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}\0".encode())
        with file.open("rb") as stream:
            offsets = range(0, size, _BLOCK)
            if size > _WHOLE_FILE:
                offsets = range(0, size - _BLOCK + 1, (size - _BLOCK) // 63)
            for offset in offsets:
                stream.seek(offset)
                digest.update(stream.read(_BLOCK))
    return digest.hexdigest()


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _advice(error: Exception) -> str:
    return "; a smaller engine.batch_size needs less memory" if "out of memory" in str(error) else ""


def _free_gpu_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
