"""What `model.dtype: auto` means on this machine: the same for every engine that loads the files, and for training.

A CPU with instructions for products of bfloat16 (AVX512-BF16, AMX) computes a model of half a billion parameters
about three times as fast in bfloat16 as in float32 (docs/measurements.md). Without them nothing is gained. A tiny model
is computed in float32 on every CPU: there the conversions cost more than the products.
"""

from pathlib import Path
from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_TINY = 64 << 20  # bytes of weights
_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def resolved(dtype: Dtype, kind: Literal["cpu", "gpu"], directory: Path) -> str:
    """The name of torch's dtype for the weights in `directory`."""
    if dtype != "auto":
        return dtype
    weights = sum(
        file.stat().st_size for file in directory.glob("*") if file.suffix in (".safetensors", ".bin")
    )
    return fastest(kind, weights)


def fastest(kind: Literal["cpu", "gpu"], num_bytes: int) -> Literal["float32", "bfloat16"]:
    """The dtype in which this machine multiplies weights of `num_bytes`, as they are stored, fastest."""
    if kind == "gpu" or (num_bytes > _TINY and _computes_bfloat16()):
        return "bfloat16"
    return "float32"


def _computes_bfloat16() -> bool:
    import torch

    abilities = torch.cpu.get_capabilities()
    return any(abilities.get(name) for name in _INSTRUCTIONS)
