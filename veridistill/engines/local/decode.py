"""Batched decoding on one device: rows that join and leave, their key-value slots, and sampling by counter.

A batch is a set of rows, each with its own prompt, sampling and seed. `Batch.admit` prefills newcomers in
groups of similar length, `Batch.step` gives every row one more token and returns the rows that finished.
The last prompt token is left out of the prefill and fed by the first step, so all logits come from `step`.

Keys and values are kept left-aligned in preallocated slots (`Slots`), so a row's position is its slot
index, nothing is concatenated while decoding and a freed slot is filled by moving the last row into it.
Models whose state does not fit that shape (recurrent or chunked layers, exotic masks) are decoded row by
row with their own cache (`RowByRow`): slow and right. Which one is used is decided by comparing both on a
short probe.

Everything here runs in one thread. Text, requests and threads are left to `local`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from veridistill.engines.local.forward import forward
from veridistill.records import Sampling

if TYPE_CHECKING:
    from torch import Tensor

_PREFILL_TOKENS = 16_384  # padded tokens of one prefill call: bounds its memory
_REDRAWS = 8  # rejected draws of a token before the exact fallback


@dataclass(eq=False, slots=True)
class Row:
    """One sequence to decode.

    `sampled` are tokens of an earlier stay in the batch, from which it goes on; `born` is the batch's step count
    at its first token.
    """

    prompt: Sequence[int]
    sampling: Sampling
    seed: int
    limit: int
    sampled: tuple[int, ...] = ()
    born: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    row: Row
    token_ids: tuple[int, ...]
    finish_reason: str


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
        """Run right-padded prompts (padding is in nobody's past) and copy their states into slots."""
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
        """Copy tensor by tensor, the first one last: after a failure midway it still tells the old size."""
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
            fast, exact = (_probe(pool, probe) for pool in (Slots(model, max_rows), RowByRow(model)))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
            return RowByRow(model)
    close = (fast.softmax(-1) - exact.softmax(-1)).abs().max() < (
        1e-4 if model.dtype == torch.float32 else 0.1
    )
    return Slots(model, max_rows) if close else RowByRow(model)


def _probe(pool: Pool, prompts: list[list[int]]) -> "Tensor":
    import torch

    pool.add(prompts)
    last, position = (torch.tensor(v) for v in zip(*((p[-1], len(p) - 1) for p in prompts), strict=True))
    device = pool._model.device  # type: ignore[attr-defined]
    logits = [
        pool.step(last.to(device), position.to(device) + i, max(map(len, prompts)) + i) for i in range(2)
    ]
    return torch.cat(logits).float()


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
            self._pool.add([(*row.prompt, *row.sampled) for row in rows])
        except torch.OutOfMemoryError:
            self._pool.keep(range(len(self.rows)))
            raise
        ints, floats = [], []
        for row in rows:
            num, s = len(row.sampled), row.sampling
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
        """Take out the half of the rows that has sampled least, to go on later, and give their memory back."""
        order = sorted(range(len(self.rows)), key=lambda index: self.count(self.rows[index]))
        indices = order[: (len(order) + 1) // 2]
        rows = [self.rows[index] for index in indices]
        for index, row in zip(indices, rows, strict=True):
            row.sampled = self._tokens(index, row)
        self._leave(indices)
        self._pool.shrink()
        return rows

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


class Sampler:
    """Draws one token for each row from its temperature, top_k and top_p, by its seed and position alone.

    A draw is inverse-CDF in vocabulary order, with a uniform from `uniforms`. top_k and top_p are applied
    by rejection: the drawn token is kept if it is among the k most likely and the mass above it is less
    than top_p (of the mass of those k); else it is drawn again with another uniform. That samples the
    filtered distribution exactly and sorts nothing; only rows that were refused `_REDRAWS` times are
    sorted. Tokens as likely as the last one kept are kept too.
    """

    def __init__(self, floats: "Tensor", top_k: "Tensor", seeds: "Tensor") -> None:
        self._temperature, self._top_p, self._top_k, self._seeds = floats[:, :1], floats[:, 1], top_k, seeds
        self._greedy = self._temperature[:, 0] <= 0
        self._any_greedy = bool(self._greedy.any())
        self._scale = self._temperature.masked_fill(self._temperature <= 0, 1.0)
        self._filtered = bool(((self._top_p < 1) | (top_k > 0)).any())
        self._both = bool(((self._top_p < 1) & (top_k > 0)).any())

    def __call__(self, logits: "Tensor", position: "Tensor") -> "Tensor":
        """Tokens [n] from logits [n, vocabulary]; `position` [n] counts the tokens sampled before."""
        import torch

        logits = logits.float()
        probs = (logits / self._scale).softmax(-1)
        token = (
            self._filter(probs, position)
            if self._filtered
            else _draw(probs, uniforms(self._seeds, position, 0))
        )
        return torch.where(self._greedy, logits.argmax(-1), token) if self._any_greedy else token

    def _filter(self, probs: "Tensor", position: "Tensor") -> "Tensor":
        import torch

        size = probs.shape[1]
        top_k = torch.where(self._top_k > 0, self._top_k.clamp(max=size), size)
        bound = self._top_p * _mass_of_top(probs, top_k) if self._both else self._top_p
        token = _draw(probs, uniforms(self._seeds, position, 0))
        left = self._refused(probs, token, top_k, bound).nonzero().flatten()
        for attempt in range(1, _REDRAWS):
            if not len(left):
                return token
            rows = probs[left]
            token[left] = _draw(rows, uniforms(self._seeds[left], position[left], attempt))
            left = left[self._refused(rows, token[left], top_k[left], bound[left], self._top_p[left])]
        if len(left):
            uniform = uniforms(self._seeds[left], position[left], _REDRAWS)
            token[left] = _draw_sorted(probs[left], uniform, top_k[left], bound[left])
        return token

    def _refused(
        self,
        probs: "Tensor",
        token: "Tensor",
        top_k: "Tensor",
        bound: "Tensor",
        top_p: "Tensor | None" = None,
    ) -> "Tensor":
        above = probs > probs.gather(1, token[:, None])
        open_end = (self._top_p if top_p is None else top_p) >= 1
        return (above.sum(-1) >= top_k) | (((probs * above).sum(-1) >= bound) & ~open_end)


def _mass_of_top(probs: "Tensor", top_k: "Tensor") -> "Tensor":
    """The mass [n] of each row's `top_k` [n] most likely tokens; 1 where that is all of them."""
    import torch

    limited = top_k < probs.shape[1]
    most = int(torch.where(limited, top_k, 1).max())
    mass = probs.topk(most).values.cumsum(-1).gather(1, top_k.clamp(max=most)[:, None] - 1)[:, 0]
    return torch.where(limited, mass, 1.0)


def _draw(probs: "Tensor", uniform: "Tensor") -> "Tensor":
    """Inverse CDF in vocabulary order; float64 sums, so that a large vocabulary loses nothing."""
    import torch

    sums = probs.cumsum(-1, dtype=torch.float64)
    found = torch.searchsorted(sums, uniform[:, None] * sums[:, -1:], right=True)[:, 0]
    return found.clamp_(max=probs.shape[1] - 1)


def _draw_sorted(probs: "Tensor", uniform: "Tensor", top_k: "Tensor", bound: "Tensor") -> "Tensor":
    """Inverse CDF over the sorted and cut distribution."""
    import torch

    ranked, order = probs.sort(dim=-1, descending=True, stable=True)
    sums = ranked.cumsum(-1, dtype=torch.float64)
    kept = torch.minimum((sums < bound[:, None]).sum(-1) + 1, top_k)[:, None]
    target = uniform[:, None] * sums.gather(1, kept - 1)
    rank = torch.minimum((sums <= target).sum(-1, keepdim=True), kept - 1)
    return order.gather(1, rank)[:, 0]


def uniforms(seeds: "Tensor", position: "Tensor", attempt: int) -> "Tensor":
    """Numbers [n] in [0, 1), a hash of (seed, position, attempt): two rounds of splitmix64's mixer."""
    import torch

    mixed = (seeds << 32) + (position << 4) + attempt
    for _ in range(2):
        mixed = mixed + _signed(0x9E3779B97F4A7C15)
        mixed = (mixed ^ _shifted(mixed, 30)) * _signed(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ _shifted(mixed, 27)) * _signed(0x94D049BB133111EB)
        mixed = mixed ^ _shifted(mixed, 31)
    return _shifted(mixed, 11).to(torch.float64) * 2.0**-53


def _signed(constant: int) -> int:
    return constant - (1 << 64)


def _shifted(value: "Tensor", bits: int) -> "Tensor":
    """A logical right shift of int64."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


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
