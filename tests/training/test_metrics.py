"""Steps are recorded as lines, each step once, also after a kill."""

import json
from pathlib import Path

from veridistill.training.job import Progress
from veridistill.training.metrics import Meter, peak_resident, recorded


def test_a_resumed_training_goes_on_after_its_checkpoint(tmp_path: Path) -> None:
    path, seen = tmp_path / "metrics.jsonl", []
    first = recorded(path, 0, seen.append)
    for step in (1, 2, 3):
        first(Progress(step, 4, 1.0 / step))
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # killed while it wrote
    again = recorded(path, 2, seen.append)
    for step in (3, 4):
        again(Progress(step, 4, 0.5))
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["step"], one["loss"]) for one in found] == [(1, 1.0), (2, 0.5), (3, 0.5), (4, 0.5)]
    assert [one.step for one in seen] == [1, 2, 3, 3, 4]


def test_a_new_training_forgets_the_steps_of_another(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    recorded(path, 0, lambda _: None)(Progress(1, 1, 2.0))
    recorded(path, 0, lambda _: None)
    assert path.read_text() == ""


def test_the_speed_counts_the_tokens_of_one_step() -> None:
    meter = Meter("cpu", [100, 100, 1, 1], 2)
    meter.begin()
    fast, slow = meter.tokens_per_second(1), meter.tokens_per_second(2)
    assert fast > 10 * slow > 0


def test_memory_is_the_peak_and_never_falls() -> None:
    before = peak_resident()
    held = b"x" * (256 << 20)
    after = peak_resident()
    del held
    slack = 8 << 20  # the system counts pages in batches
    assert after >= max(before, 256 << 20) - slack
    assert Meter("cpu", (), 1).memory() >= after - slack
