"""Sampling by counter: the exact distribution, rows that differ, and the numbers behind it."""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")

from veridistill.engines.local.sampler import Sampler, uniforms  # noqa: E402

PROBS = [0.35, 0.2, 0.15, 0.12, 0.08, 0.06, 0.03, 0.01]


@pytest.mark.parametrize(
    ("top_p", "top_k", "kept"),
    [
        (1.0, 0, 8),
        (0.88, 0, 5),
        (0.3, 0, 1),
        (0.54, 0, 2),
        (1.0, 3, 3),
        (1.0, 1, 1),
        (0.8, 4, 3),
        (0.9, 4, 4),
        (0.5, 100, 2),
    ],
)
def test_the_sampled_distribution(top_p: float, top_k: int, kept: int) -> None:
    """Chi-square at the 0.1 % level against the exact distribution; the vocabulary is not in order."""
    num, order = 20_000, torch.tensor([3, 0, 6, 1, 7, 2, 5, 4])
    logits = (torch.tensor(PROBS).log() * 0.5)[order].repeat(num, 1)
    floats = torch.tensor([[0.5, top_p]]).repeat(num, 1)
    sampler = Sampler(floats, torch.full((num,), top_k), torch.arange(num))
    counts = Counter(order[sampler(logits, torch.full((num,), 5))].tolist())
    assert set(counts) == set(range(kept))
    mass = sum(PROBS[:kept])
    chi = sum((counts[i] - num * PROBS[i] / mass) ** 2 / (num * PROBS[i] / mass) for i in range(kept))
    limit = {1: 0.0, 2: 10.8, 3: 13.8, 4: 16.3, 5: 18.5, 8: 24.3}[kept]
    assert chi <= limit + 1e-6


def test_rows_with_unlike_sampling_share_a_batch() -> None:
    logits = torch.tensor(PROBS).log().repeat(6, 1)
    floats = torch.tensor([[0.0, 1.0], [1.0, 0.1], [1.0, 1.0], [1.0, 1.0], [5.0, 0.9], [1.0, 0.95]])
    top_k = torch.tensor([0, 0, 1, 0, 3, 2])
    tokens = [
        Sampler(floats, top_k, torch.full((6,), 9))(logits, torch.full((6,), position)).tolist()
        for position in range(200)
    ]
    columns = [set(column) for column in zip(*tokens, strict=True)]
    assert columns[:3] == [{0}, {0}, {0}]
    assert len(columns[3]) >= 7
    assert columns[4] == {0, 1, 2}
    assert columns[5] == {0, 1}


def test_uniforms_are_uniform_and_independent() -> None:
    seeds, positions = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    grid = uniforms(seeds.flatten(), positions.flatten()).view(200, 200)
    assert 0 <= grid.min() <= grid.max() < 1
    assert abs(float(grid.mean()) - 0.5) < 0.006
    assert torch.histc(grid.float(), 20, 0, 1).sub(2000).abs().max() < 200
    for one, other in ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1])):
        assert abs(float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])) < 0.02


# Vocabularies of which only the most likely tokens are looked at.


def spread(kind: str, rows: int = 64, size: int = 5000) -> torch.Tensor:
    """Logits like a model's (a few hundred tokens hold nearly all), nearly flat ones, and rows of both kinds."""
    draw = torch.Generator().manual_seed(3)
    peaked = torch.randn(rows, size, generator=draw) * 2.5
    peaked.scatter_add_(1, torch.randint(size, (rows, 40), generator=draw), torch.full((rows, 40), 8.0))
    flat = torch.randn(rows, size, generator=draw) * 0.3
    return {
        "peaked": peaked,
        "flat": flat,
        "both": torch.where(torch.arange(rows)[:, None] % 2 == 0, peaked, flat),
    }[kind]


