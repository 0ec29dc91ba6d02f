"""Which model an endpoint is assumed to serve: its identity, and its tokenizer if available.

The identity is what the user declares, never an address. A model directory on this machine has the fingerprint that the
same files have in every engine (`checkpoint`); a Hub id and a bare name count by themselves and their revision, and
nothing that depends on whether the Hub could be reached changes what is kept.
"""

import hashlib
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from veridistill.config import ModelSection
from veridistill.engines.base import Rendering
from veridistill.engines.chat import Guard, Prompts
from veridistill.engines.checkpoint import Checkpoint, adapter_identity
from veridistill.errors import ConfigError, missing_extra

Protocol = Literal["auto", "chat", "completions"]

_TOKENIZER_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True, slots=True)
class Declared:
    """`prompts` is None without a tokenizer; then `guard` knows only the widely used markers.

    `template` are arguments for the chat template of a server that renders the prompt itself. `reasons` is the
    template's own only for a directory; otherwise the user says so, by `enable_thinking`.
    """

    fingerprint: str
    guard: Guard
    template: tuple[tuple[str, bool], ...] = ()
    prompts: Prompts | None = None
    end_ids: tuple[int, ...] = ()
    context: int | None = None
    reasons: bool = False
    source: "_Source | None" = None

    def rendered(self, rendering: Rendering) -> "Declared":
        """The same model with prompts rendered differently."""
        assert self.source is not None
        settings = {"enable_thinking": rendering.enable_thinking, "control_tokens": rendering.control_tokens}
        model = self.source.model.model_copy(update=settings)
        return declare(model, self.source.directory, self.source.protocol)


@dataclass(frozen=True, slots=True)
class _Source:
    """What a model was declared from."""

    model: ModelSection
    directory: str
    protocol: Protocol


def declare(model: ModelSection, directory: str, protocol: Protocol) -> Declared:
    """What the configuration says of the model.

    A directory's fingerprint counts `model.dtype`; `auto`, which only the server could resolve, has an identity of
    its own. Raises `ConfigError` when the protocol needs a tokenizer and none is available.
    """
    return replace(_declared(model, directory, protocol), source=_Source(model, directory, protocol))


def _declared(model: ModelSection, directory: str, protocol: Protocol) -> Declared:
    more = (_adapter(model.lora),) if model.lora else ()
    if Path(directory).is_dir():
        if importlib.util.find_spec("transformers") is None:
            raise missing_extra("reading the tokenizer in model.path", "local")
        checkpoint = _open(directory, model)
        return _with_tokenizer(checkpoint, checkpoint.fingerprint(model.dtype, *more), model)
    named = repr(
        (model.path, model.revision, model.dtype, model.enable_thinking, model.control_tokens, *more)
    )
    fingerprint = hashlib.blake2b(named.encode(), digest_size=16).hexdigest()
    reasons = model.enable_thinking is True
    fetched = None if protocol == "chat" else _fetched(model)
    if fetched is not None:
        return replace(_with_tokenizer(_open(fetched, model), fingerprint, model), reasons=reasons)
    if protocol == "completions":
        raise ConfigError(
            f"engine.protocol=completions needs the tokenizer of model.path, and {model.path} is neither a directory "
            "here nor a Hub id that can be fetched; give the directory, or set engine.protocol=chat"
        )
    return Declared(fingerprint, Guard(None, model.control_tokens), _template(model), reasons=reasons)


def _with_tokenizer(checkpoint: Checkpoint, fingerprint: str, model: ModelSection) -> Declared:
    prompts, ends, context = checkpoint.prompts, checkpoint.end_ids, checkpoint.context_length
    return Declared(fingerprint, prompts.guard, _template(model), prompts, ends, context, prompts.reasons)


def _template(model: ModelSection) -> tuple[tuple[str, bool], ...]:
    return () if model.enable_thinking is None else (("enable_thinking", model.enable_thinking),)


def _open(directory: str, model: ModelSection) -> Checkpoint:
    return Checkpoint.open(directory, model.revision, model.enable_thinking, model.control_tokens)


def _adapter(path: str) -> str:
    """A LoRA adapter as the engine `vllm` counts its files; one that is not here counts by its name."""
    directory = Path(path).expanduser()
    return adapter_identity(directory) if (directory / "adapter_config.json").is_file() else path


def _fetched(model: ModelSection) -> str | None:
    """The directory of a Hub id's tokenizer, without weights; None for no Hub id, or one that cannot be fetched."""
    if model.path.count("/") != 1 or model.path.startswith((".", "/", "~")):
        return None
    if any(importlib.util.find_spec(needed) is None for needed in ("huggingface_hub", "transformers")):
        return None
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(
            model.path, revision=model.revision, allow_patterns=_TOKENIZER_FILES, etag_timeout=5
        )
    except (OSError, ValueError):
        return None
