"""The key-value states of the rows that are decoded together, and one forward pass over all of them.

Keys and values are kept left-aligned in preallocated slots (`Slots`), so a row's position is its slot
index, nothing is concatenated while decoding and a freed slot is filled by moving the last row into it.
Models whose state does not fit that shape (recurrent or chunked layers, unusual masks) are decoded row by
row, each row with the model's own cache (`RowByRow`): slow but correct. `pool_for` chooses by comparing both
on a short probe. Which rows there are is up to `batch`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from veridistill.engines.local.forward import forward

if TYPE_CHECKING:
    from torch import Tensor

_PREFILL_TOKENS = 16_384  # padded tokens of one prefill call: bounds its memory


class Pool(Protocol):
    """The model with the states of the rows 0 … n-1."""

    def add(self, prompts: Sequence[Sequence[int]]) -> None:
        """Append rows that have seen all but the last token of their prompts."""
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


class Slots:
    """Keys and values of all rows in one preallocated tensor per layer, [rows, heads, width, head_dim].

    It is the model's cache while decoding.
    """

    is_compileable = False

    def __init__(self, model: Any, max_rows: int) -> None:
        self._model, self._max_rows = model, max_rows
        config = model.config.get_text_config(decoder=True)
        self._kinds = set(getattr(config, "layer_types", None) or ())
        self._window = getattr(config, "sliding_window", None)
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._num = self._width = 0
        self._rows: Any = None
        self._at: Any = None

    def add(self, prompts: Sequence[Sequence[int]]) -> None:
        bodies = [tuple(prompt[:-1]) for prompt in prompts]
        first, self._num = self._num, self._num + len(prompts)
        where: dict[tuple[int, ...], list[int]] = {}
        for slot, body in enumerate(bodies, first):
            where.setdefault(body, []).append(slot)
        for group in _by_length([body for body in where if body]):
            self._prefill(group, [where[body] for body in group])

    def _prefill(self, bodies: list[tuple[int, ...]], slots: list[list[int]]) -> None:
        """Run right-padded prompts (no token attends to the padding) and copy their states into slots."""
        import torch
        from transformers import DynamicCache

        width = len(bodies[-1])
        ids = torch.tensor([body + (0,) * (width - len(body)) for body in bodies], device=self._model.device)
        cache = DynamicCache()
        forward(self._model.base_model, cache, input_ids=ids)
        target = torch.tensor([slot for group in slots for slot in group], device=ids.device)
        source = torch.tensor([i for i, group in enumerate(slots) for _ in group], device=ids.device)
        self._reserve(cache.layers[0].keys, len(cache.layers), width)
        for layer, new in enumerate(cache.layers):
            self._keys[layer][target, :, :width] = new.keys[source]
            self._values[layer][target, :, :width] = new.values[source]

    def _reserve(self, like: "Tensor", num_layers: int, width: int) -> None:
        """Room for all rows and `width` positions; grows by half at least, so that copies stay few."""
        have = self._keys[0].shape if self._keys else (0, 0, 0, 0)
        if have[0] >= self._num and have[2] >= width:
            return
        rows = have[0] if have[0] >= self._num else min(self._max_rows, max(self._num, 2 * have[0]))
        if have[2] < width:
            width = -(-max(width + 64, have[2] * 3 // 2) // 64) * 64
        shape = (max(rows, self._num), like.shape[1], max(width, have[2]), like.shape[3])
        if not self._keys:
            self._keys = [like.new_zeros(shape) for _ in range(num_layers)]
            self._values = [like.new_zeros(shape) for _ in range(num_layers)]
        else:
            self._resize(shape)

    def _resize(self, shape: tuple[int, ...]) -> None:
        """Copy tensor by tensor, the first one last: after a failure midway its shape is still the old one."""
        for store in (self._values, self._keys):
            for layer in reversed(range(len(store))):
                old = store[layer]
                rows, width = min(shape[0], old.shape[0]), min(shape[2], old.shape[2])
                new = old.new_zeros(shape)
                new[:rows, :, :width] = old[:rows, :, :width]
                store[layer] = new
                del old

    def shrink(self) -> None:
        if self._keys:
            self._resize((self._num, *self._keys[0].shape[1:]))

    def step(self, last: "Tensor", position: "Tensor", width: int) -> "Tensor":
        import torch

        if self._keys:
            self._reserve(self._keys[0], len(self._keys), width)
        self._width, self._at = width, position
        self._rows = torch.arange(len(last), device=last.device)
        return forward(
            self._model,
            self,
            input_ids=last[:, None],
            attention_mask=self._masks(position, width),
            position_ids=position[:, None],
            logits_to_keep=1,
        ).logits[:, -1]

    def _masks(self, position: "Tensor", width: int) -> Any:
        """Additive masks [n, 1, 1, width]; a dict by kind of layer where the model mixes kinds."""
        import torch

        index = torch.arange(width, device=position.device)
        hidden = index > position[:, None]
        lowest = torch.finfo(self._model.dtype).min

        def additive(mask: "Tensor") -> "Tensor":
            return torch.zeros_like(mask, dtype=self._model.dtype).masked_fill_(mask, lowest)[:, None, None]

        full = additive(hidden)
        if not self._window or (self._kinds and "sliding_attention" not in self._kinds):
            return full if len(self._kinds) < 2 else dict.fromkeys(self._kinds, full)
        sliding = additive(hidden | (index <= position[:, None] - self._window))
        if "full_attention" in self._kinds:
            return {"full_attention": full, "sliding_attention": sliding}
        return sliding

    def update(
        self, keys: "Tensor", values: "Tensor", layer: int, *_: Any, **__: Any
    ) -> "tuple[Tensor, Tensor]":
        """Called by the model's attention: store one position per row, hand back what was stored so far."""
        if layer == len(self._keys):  # every prompt so far had a single token, so nothing was prefilled
            shape = (self._num, keys.shape[1], self._width + 64, keys.shape[3])
            self._keys.append(keys.new_zeros(shape))
            self._values.append(values.new_zeros(shape))
        stored_keys, stored_values = self._keys[layer], self._values[layer]
        stored_keys[self._rows, :, self._at] = keys[:, :, 0]
        stored_values[self._rows, :, self._at] = values[:, :, 0]
        return stored_keys[: self._num, :, : self._width], stored_values[: self._num, :, : self._width]

    def get_seq_length(self, layer: int = 0) -> int:
        return self._width - 1

    def keep(self, order: Sequence[int]) -> None:
        import torch

        moved = [(to, source) for to, source in enumerate(order) if to != source]
        self._num = len(order)
        if moved and self._keys:
            to, source = torch.tensor(moved, device=self._keys[0].device).T
            for store in (*self._keys, *self._values):
                store[to, :, : self._width] = store[source, :, : self._width]


