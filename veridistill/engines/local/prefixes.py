"""Keys and values of prompt beginnings that may come again, kept after their rows are gone.

Judges read much and write little: the votes of one candidate have the same prompt, the stages share question and
answer, the candidates of a question share the question. What such prompts have in common is computed once. It is kept
in blocks of `BLOCK` tokens; a block is identified by its tokens and all tokens before it, so that equal text in
another place is another block. When the room is used up, the block that was used longest ago makes way.
Which prompts share what is up to `slots`.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 16


@dataclass(frozen=True, slots=True)
class Stretch:
    """The blocks from the beginning of one row of the slots."""

    row: int
    blocks: Sequence[bytes]


def blocks_of(tokens: Sequence[int]) -> list[bytes]:
    """The identities of the whole blocks of `tokens`."""
    found, last = [], b""
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        last = blake2b(last + array("q", tokens[start : start + BLOCK]).tobytes(), digest_size=16).digest()
        found.append(last)
    return found


class Prefixes:
    """Blocks of keys and values, at most `max_bytes` of them, in tensors [places, BLOCK, heads, head_dim] per layer."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._places: dict[bytes, int] = {}  # least recently used first
        self._stores: list[Tensor] = []
        self._free: list[int] = []

    def count(self, blocks: Sequence[bytes]) -> int:
        """How many of the first blocks are here."""
        return next((i for i, block in enumerate(blocks) if block not in self._places), len(blocks))

    def load(self, slots: Sequence["Tensor"], stretches: Sequence[Stretch]) -> None:
        """Copy blocks that are here into `slots`, tensors [rows, heads, width, head_dim]."""
        import torch

        places = [self._places[block] for stretch in stretches for block in stretch.blocks]
        if not places:
            return
        starts = [(one.row, BLOCK * index) for one in stretches for index in range(len(one.blocks))]
        place = torch.tensor(places, device=slots[0].device)
        rows, columns = _area(starts, slots[0])
        for slot, store in zip(slots, self._stores, strict=True):
            slot[rows, :, columns] = store[place]

    def save(self, slots: Sequence["Tensor"], stretches: Sequence[Stretch]) -> None:
        """Keep the blocks that are not here yet, as far as there is room; all of `stretches` count as used now."""
        import torch

        if not self._stores:
            self._open(slots)
        new: dict[bytes, tuple[int, int]] = {}
        for one in stretches:
            for index, block in enumerate(one.blocks):
                if block not in self._places:
                    new.setdefault(block, (one.row, BLOCK * index))
        self._make_room(len(new), {block for one in stretches for block in one.blocks})
        new = dict(islice(new.items(), len(self._free)))
        if new:
            places = [self._free.pop() for _ in new]
            place = torch.tensor(places, device=slots[0].device)
            rows, columns = _area(new.values(), slots[0])
            for slot, store in zip(slots, self._stores, strict=True):
                store[place] = slot[rows, :, columns]
            self._places |= zip(new, places, strict=True)
        # A block must not make way before the blocks that follow it, which are useless without it.
        for one in stretches:
            for block in reversed(one.blocks):
                if (at := self._places.pop(block, None)) is not None:
                    self._places[block] = at

    def _make_room(self, num: int, used: set[bytes]) -> None:
        """Up to `num` free places, by dropping blocks that are not `used`."""
        old = (block for block in self._places if block not in used)
        for block in list(islice(old, max(0, num - len(self._free)))):
            self._free.append(self._places.pop(block))

    def _open(self, slots: Sequence["Tensor"]) -> None:
        heads, size = slots[0].shape[1], slots[0].shape[3]
        each = sum(BLOCK * heads * size * slot.element_size() for slot in slots)
        self._free = list(reversed(range(self._max_bytes // each)))
        self._stores = [slot.new_empty((len(self._free), BLOCK, heads, size)) for slot in slots]

    def close(self) -> None:
        """Give the memory back and keep nothing from now on."""
        self._max_bytes = 0
        self._places, self._free, self._stores = {}, [], []


def _area(starts: Iterable[tuple[int, int]], like: "Tensor") -> "tuple[Tensor, Tensor]":
    """Rows [n, 1] and columns [n, BLOCK] of blocks that start at (row, column)."""
    import torch

    rows, columns = torch.tensor(list(starts), device=like.device).T
    return rows[:, None], columns[:, None] + torch.arange(BLOCK, device=like.device)
