"""A model's files, before its weights are loaded: where they are, what identifies them, how its prompts are rendered.

Every engine that is given a model directory or a Hub id opens it here, so that the same files have the same
fingerprint in every engine.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from veridistill.engines.base import ControlTokens, Rendering
from veridistill.engines.chat import Prompts
from veridistill.errors import ConfigError

_WHOLE_FILE = 64 << 20  # weights files up to this size are hashed whole
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened model: `config` is transformers', `end_ids` are the tokens that end a turn."""

    directory: Path
    config: Any
    prompts: Prompts
    end_ids: tuple[int, ...]

    @classmethod
    def open(
        cls,
        path: str,
        revision: str | None = None,
        enable_thinking: bool | None = None,
        control_tokens: ControlTokens = "neutralise",
    ) -> "Checkpoint":
        """Find a directory or fetch a Hub id, without its weights in memory. Raises `ConfigError` if it is unusable."""
        directory = _directory(path, revision)
        config = _model_config(directory)
        prompts = Prompts(_tokenizer(directory), enable_thinking, directory, control_tokens)
        return cls(directory, config, prompts, tuple(_end_ids(directory, config, prompts.tokenizer)))

    def rendered(self, rendering: Rendering) -> "Checkpoint":
        """The same files with prompts rendered differently."""
        tokenizer, policy = self.prompts.tokenizer, rendering.control_tokens
        prompts = Prompts(tokenizer, rendering.enable_thinking, self.directory, policy)
        return replace(self, prompts=prompts)

    @property
    def context_length(self) -> int:
        """The model's context length; 2^20 if it has no limit."""
        inner = self.config.get_text_config(decoder=True)
        return int(getattr(inner, "max_position_embeddings", None) or 1 << 20)

    def fingerprint(self, *more: str) -> str:
        """Identifies weights, tokenizer, chat template with its arguments, and `more`, for example the dtype."""
        parts = (files_hash(self.directory), self.prompts.identity(), *more)
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _directory(path: str, revision: str | None) -> Path:
    directory = Path(path).expanduser()
    if directory.is_dir():
        return directory
    if directory.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise ConfigError(
            f"model.path: {path} is not a directory; give a model directory or a Hub id such as Qwen/Qwen3-0.6B"
        )
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=wanted, etag_timeout=5))
    except (OSError, ValueError) as error:
        what = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"model.path: {path} is not a directory here and cannot be fetched from the Hub ({what})"
        ) from None


def _model_config(directory: Path) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    try:
        config = AutoConfig.from_pretrained(directory)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"model.path: {directory} has no usable config.json ({line_of(error)})") from None
    if config.model_type not in CAUSAL or getattr(config, "is_encoder_decoder", False):
        raise ConfigError(
            f"model.path: {directory} holds a {config.model_type} model, which is not a causal language model; "
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
            f"model.path: the tokenizer in {directory} cannot be read ({line_of(error)})"
        ) from None


def _end_ids(directory: Path, config: Any, tokenizer: Any) -> list[int]:
    """The end-of-turn tokens: those of the generation config, or else of the model's, and the tokenizer's."""
    from transformers import GenerationConfig

    named = config.get_text_config(decoder=True).eos_token_id
    if (directory / "generation_config.json").is_file():
        named = GenerationConfig.from_pretrained(directory).eos_token_id
    ids = {named} if isinstance(named, int) else set(named or ())
    return sorted(ids | ({tokenizer.eos_token_id} - {None}))


def files_hash(directory: Path) -> str:
    """A hash of config, tokenizer and weights.

    Of files above 64 MiB, name, size and 64 blocks of 1 MiB are hashed: the first (with the safetensors header),
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


def adapter_identity(directory: Path) -> str:
    """What the files of a LoRA adapter add to a model's fingerprint."""
    return files_hash(directory) + (directory / "adapter_config.json").read_text(encoding="utf-8")


def line_of(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
