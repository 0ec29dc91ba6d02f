"""The training process: `python -m veridistill.training.child JOB.json`, started by `launcher`.

It trains with TRL on pre-tokenised rows with labels, so no template and no truncation comes between what was sampled
and what is learned. It writes one JSON object per step to stdout; what libraries print goes to stderr, the log. The
model's directory appears by a rename. It ends when its stdin closes, so it cannot outlive its parent.
"""

import copy
import importlib.util
import json
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from veridistill.data.tables import EXAMPLES
from veridistill.engines.dtype import fastest
from veridistill.errors import ConfigError, missing_extra
from veridistill.training import checkpoints
from veridistill.training.arguments import arguments
from veridistill.training.card import CARD, card
from veridistill.training.job import RESULT, Job, Progress, TrainResult
from veridistill.training.rows import Rows, rows, stop_ids
from veridistill.training.steps import num_steps, order

Report = Callable[[Progress], None]


def main(argv: Sequence[str]) -> int:
    """Train the job in the file `argv[0]`; a `ConfigError` is reported on stdout. Returns the exit status."""
    _die_with_parent()
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as lines:
        os.dup2(2, 1)
        job = Job.model_validate_json(Path(argv[0]).read_text(encoding="utf-8"))
        try:
            fit(job, lambda progress: print(json.dumps(asdict(progress)), file=lines))
        except ConfigError as error:
            print(json.dumps({"error": str(error)}), file=lines)
            return error.exit_code
    return 0


def _die_with_parent() -> None:
    """End when stdin closes: the system closes it however the parent ends. Only steps since a checkpoint are lost."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def fit(job: Job, report: Report) -> None:
    """Train the job, resuming from its last complete checkpoint, and save the model with its result and its card.

    Raises `ConfigError` for faults that the user can correct.
    """
    start = time.monotonic()
    _check_packages()
    place = _place(job)
    model, tokenizer, storage = _load(job)
    products = fastest("gpu" if place == "cuda" else "cpu", model.num_parameters() * storage.itemsize)
    dataset, counts = _dataset(job, stop_ids(model, tokenizer))
    # The trainer sets both configs to the tokenizer's ids; the saved model must say what its base says.
    configs = copy.deepcopy((model.config, model.generation_config))
    trainer = _trainer(job, place, products, model, tokenizer, dataset, report)
    checkpoint = checkpoints.last_whole(job.checkpoints)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model.config, model.generation_config = configs
    result = TrainResult(
        steps=trainer.args.max_steps,
        losses=tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry),
        num_rows=counts.num_rows,
        num_dropped=counts.num_dropped,
        label_tokens=counts.label_tokens,
        resumed_from=checkpoints.step_of(checkpoint) if checkpoint else 0,
        seconds=round(time.monotonic() - start, 3),
    )
    _save(job, model.to(storage), result)


def _check_packages() -> None:
    """Raise `MissingExtra` before anything large is imported."""
    for name in ("torch", "transformers", "datasets", "accelerate", "trl"):
        if importlib.util.find_spec(name) is None:
            raise missing_extra("training", "train")


def _place(job: Job) -> Literal["cpu", "cuda"]:
    import torch

    if job.device != "cpu" and torch.cuda.is_available():
        return "cuda"
    if job.device.startswith("cuda"):
        raise ConfigError(f"engine.device={job.device}: no such CUDA device; set auto or cpu")
    return "cpu"


def _load(job: Job) -> tuple[Any, Any, Any]:
    """Model in float32, tokenizer, and the dtype in which the weights are stored.

    Updates smaller than bfloat16 can show would be lost, so weights are float32 while they train.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(job.base_model, revision=job.revision)
        model = AutoModelForCausalLM.from_pretrained(job.base_model, revision=job.revision, dtype="auto")
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {job.base_model} cannot be loaded for training: {error}") from None
    storage = model.dtype
    return model.float(), tokenizer, storage


def _dataset(job: Job, stops: Sequence[int]) -> tuple[Any, Rows]:
    """The rows as an in-memory Arrow dataset (4 bytes a token and label), in file order."""
    import pyarrow as pa
    from datasets import Dataset

    schema = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))])
    counts, parts = Rows(), []
    made = rows(EXAMPLES.read(job.examples), job.section.max_length, stops, counts)
    while batch := [row._asdict() for row in islice(made, 1024)]:
        parts.append(pa.Table.from_pylist(batch, schema=schema))
    if counts.num_rows == 0:
        raise ConfigError(
            f"{job.examples}: no row is left to train on: {counts.num_dropped} are longer than "
            f"train.max_length={job.section.max_length}"
        )
    return Dataset(pa.concat_tables(parts)), counts


def _trainer(
    job: Job,
    place: Literal["cpu", "cuda"],
    products: Literal["float32", "bfloat16"],
    model: Any,
    tokenizer: Any,
    dataset: Any,
    report: Report,
) -> Any:
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    lengths = [len(ids) for ids in dataset["input_ids"]]
    steps = num_steps(job.section, len(lengths))
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**arguments(job, steps, place, products, SFTConfig.__dataclass_fields__)),
        train_dataset=dataset.select(order(lengths, steps, job.section.batch_size, job.section.seed)),
        processing_class=tokenizer,
        callbacks=[_callback(job, steps, report)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _callback(job: Job, total: int, report: Report) -> Any:
    """Reports each step, stops at a loss that is not finite, and marks complete checkpoints."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                raise ConfigError(
                    f"training diverged at step {state.global_step} (loss {logs['loss']}); "
                    f"lower train.learning_rate (now {args.learning_rate:g})"
                )
            report(Progress(state.global_step, total, float(logs["loss"])))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            checkpoints.mark_whole(job.checkpoints / f"checkpoint-{state.global_step}")

    return Steps()


def _save(job: Job, model: Any, result: TrainResult) -> None:
    """The whole directory under another name, synced, then renamed. The tokenizer is the base's own."""
    from transformers import AutoTokenizer

    temporary = job.out.with_name(job.out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    AutoTokenizer.from_pretrained(job.base_model, revision=job.revision).save_pretrained(temporary)
    (temporary / CARD).write_text(card(job, result), encoding="utf-8")
    (temporary / RESULT).write_text(json.dumps(asdict(result)), encoding="utf-8")
    checkpoints.sync([*temporary.rglob("*"), temporary])
    temporary.rename(job.out)
    checkpoints.sync([job.out.parent])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
