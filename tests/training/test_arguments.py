"""What the trainer is told, under the names that the installed version has."""

from pathlib import Path
from typing import Literal

import pytest

from tests.training.jobs import job
from veridistill.config import TrainSection
from veridistill.training.arguments import arguments


@pytest.mark.parametrize(
    ("known", "name"),
    [
        (("activation_checkpointing", "gradient_checkpointing"), "activation_checkpointing"),
        (("gradient_checkpointing",), "gradient_checkpointing"),
    ],
)
@pytest.mark.parametrize("value", [False, True])
def test_recomputation_goes_by_its_newest_name_alone(
    tmp_path: Path, known: tuple[str, ...], name: str, value: bool
) -> None:
    made = arguments(job(tmp_path, TrainSection(gradient_checkpointing=value)), 3, 8, "cpu", "float32", known)
    assert {key: made[key] for key in made if key.endswith("_checkpointing")} == {name: value}


def test_a_step_sees_the_whole_batch_and_rows_stay_as_they_are(tmp_path: Path) -> None:
    section = TrainSection(batch_size=64, learning_rate=1e-4, warmup=0.1)
    made = arguments(job(tmp_path, section), 7, 16, "cpu", "float32", ())
    assert made["per_device_train_batch_size"] * made["gradient_accumulation_steps"] == 64
    assert made["loss_type"] == "nll"
    assert (made["max_steps"], made["learning_rate"], made["warmup_steps"]) == (7, 1e-4, 0.1)
    assert (made["max_length"], made["packing"], made["train_sampling_strategy"]) == (
        None,
        False,
        "sequential",
    )


@pytest.mark.parametrize(("place", "gpu"), [("cpu", False), ("cuda", True)])
@pytest.mark.parametrize(("products", "half"), [("float32", False), ("bfloat16", True)])
def test_place_and_dtype_of_products_are_two_choices(
    tmp_path: Path,
    place: Literal["cpu", "cuda"],
    gpu: bool,
    products: Literal["float32", "bfloat16"],
    half: bool,
) -> None:
    made = arguments(job(tmp_path), 1, 8, place, products, ())
    assert (made["use_cpu"], made["dataloader_pin_memory"], made["bf16"]) == (not gpu, gpu, half)
