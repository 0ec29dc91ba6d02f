"""The key-value states of the rows that are decoded together: what `batch` needs of them, and which kind a model gets.

Models whose state does not fit `slots` (recurrent or chunked layers, unusual masks) are decoded row by row, each row
with the model's own cache (`RowByRow`): slow but correct. `pool_for` chooses by comparing both on a short probe.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from veridistill.engines.local.forward import forward
from veridistill.engines.local.slots import Slots

if TYPE_CHECKING:
    from torch import Tensor


class Pool(Protocol):
    """The model with the states of the rows 0 … n-1."""

    def add(self, prompts: Sequence[Sequence[int]]) -> list[int]:
        """Append rows that have seen all but the last token of their prompts.

        Returns for each how many of its tokens were not computed, because another prompt began with them.
        """
        ...

    def step(self, last: "Tensor", position: "Tensor", width: int) -> "Tensor":
        """Logits [n, vocabulary] after token `last` [n] at `position` [n]; `width` is max(position) + 1."""
        ...

    def keep(self, order: Sequence[int]) -> None:
        """Row i becomes what row order[i] was. `order` moves rows towards the front alone."""
        ...

    def shrink(self) -> None:
        """Give back the memory that the present rows do not use."""
        ...


class RowByRow:
    """The general path: each row has the model's own cache and is run alone."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._caches: list[Any] = []

    def add(self, prompts: Sequence[Sequence[int]]) -> list[int]:
        import torch
        from transformers import DynamicCache

        for prompt in prompts:
            cache = DynamicCache(config=self._model.config)
            if len(prompt) > 1:
                ids = torch.tensor([prompt[:-1]], device=self._model.device)
                forward(self._model, cache, input_ids=ids, logits_to_keep=1)
            self._caches.append(cache)
        return [0] * len(prompts)

    def step(self, last: "Tensor", position: "Tensor", width: int) -> "Tensor":
        import torch

        rows = zip(last[:, None, None], self._caches, strict=True)
        logits = [
            forward(self._model, cache, input_ids=one, logits_to_keep=1).logits[:, -1] for one, cache in rows
        ]
        return torch.cat(logits)

    def keep(self, order: Sequence[int]) -> None:
        self._caches = [self._caches[row] for row in order]

    def shrink(self) -> None:
        """Each row's cache went with its row."""


def pool_for(model: Any, max_rows: int) -> Pool:
    """`Slots` where the model's layers allow it and a probe agrees with `RowByRow`, else `RowByRow`."""
    import torch

    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds <= {"full_attention", "sliding_attention"} or not getattr(
        model, "_supports_attention_backend", False
    ):
        return RowByRow(model)
    probe = [[(7 * i + 3) % config.vocab_size for i in range(length)] for length in (1, 40, 4, 21)]
    with torch.inference_mode():
        try:
            fast, exact = (
                _first_logits(pool, probe, model.device)
                for pool in (Slots(model, max_rows, _prefix_bytes(model.device)), RowByRow(model))
            )
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
            return RowByRow(model)
    close = (fast.softmax(-1) - exact.softmax(-1)).abs().max() < (
        1e-4 if model.dtype == torch.float32 else 0.1
    )
    return Slots(model, max_rows, _prefix_bytes(model.device)) if close else RowByRow(model)


def _prefix_bytes(device: Any) -> int:
    """Memory for prompts that may come again: 1 GiB on the CPU, an eighth of what is free on a GPU."""
    import torch

    return torch.cuda.mem_get_info(device)[0] // 8 if device.type == "cuda" else 1 << 30


def _first_logits(pool: Pool, prompts: list[list[int]], device: Any) -> "Tensor":
    """Logits [2 · prompts, vocabulary] of two steps; the second one feeds the last token once more.

    Two of the prompts share a block of `prefixes`, and one of them ends within the next block.
    """
    import torch

    pool.add(prompts)
    last = torch.tensor([prompt[-1] for prompt in prompts], device=device)
    position = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
    longest = max(map(len, prompts))
    return torch.cat([pool.step(last, position + i, longest + i) for i in range(2)]).float()