class RowByRow:
    """The general path: each row has the model's own cache and is run alone."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._caches: list[Any] = []

    def add(self, prompts: Sequence[Sequence[int]]) -> None:
        import torch
        from transformers import DynamicCache

        for prompt in prompts:
            cache = DynamicCache(config=self._model.config)
            if len(prompt) > 1:
                ids = torch.tensor([prompt[:-1]], device=self._model.device)
                forward(self._model, cache, input_ids=ids, logits_to_keep=1)
            self._caches.append(cache)

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
    probe = [[(7 * i + 3) % config.vocab_size for i in range(length)] for length in (1, 9, 4)]
    with torch.inference_mode():
        try:
            fast, exact = (
                _first_logits(pool, probe, model.device) for pool in (Slots(model, max_rows), RowByRow(model))
            )
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
            return RowByRow(model)
    close = (fast.softmax(-1) - exact.softmax(-1)).abs().max() < (
        1e-4 if model.dtype == torch.float32 else 0.1
    )
    return Slots(model, max_rows) if close else RowByRow(model)


def _first_logits(pool: Pool, prompts: list[list[int]], device: Any) -> "Tensor":
    """Logits [2 · prompts, vocabulary] of two steps; the second one feeds the last token once more."""
    import torch

    pool.add(prompts)
    last = torch.tensor([prompt[-1] for prompt in prompts], device=device)
    position = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
    longest = max(map(len, prompts))
    return torch.cat([pool.step(last, position + i, longest + i) for i in range(2)]).float()


def _by_length(bodies: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Sorted groups of similar length: the longest at most 1.5 times the shortest, plus 32."""
    groups: list[list[tuple[int, ...]]] = []
    for body in sorted(bodies, key=len):
        group = groups[-1] if groups else None
        fits = (
            group
            and len(body) <= 1.5 * len(group[0]) + 32
            and len(body) * (len(group) + 1) <= _PREFILL_TOKENS
        )
        if group is not None and fits:
            group.append(body)
        else:
            groups.append([body])
    return groups
