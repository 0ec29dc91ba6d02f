"""The plan of a training's steps: how many there are, and which rows each one sees. Pure.

Every optimizer step sees exactly `batch_size` samples. They come from one endless sequence of shuffled passes over
the rows, in which only the order *inside* a step is changed, by length, so that micro-batches carry little padding.
The loss is the mean over the step's label tokens, so that order cannot change what is learned.
"""

import math
import random
from collections.abc import Sequence

from veridistill.config import TrainSection

DEFAULT_EPOCHS = 2.0


def num_steps(section: TrainSection, num_rows: int) -> int:
    """Optimizer steps: `max_steps`, or as many whole batches as hold `epochs` passes over the rows."""
    if section.max_steps is not None:
        return section.max_steps
    return math.ceil(num_rows * (section.epochs or DEFAULT_EPOCHS) / section.batch_size)


def micro_batch(section: TrainSection) -> int:
    """The largest divisor of `batch_size` that is at most `micro_batch_size`, so that every step is exact."""
    most = min(section.micro_batch_size, section.batch_size)
    return next(size for size in range(most, 0, -1) if section.batch_size % size == 0)


def order(lengths: Sequence[int], steps: int, batch_size: int, seed: int) -> list[int]:
    """Row indices of all steps: shuffled passes joined end to end, each step's rows then sorted by length."""
    rng = random.Random(seed)
    sequence: list[int] = []
    while len(sequence) < steps * batch_size:
        one_pass = list(range(len(lengths)))
        rng.shuffle(one_pass)
        sequence += one_pass
    batches = (sequence[start : start + batch_size] for start in range(0, steps * batch_size, batch_size))
    return [index for batch in batches for index in sorted(batch, key=lengths.__getitem__)]
