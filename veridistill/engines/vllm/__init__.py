"""vLLM in this program: `engine`, the `processes` that it starts, a LoRA `adapter`, and `watch`."""

from veridistill.engines.vllm.engine import VllmEngine

__all__ = ["VllmEngine"]
