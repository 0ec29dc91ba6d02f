"""A LoRA adapter, as far as it must be known before vLLM is loaded."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.engines.checkpoint import adapter_identity, line_of
from veridistill.errors import ConfigError

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the LoRA ranks that vLLM has room for


@dataclass(frozen=True, slots=True)
class Adapter:
    directory: Path
    rank: int
    fingerprint: str

    @classmethod
    def open(cls, path: str) -> "Adapter":
        directory = Path(path).expanduser()
        file = directory / "adapter_config.json"
        try:
            rank = json.loads(file.read_text(encoding="utf-8"))["r"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"model.lora: {directory} holds no LoRA adapter ({line_of(error)})") from None
        if not isinstance(rank, int) or not 1 <= rank <= _RANKS[-1]:
            raise ConfigError(f"model.lora: vLLM takes ranks from 1 to {_RANKS[-1]}, {file} has {rank}")
        return cls(directory, next(fits for fits in _RANKS if fits >= rank), adapter_identity(directory))

    def request(self) -> Any:
        from vllm.lora.request import LoRARequest

        return LoRARequest("adapter", 1, str(self.directory))
