"""The rows that are decoded together: they join, get one token a step, and leave.

Each row has its own prompt, sampling and seed. `Batch.admit` prefills newcomers, `Batch.step` gives every row one
more token and returns the rows that finished. The last prompt token is left out of the prefill and fed by the first
step, so all logits come from `step`. The states of the rows are kept by a `pool`, tokens are drawn by `sampler`; text,
requests and threads are left to `engine`, and everything here runs in one thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from veridistill.engines.choices import Ids, next_ids
from veridistill.engines.local.pool import Pool
from veridistill.engines.local.sampler import Sampler
from veridistill.records import Sampling

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(eq=False, slots=True)
class Row:
    """One sequence to decode.

    `allowed` are the only replies that it may have, if any (`choices`); `sampled` are the tokens that it had when it
    was evicted from the batch, from which it continues; `born` is the batch's step count at its first token; `reused`
    is how much of the prompt was not computed for it.
    """

    prompt: Sequence[int]
    sampling: Sampling
    seed: int
    limit: int
    allowed: tuple[Ids, ...] = ()
    sampled: tuple[int, ...] = ()
    born: int = 0
    reused: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    row: Row
    token_ids: tuple[int, ...]
    finish_reason: str


class Batch:
    """The rows that are decoded together."""

    def __init__(self, pool: Pool, end_ids: Sequence[int], device: Any) -> None:
        import torch

        self.rows: list[Row] = []
        self._pool, self._device = pool, device
        self._end = torch.tensor(sorted(end_ids), dtype=torch.long, device=device)
        self._steps = 0
        # Columns: last token, position, count of sampled tokens, limit, seed, top_k / temperature, top_p.
        self._ints = torch.zeros((0, 6), dtype=torch.long, device=device)
        self._floats = torch.zeros((0, 2), dtype=torch.float32, device=device)
        self._sampled = torch.zeros((0, 64), dtype=torch.long, device=device)

    def admit(self, rows: Sequence[Row]) -> None:
        import torch

        try:
            reused = self._pool.add([(*row.prompt, *row.sampled) for row in rows])
        except torch.OutOfMemoryError:
            self._pool.keep(range(len(self.rows)))
            raise
        ints, floats = [], []
        for row, num_reused in zip(rows, reused, strict=True):
            num, s = len(row.sampled), row.sampling
            row.reused = row.reused if num else num_reused
            row.born = self._steps - num
            last = row.sampled[-1] if num else row.prompt[-1]
            ints.append((last, len(row.prompt) + num - 1, num, row.limit, row.seed, s.top_k))
            floats.append((s.temperature, s.top_p))
        self.rows += rows
        self._ints = torch.cat([self._ints, torch.tensor(ints, device=self._device)])
        self._floats = torch.cat(
            [self._floats, torch.tensor(floats, device=self._device, dtype=torch.float32)]
        )
        wider = max(0, max(len(row.sampled) for row in rows) - self._sampled.shape[1])
        self._sampled = torch.nn.functional.pad(self._sampled, (0, wider, 0, len(rows)))
        for index, row in enumerate(rows, len(self.rows) - len(rows)):
            if row.sampled:
                self._sampled[index, : len(row.sampled)] = torch.tensor(row.sampled, device=self._device)
        self._recompose()

    def _recompose(self) -> None:
        import torch

        self._index = torch.arange(len(self.rows), device=self._device)
        self._width = max((len(row.prompt) + self.count(row) for row in self.rows), default=0)
        self._oldest = min((row.born for row in self.rows), default=0)
        self._restricted = [index for index, row in enumerate(self.rows) if row.allowed]
        self._sampler = Sampler(self._floats, self._ints[:, 5], self._ints[:, 4])

    def count(self, row: Row) -> int:
        """Tokens sampled so far for a row that is in the batch."""
        return self._steps - row.born

    def step(self) -> list[Finished]:
        """One more token for every row; the rows that are done leave the batch.

        A step that runs out of memory changes nothing: it can be taken again with fewer rows (`evict`).
        """
        import torch

        ints = self._ints
        logits = self._pool.step(ints[:, 0], ints[:, 1], self._width)
        for index in self._restricted:
            self._restrict(logits[index], index)
        token = self._sampler(logits, ints[:, 2])
        if self._sampled.shape[1] <= self._steps - self._oldest:
            self._sampled = torch.nn.functional.pad(self._sampled, (0, self._sampled.shape[1]))
        self._sampled[self._index, ints[:, 2]] = token
        ints[:, 0] = token
        ints[:, 1:3] += 1
        self._steps += 1
        self._width += 1
        ended = torch.isin(token, self._end)
        done = (ended | (ints[:, 2] >= ints[:, 3])).nonzero().flatten().tolist()
        if not done:
            return []
        stopped = ended.tolist()
        finished = [
            Finished(row, self._tokens(index, row), "stop" if stopped[index] else "length")
            for index, row in ((index, self.rows[index]) for index in done)
        ]
        self._leave(done)
        return finished

    def drop(self, rows: Sequence[Row]) -> int:
        """Take rows out unfinished; returns how many tokens were sampled for them."""
        gone = set(map(id, rows))
        indices = [index for index, row in enumerate(self.rows) if id(row) in gone]
        tokens = sum(self.count(self.rows[index]) for index in indices)
        if indices:
            self._leave(indices)
        return tokens

    def evict(self) -> list[Row]:
        """Take out the half of the rows that has sampled least, to be continued later, and free their memory."""
        order = sorted(range(len(self.rows)), key=lambda index: self.count(self.rows[index]))
        indices = order[: (len(order) + 1) // 2]
        rows = [self.rows[index] for index in indices]
        for index, row in zip(indices, rows, strict=True):
            row.sampled = self._tokens(index, row)
        self._leave(indices)
        self._pool.shrink()
        return rows

    def _restrict(self, logits: "Tensor", index: int) -> None:
        """Leave one row's logits [vocabulary] only the tokens that go on one of its allowed replies."""
        row = self.rows[index]
        ids = next_ids(row.allowed, self._tokens(index, row))
        kept = logits[ids]
        logits.fill_(float("-inf"))
        logits[ids] = kept

    def _tokens(self, index: int, row: Row) -> tuple[int, ...]:
        return tuple(self._sampled[index, : self.count(row)].tolist())

    def _leave(self, indices: Sequence[int]) -> None:
        """Fill the places of the rows that leave with rows from the end."""
        gone = set(indices)
        num = len(self.rows) - len(gone)
        tail = [index for index in range(num, len(self.rows)) if index not in gone]
        order = [tail.pop() if index in gone else index for index in range(num)]
        self._pool.keep(order)
        self.rows = [self.rows[index] for index in order]
        self._ints, self._floats, self._sampled = self._ints[order], self._floats[order], self._sampled[order]
        self._recompose()