def reference(
    logits: torch.Tensor, scale: float, top_k: int, top_p: float, uniform: torch.Tensor
) -> torch.Tensor:
    """Inverse CDF over the whole sorted distribution, in float64 throughout."""
    probs, order = (logits.double() / scale).softmax(-1).sort(descending=True)
    probs[:, top_k or probs.shape[1] :] = 0
    probs /= probs.sum(-1, keepdim=True)
    if top_p < 1:
        probs[(probs.cumsum(-1) - probs) >= top_p] = 0
    sums = probs.cumsum(-1) / probs.sum(-1, keepdim=True)
    rank = (sums <= uniform[:, None]).sum(-1, keepdim=True)
    return order.gather(1, rank)[:, 0]


@pytest.fixture
def sorted_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were sorted whole, by call."""
    counts: list[int] = []
    sort = torch.Tensor.sort

    def counting(self: torch.Tensor, *args: object, **named: object) -> object:
        counts.append(len(self))
        return sort(self, *args, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(torch.Tensor, "sort", counting)
    return counts


@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.5])
@pytest.mark.parametrize("top_k", [0, 1, 20, 512, 513, 2000, 9999])
@pytest.mark.parametrize("kind", ["peaked", "flat", "both"])
def test_every_draw_is_that_of_the_whole_distribution(kind: str, top_k: int, top_p: float) -> None:
    logits, seeds = spread(kind), torch.arange(64)
    floats, ks = torch.tensor([[0.8, top_p]]).repeat(64, 1), torch.full((64,), top_k)
    for position in torch.arange(5):
        at = position.repeat(64)
        wanted = reference(logits, 0.8, top_k, top_p, uniforms(seeds, at))
        assert (Sampler(floats, ks, seeds)(logits, at) != wanted).sum() <= 1  # float32 masses at a border


@pytest.mark.parametrize(
    ("kind", "top_k", "top_p", "least", "most"),
    [
        ("peaked", 0, 0.9, 0, 3),
        ("peaked", 0, 1.0, 0, 12),
        ("flat", 0, 0.95, 64, 64),
        ("flat", 0, 1.0, 40, 64),
        ("flat", 512, 0.95, 0, 0),
        ("peaked", 513, 0.95, 64, 64),
        ("both", 0, 0.95, 32, 40),
    ],
)
def test_only_rows_that_need_it_are_sorted(
    kind: str, top_k: int, top_p: float, least: int, most: int, sorted_rows: list[int]
) -> None:
    floats, ks = torch.tensor([[0.7, top_p]]).repeat(64, 1), torch.full((64,), top_k)
    Sampler(floats, ks, torch.arange(64))(spread(kind), torch.zeros(64, dtype=torch.long))
    assert least <= sum(sorted_rows) <= most


def test_a_row_draws_the_same_alone_and_in_company() -> None:
    logits, at = spread("both").bfloat16(), torch.full((64,), 3)
    floats = torch.tensor([[0.8, 0.95], [1.0, 1.0], [0.0, 1.0], [0.6, 0.9]]).repeat(16, 1)
    ks, seeds = torch.tensor([0, 20, 0, 700]).repeat(16), torch.arange(64) * 7
    together = Sampler(floats, ks, seeds)(logits, at)
    for row in range(64):
        one = slice(row, row + 1)
        assert Sampler(floats[one], ks[one], seeds[one])(logits[one], at[one]) == together[row]


@pytest.mark.parametrize(("temperature", "top_p", "top_k"), [(0.0, 1.0, 0), (0.8, 0.95, 0), (1.0, 1.0, 600)])
def test_masked_tokens_are_never_drawn(temperature: float, top_p: float, top_k: int) -> None:
    logits, allowed = spread("both"), torch.tensor([17, 4000, 4999])
    mask = torch.full((5000,), -torch.inf)
    mask[allowed] = 0
    floats, ks = torch.tensor([[temperature, top_p]]).repeat(64, 1), torch.full((64,), top_k)
    sampler = Sampler(floats, ks, torch.arange(64))
    drawn = {int(t) for at in range(9) for t in sampler(logits + mask, torch.full((64,), at))}
    assert drawn == set(allowed.tolist())
