"""The plan of the steps, without training."""

from collections import Counter

import pytest

from veridistill.config import TrainSection
from veridistill.training.steps import micro_batch, num_steps, order


@pytest.mark.parametrize(
    ("settings", "num_rows", "steps"),
    [
        ({"max_steps": 7}, 10, 7),
        ({}, 64, 2),
        ({"epochs": 4}, 1000, 63),
        ({"epochs": 0.5}, 128, 1),
        ({"epochs": 1}, 3, 1),
    ],
)
def test_num_steps(settings: dict[str, float], num_rows: int, steps: int) -> None:
    assert num_steps(TrainSection(**settings), num_rows) == steps


@pytest.mark.parametrize(
    ("batch", "micro", "chosen"), [(64, 8, 8), (64, 100, 64), (64, 24, 16), (7, 4, 1), (6, 4, 3)]
)
def test_micro_batch_divides_the_batch(batch: int, micro: int, chosen: int) -> None:
    assert micro_batch(TrainSection(batch_size=batch, micro_batch_size=micro)) == chosen


def test_order_is_passes_over_all_rows_in_exact_batches() -> None:
    lengths = [(7 * i) % 50 + 1 for i in range(100)]
    sequence = order(lengths, steps=25, batch_size=16, seed=3)
    assert len(sequence) == 400
    assert set(Counter(sequence).values()) == {4}
    for start in range(0, 400, 16):
        batch = [lengths[i] for i in sequence[start : start + 16]]
        assert batch == sorted(batch)
    assert sequence != order(lengths, steps=25, batch_size=16, seed=4)


def test_grouping_by_length_changes_no_batch() -> None:
    plain, grouped = order([1] * 100, 25, 16, 3), order([(7 * i) % 50 for i in range(100)], 25, 16, 3)
    assert [sorted(plain[i : i + 16]) for i in range(0, 400, 16)] == [
        sorted(grouped[i : i + 16]) for i in range(0, 400, 16)
    ]
