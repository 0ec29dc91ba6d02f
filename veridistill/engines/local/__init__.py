"""The embedded engine: a transformers model in this process, on the CPU or one GPU."""

from veridistill.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
