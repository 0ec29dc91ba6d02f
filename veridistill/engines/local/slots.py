"""The usual key-value states: one preallocated tensor per layer, and one forward pass over all rows.

Keys and values are kept left-aligned, so a row's position is its slot index, nothing is concatenated while decoding
and a freed slot is filled by moving the last row into it. Prompts are computed in these slots too, behind what
`prefixes` has of them. Which rows there are is up to `batch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from veridistill.engines.local.forward import forward
from veridistill.engines.local.prefixes import BLOCK, Prefixes, Stretch, blocks_of

if TYPE_CHECKING:
    from torch import Tensor

_PREFILL_TOKENS = 4096  # padded tokens of one forward pass over prompts: bounds its memory


@dataclass(slots=True)
class Newcomer:
    """A prompt that joins in one or several slots; `found` of its blocks were kept from earlier prompts."""

    body: tuple[int, ...]
    slots: list[int]
    blocks: list[bytes]
    found: int = -1

    @property
    def done(self) -> int:
        return self.found * BLOCK

    @property
    def left(self) -> int:
        return len(self.body) - self.done


class Slots:
    """Keys and values of all rows in one preallocated tensor per layer, [rows, heads, width, head_dim].

    It is the model's cache, in prefill and while decoding.
    """

    is_compileable = False

    def __init__(self, model: Any, max_rows: int, prefix_bytes: int = 0) -> None:
        self._model, self._max_rows = model, max_rows
        config = model.config.get_text_config(decoder=True)
        self._kinds = set(getattr(config, "layer_types", None) or ())
        self._window = getattr(config, "sliding_window", None)
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._prefixes = Prefixes(prefix_bytes)
        self._num = 0
        self._filled = 0  # positions that hold states, in the row that has most
        self._width = 0  # of the present pass, like the next three
        self._rows: Any = None
        self._seen: Any = None
        self._at: Any = None

    def add(self, prompts: Sequence[Sequence[int]]) -> list[int]:
        import torch

        bodies = [tuple(prompt[:-1]) for prompt in prompts]
        first, self._num = self._num, self._num + len(prompts)
        where: dict[tuple[int, ...], list[int]] = {}
        for slot, body in enumerate(bodies, first):
            where.setdefault(body, []).append(slot)
        waiting = [Newcomer(body, slots, blocks_of(body)) for body, slots in where.items() if body]
        reused = [0] * len(prompts)
        try:
            while waiting:
                ready, waiting = self._round(waiting)
                self._prefill(ready)
                for one in ready:
                    reused[one.slots[0] - first] = one.done
                    for slot in one.slots[1:]:
                        reused[slot - first] = len(one.body)
        except torch.OutOfMemoryError:
            self._prefixes.close()
            raise
        return reused

    def _round(self, waiting: list[Newcomer]) -> tuple[list[Newcomer], list[Newcomer]]:
        """Who is computed now, and who waits because another one computes the block that it needs next.

        Nobody waits twice for nothing: a block may not have found room.
        """
        ready, later, claimed = [], [], set[bytes]()
        for one in waiting:
            before, one.found = one.found, self._prefixes.count(one.blocks)
            needed = set(one.blocks[one.found : one.found + 1])
            if needed & claimed and one.found > before:
                later.append(one)
            else:
                claimed |= needed
                ready.append(one)
        return ready, later

    def _prefill(self, newcomers: list[Newcomer]) -> None:
        """Fill the slots of prompts, from what is kept of them and by computing the rest."""
        width = max(len(one.body) for one in newcomers) + 1
        self._filled = max(self._filled, width)
        self._reserve(width)
        kept = [Stretch(one.slots[0], one.blocks[: one.found]) for one in newcomers]
        self._prefixes.load((*self._keys, *self._values), kept)
        for group in _by_length([one for one in newcomers if one.left]):
            self._compute(group)
        to, source = [], []
        for one in newcomers:
            to += one.slots[1:]
            source += one.slots[:1] * (len(one.slots) - 1)
        self._move(to, source, width)
        self._prefixes.save(
            (*self._keys, *self._values), [Stretch(one.slots[0], one.blocks) for one in newcomers]
        )

    def _compute(self, group: list[Newcomer]) -> None:
        """The rest of prompts, in forward passes of at most `_PREFILL_TOKENS` tokens.

        Shorter rests are padded at the end; padding is stored behind all prompts of the group, where none looks.
        """
        import torch

        behind = max(len(one.body) for one in group)
        longest = max(one.left for one in group)
        size = min(longest, max(1, _PREFILL_TOKENS // len(group)))
        device = self._model.device
        rows = torch.tensor([one.slots[0] for one in group], device=device)
        for start in range(0, longest, size):
            ids, at = [], []
            for one in group:
                begin = one.done + start
                end = min(len(one.body), begin + min(size, longest - start))
                padding = min(size, longest - start) - max(0, end - begin)
                ids.append([*one.body[begin:end], *[0] * padding])
                at.append([*range(begin, end), *[behind] * padding])
            width = max(map(max, at)) + 1
            self._run(
                self._model.base_model,
                rows,
                torch.tensor(ids, device=device),
                torch.tensor(at, device=device),
                width,
            )

    def _run(
        self,
        module: Any,
        rows: "Tensor | slice",
        ids: "Tensor",
        position: "Tensor",
        width: int,
        **options: Any,
    ) -> Any:
        """One forward pass of tokens `ids` [n, tokens] at `position` [n, tokens] of some rows."""
        import torch

        self._width, self._at, self._seen = width, position, rows
        self._rows = torch.arange(self._num, device=ids.device)[rows][:, None]
        masks = self._masks(position, width)
        return forward(module, self, input_ids=ids, attention_mask=masks, position_ids=position, **options)

    def _reserve(self, width: int) -> None:
        """Room for all rows and `width` positions; grows by half at least, so that copies stay few."""
        if not self._keys:
            return
        have = self._keys[0].shape
        if have[0] >= self._num and have[2] >= width:
            return
        rows = have[0] if have[0] >= self._num else min(self._max_rows, max(self._num, 2 * have[0]))
        if have[2] < width:
            width = _rounded(max(width + 64, have[2] * 3 // 2))
        self._resize((max(rows, self._num), have[1], max(width, have[2]), have[3]))

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
        self._prefixes.close()
        if self._keys:
            self._resize((self._num, *self._keys[0].shape[1:]))

    def step(self, last: "Tensor", position: "Tensor", width: int) -> "Tensor":
        self._filled = width
        self._reserve(width)
        output = self._run(
            self._model, slice(len(last)), last[:, None], position[:, None], width, logits_to_keep=1
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _masks(self, position: "Tensor", width: int) -> Any:
        """Additive masks [n, 1, tokens, width]; a dict by kind of layer where the model mixes kinds."""
        import torch

        index = torch.arange(width, device=position.device)
        hidden = index > position[..., None]
        lowest = torch.finfo(self._model.dtype).min

        def additive(mask: "Tensor") -> "Tensor":
            return torch.zeros_like(mask, dtype=self._model.dtype).masked_fill_(mask, lowest)[:, None]

        full = additive(hidden)
        if not self._window or (self._kinds and "sliding_attention" not in self._kinds):
            return full if len(self._kinds) < 2 else dict.fromkeys(self._kinds, full)
        sliding = additive(hidden | (index <= position[..., None] - self._window))
        if "full_attention" in self._kinds:
            return {"full_attention": full, "sliding_attention": sliding}
        return sliding

    def update(
        self, keys: "Tensor", values: "Tensor", layer: int, *_: Any, **__: Any
    ) -> "tuple[Tensor, Tensor]":
        """Called by the model's attention: store the new positions, hand back what the rows have so far."""
        if layer == len(self._keys):
            shape = (self._num, keys.shape[1], _rounded(self._filled + 64), keys.shape[3])
            self._keys.append(keys.new_zeros(shape))
            self._values.append(values.new_zeros(shape))
        stored_keys, stored_values = self._keys[layer], self._values[layer]
        stored_keys[self._rows, :, self._at] = keys.transpose(1, 2)
        stored_values[self._rows, :, self._at] = values.transpose(1, 2)
        return stored_keys[self._seen, :, : self._width], stored_values[self._seen, :, : self._width]

    def get_seq_length(self, layer: int = 0) -> int:
        return self._width - 1

    def keep(self, order: Sequence[int]) -> None:
        self._num = len(order)
        moved = [(to, source) for to, source in enumerate(order) if to != source]
        self._move([to for to, _ in moved], [source for _, source in moved], self._filled)

    def _move(self, to: list[int], source: list[int], width: int) -> None:
        import torch

        if to and self._keys:
            indices = torch.tensor([to, source], device=self._keys[0].device)
            for store in (*self._keys, *self._values):
                store[indices[0], :, :width] = store[indices[1], :, :width]


def _rounded(width: int) -> int:
    return -(-width // 64) * 64


def _by_length(newcomers: list[Newcomer]) -> list[list[Newcomer]]:
    """Sorted groups with as much left to compute: the longest at most 1.5 times the shortest, plus 32."""
    groups: list[list[Newcomer]] = []
    for one in sorted(newcomers, key=lambda one: one.left):
        group = groups[-1] if groups else None
        fits = (
            group and one.left <= 1.5 * group[0].left + 32 and one.left * (len(group) + 1) <= _PREFILL_TOKENS
        )
        if group is not None and fits:
            group.append(one)
        else:
            groups.append([one])
    return groups
