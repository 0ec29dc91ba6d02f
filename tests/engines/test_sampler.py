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
    grid = uniforms(seeds.flatten(), positions.flatten(), 0).view(200, 200)
    assert 0 <= grid.min() <= grid.max() < 1
    assert abs(float(grid.mean()) - 0.5) < 0.006
    assert torch.histc(grid.float(), 20, 0, 1).sub(2000).abs().max() < 200
    for one, other in ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1])):
        assert abs(float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])) < 0.02
