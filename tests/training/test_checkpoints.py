"""Which checkpoints are resumed from: whole ones of the same job."""

from pathlib import Path

import pytest

from tests.training.jobs import job
from veridistill.config import TrainSection
from veridistill.errors import ConfigError
from veridistill.training import checkpoints


def made(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_bytes(b"w")
    return path


def test_the_last_whole_one_is_found_and_torn_ones_are_removed(tmp_path: Path) -> None:
    assert checkpoints.last_whole(tmp_path) is None
    for step in (9, 10):
        checkpoints.mark_whole(made(tmp_path, step))
    torn = made(tmp_path, 11)
    found = checkpoints.last_whole(tmp_path)
    assert found == tmp_path / "checkpoint-10"
    assert checkpoints.step_of(found) == 10
    assert not torn.exists()


def test_those_of_another_job_are_discarded(tmp_path: Path) -> None:
    (tmp_path / "examples.parquet").write_bytes(b"rows")
    (tmp_path / "work").mkdir()
    kept = job(tmp_path).checkpoints / "checkpoint-1"

    def left(section: TrainSection, **fields: object) -> bool:
        kept.mkdir(parents=True, exist_ok=True)
        checkpoints.discard_those_of_another_job(job(tmp_path, section, **fields))
        return kept.exists()

    assert not left(TrainSection())
    assert left(TrainSection())
    assert left(TrainSection(micro_batch_size=1, save_steps=7), threads=1)
    assert not left(TrainSection(learning_rate=1e-6))
    assert not left(TrainSection(learning_rate=1e-6), base_model="other")
    (tmp_path / "examples.parquet").write_bytes(b"other rows")
    assert not left(TrainSection(learning_rate=1e-6), base_model="other")


def test_a_model_of_other_examples_does_not_pass_for_one_of_these(tmp_path: Path) -> None:
    one = job(tmp_path)
    one.work.mkdir()
    checkpoints.check_examples(one)  # nothing is known of them: there is nothing to compare
    one.examples.write_bytes(b"rows")
    checkpoints.discard_those_of_another_job(one)
    checkpoints.check_examples(one)
    one.examples.write_bytes(b"other rows")
    with pytest.raises(ConfigError, match=r"model: was trained on other examples than .*another --out"):
        checkpoints.check_examples(one)
