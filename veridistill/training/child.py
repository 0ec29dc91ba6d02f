"""The training process: `python -m veridistill.training.child JOB.json`, started by `launcher`.

It trains with TRL on pre-tokenised rows with labels, so no template and no truncation comes between what was sampled
and what is learned. It writes one JSON object per step to stdout; what libraries print goes to stderr, the log. The
model's directory appears by a rename. It ends when its stdin closes, so it cannot outlive its parent.
"""

import copy
import gc
import importlib.util
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from veridistill.data.tables import EXAMPLES
from veridistill.errors import ConfigError, missing_extra
from veridistill.training import checkpoints
from veridistill.training.card import CARD, card
from veridistill.training.job import RESULT, Job, TrainResult
from veridistill.training.loading import Place, load, merged
from veridistill.training.metrics import Meter, Report, recorded
from veridistill.training.rows import Rows, rows, stop_ids
from veridistill.training.trainer import trainer


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
    loaded = load(job, place)
    dataset, counts = _dataset(job, stop_ids(loaded.model, loaded.tokenizer))
    # The trainer sets both configs to the tokenizer's ids; the saved model must say what its base says.
    configs = copy.deepcopy((loaded.model.config, loaded.model.generation_config))
    checkpoint = checkpoints.last_whole(job.checkpoints)
    resumed_from = checkpoints.step_of(checkpoint) if checkpoint else 0
    found = trainer(job, place, loaded, dataset, recorded(job.work / "metrics.jsonl", resumed_from, report))
    found.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    steps, log = found.args.max_steps, found.state.log_history
    # Optimizer and gradients are given up before the model is converted and written.
    del found
    loaded.model.zero_grad(set_to_none=True)
    gc.collect()
    model = merged(loaded.model, loaded.storage)
    model.config, model.generation_config = configs
    result = TrainResult(
        steps=steps,
        losses=tuple(entry["loss"] for entry in log if "loss" in entry),
        num_rows=counts.num_rows,
        num_dropped=counts.num_dropped,
        label_tokens=counts.label_tokens,
        resumed_from=resumed_from,
        seconds=round(time.monotonic() - start, 3),
        epochs=round(steps * job.section.batch_size / counts.num_rows, 3),
        memory=Meter(place, (), 1).memory(),
    )
    _save(job, model, result)


def _check_packages() -> None:
    """Raise `MissingExtra` before anything large is imported."""
    for name in ("torch", "transformers", "datasets", "accelerate", "trl"):
        if importlib.util.find_spec(name) is None:
            raise missing_extra("training", "train")


def _place(job: Job) -> Place:
    import torch

    if job.device != "cpu" and torch.cuda.is_available():
        return "cuda"
    if job.device.startswith("cuda"):
        raise ConfigError(f"engine.device={job.device}: no such CUDA device; set auto or cpu")
    return "cpu"


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


def _save(job: Job, model: Any, result: TrainResult) -> None:
    """The whole directory under another name, synced, then renamed. The tokenizer is the base's own."""
    from transformers import AutoTokenizer

    temporary = job.out.with_name(job.out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    AutoTokenizer.from_pretrained(job.base_model, revision=job.revision).save_pretrained(temporary)
    (temporary / CARD).write_text(card(job.origin, job.section, result), encoding="utf-8")
    (temporary / RESULT).write_text(json.dumps(asdict(result)), encoding="utf-8")
    checkpoints.sync([*temporary.rglob("*"), temporary])
    temporary.rename(job.out)
    checkpoints.sync([job.out.parent])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
