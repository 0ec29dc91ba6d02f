"""The trainer's arguments: each where our choice differs from TRL's default, under the name that the installed version
has for it. Pure, and the one place where a name is chosen.
"""

from collections.abc import Collection
from typing import Any, Literal

from veridistill.training.job import Job


def arguments(
    job: Job,
    steps: int,
    micro: int,
    place: Literal["cpu", "cuda"],
    products: Literal["float32", "bfloat16"],
    known: Collection[str],
) -> dict[str, Any]:
    """Keyword arguments of `trl.SFTConfig`, whose field names are `known`.

    Rows come tokenised, with labels, in the order of `steps.order`: nothing may be prepared, cut, packed or shuffled.
    `micro` samples go through the model at once. What learns is float32; `products` is the dtype in which it is
    multiplied (autocast).
    """
    section, gpu = job.section, place == "cuda"
    return {
        "output_dir": str(job.checkpoints),
        "max_steps": steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": section.batch_size // micro,
        "train_sampling_strategy": "sequential",
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "packing": False,
        "loss_type": section.loss,
        "learning_rate": section.learning_rate,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "warmup_steps": section.warmup,
        "weight_decay": section.weight_decay,
        "max_grad_norm": section.clip,
        "seed": section.seed,
        "bf16": products == "bfloat16",
        "use_cpu": not gpu,
        "dataloader_pin_memory": gpu,
        "save_strategy": "steps",
        "save_steps": section.save_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
        checkpointing_name(known): section.gradient_checkpointing,
    }


def checkpointing_name(known: Collection[str]) -> str:
    """The old name warns since transformers 5.23; the new one is missing in 5.20."""
    return "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
