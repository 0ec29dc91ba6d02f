"""Supervised fine-tuning by TRL, in a process of its own: the device's memory is free before and after.

`train` is the parent's side: it starts `python -m veridistill.training.sft SPEC.json` with the same
interpreter, passes progress on and raises what went wrong. The child trains on pre-tokenised rows with
labels, so no template and no truncation comes between what was sampled and what is learned. The model's
directory appears by a rename.

Every optimizer step sees exactly `batch_size` samples. They come from one endless sequence of shuffled passes
over the rows, in which only the order *inside* a step is changed, by length, so that micro-batches carry
little padding. The loss is the mean over the step's label tokens, so that order cannot change what is
learned.
"""

import asyncio
import copy
import hashlib
import json
import math
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from veridistill.config import TrainSection
from veridistill.data.tables import EXAMPLES
from veridistill.errors import ConfigError, Incomplete, missing_extra
from veridistill.training.rows import Rows, rows, stop_ids

DEFAULT_EPOCHS = 2.0
CARD = "README.md"
SUMMARY = "training.json"
_COMPLETE = "complete"
_LOG_TAIL = 30


@dataclass(frozen=True, slots=True)
class Progress:
    """One optimizer step of the child; `loss` is the mean over the step's label tokens, in nats."""

    step: int
    total: int
    loss: float


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training did, as `training.json` in the model's directory tells it.

    `losses` has one entry a step, in nats; `resumed_from` is the step that a killed run was taken up at;
    `seconds` is the child's time, without what a killed run spent.
    """

    steps: int
    losses: tuple[float, ...]
    num_rows: int
    num_dropped: int
    label_tokens: int
    resumed_from: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Spec:
    """What the child is told. Paths are absolute."""

    section: dict[str, Any]
    base_model: str
    revision: str | None
    examples: str
    work: str
    out: str
    device: str


# --- the parent ---------------------------------------------------------------------------------------------


async def train(
    section: TrainSection,
    base_model: str,
    revision: str | None,
    examples: Path,
    work: Path,
    out: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> TrainResult:
    """Train `base_model` on `examples` (Parquet) into the directory `out`; nothing is done when `out` exists.

    `work` holds the log, and the checkpoints until training is done; those of the same training are gone on
    from. Raises `ConfigError` for what the user can set right, and `Incomplete` with the log's tail for
    anything else. Cancelling kills the child, and so does the end of this process.
    """
    if out.exists():
        _check_examples(examples, work, out)
        return read_result(out)
    if not examples.is_file():
        raise ConfigError(f"{examples}: there are no examples to train on; run build first")
    work.mkdir(parents=True, exist_ok=True)
    base = str(Path(base_model).resolve()) if Path(base_model).is_dir() else base_model
    spec = Spec(
        section=section.model_dump(mode="json"),
        base_model=base,
        revision=revision,
        examples=str(examples.resolve()),
        work=str(work.resolve()),
        out=str(out.resolve()),
        device=device,
    )
    _forget_other_checkpoints(section, spec)
    file = work / "spec.json"
    file.write_text(json.dumps(asdict(spec), indent=2), encoding="utf-8")
    await _watch(file, _environment(base, device, threads), work / "train.log", progress)
    shutil.rmtree(work / "checkpoints", ignore_errors=True)
    return read_result(out)


def read_result(model: Path) -> TrainResult:
    """The summary in a trained model's directory. Raises `ConfigError` when it holds none."""
    try:
        data = json.loads((model / SUMMARY).read_text(encoding="utf-8"))
        return TrainResult(**{**data, "losses": tuple(data["losses"])})
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(
            f"{model}: is not a model trained here ({SUMMARY} is missing); move it away"
        ) from None


async def _watch(
    spec: Path, environment: dict[str, str], log: Path, progress: Callable[[Progress], None]
) -> None:
    """Run the child to its end. Its stdin is open as long as this process lives; see `_die_with_parent`."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "veridistill.training.sft", str(spec)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
    last, fault = None, None
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            data = json.loads(line)
            if "error" in data:
                fault = str(data["error"])
            else:
                last = Progress(**data)
                progress(last)
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if fault is not None:
        raise ConfigError(fault)
    if status != 0:
        raise Incomplete(_failure(status, last, log))


def _failure(status: int, last: Progress | None, log: Path) -> str:
    tail = log.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")[-_LOG_TAIL:]
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    where = f"after step {last.step} of {last.total}" if last else "before its first step"
    memory = status == -9 or any("out of memory" in line.lower() for line in tail)
    hint = "; memory ran out: lower train.micro_batch_size" if memory else ""
    return "\n".join(
        [
            f"training {how} {where}{hint}. The same command goes on from the last checkpoint. End of {log}:",
            *tail,
        ]
    )


def _environment(base: str, device: str, threads: int | None) -> dict[str, str]:
    """The child's: one GPU at most, since TRL refuses several in one process, no telemetry, no network for
    files.
    """
    root = str(Path(__file__).resolve().parents[2])
    ours = {
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if Path(base).is_dir():
        ours["HF_HUB_OFFLINE"] = "1"
    if threads is not None:
        ours["OMP_NUM_THREADS"] = str(threads)
    if device == "cpu":
        ours["CUDA_VISIBLE_DEVICES"] = ""
    elif device == "auto" or device.startswith("cuda"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if device == "auto" and os.environ.get("CUDA_VISIBLE_DEVICES") == "":
            return {**os.environ, **ours}  # the user hides the GPUs
        index = int(device.partition(":")[2] or 0)
        ours["CUDA_VISIBLE_DEVICES"] = (
            visible[index] if index < len(visible) and visible[index] else str(index)
        )
    return {**os.environ, **ours}


def _digest(examples: Path) -> str:
    with examples.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _check_examples(examples: Path, work: Path, out: Path) -> None:
    """A model that was trained on other examples must not pass for one of these."""
    mark = work / "identity.json"
    if mark.is_file() and examples.is_file() and json.loads(mark.read_text("utf-8"))[3] != _digest(examples):
        raise ConfigError(
            f"{out}: was trained on other examples than {examples} (the seeds or prompts changed under the same name);"
            " start a run of its own with another --out"
        )


def _forget_other_checkpoints(section: TrainSection, spec: Spec) -> None:
    """Checkpoints of another training (other settings, base or examples) must not be gone on from."""
    settings = {
        name: getattr(section, name)
        for name, field in TrainSection.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["kind"] == "identity"
    }
    identity = json.dumps([settings, spec.base_model, spec.revision, _digest(Path(spec.examples))])
    mark = Path(spec.work) / "identity.json"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != identity:
        shutil.rmtree(Path(spec.work) / "checkpoints", ignore_errors=True)
        mark.write_text(identity, encoding="utf-8")


# --- the plan of the steps ----------------------------------------------------------------------------------


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
        one = list(range(len(lengths)))
        rng.shuffle(one)
        sequence += one
    starts = range(0, steps * batch_size, batch_size)
    return [
        i for start in starts for i in sorted(sequence[start : start + batch_size], key=lengths.__getitem__)
    ]


# --- the child ----------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """The child: one JSON object a step on stdout; what libraries print goes to stderr, the log."""
    _die_with_parent()
    lines = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def emit(**data: object) -> None:
        lines.write(json.dumps(data) + "\n")

    spec = Spec(**json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    try:
        _fit(spec, emit)
    except ConfigError as error:
        emit(error=str(error))
        return error.exit_code
    return 0


def _die_with_parent() -> None:
    """End when stdin closes, which the system sees to however the parent ends. A checkpoint is all that is
    lost.
    """

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _fit(spec: Spec, emit: Callable[..., None]) -> None:
    start = time.monotonic()
    section = TrainSection.model_validate(spec.section)
    model, tokenizer, storage = _load(spec)
    dataset, counts = _dataset(Path(spec.examples), section, stop_ids(model, tokenizer))
    steps = num_steps(section, counts.num_rows)
    # The trainer aligns both with the tokenizer; the saved model shall say what its base says.
    configs = copy.deepcopy((model.config, model.generation_config))
    trainer = _trainer(spec, section, model, tokenizer, dataset, steps, emit)
    checkpoint = _last_checkpoint(Path(spec.work) / "checkpoints")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model.config, model.generation_config = configs
    result = TrainResult(
        steps=steps,
        losses=tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry),
        num_rows=counts.num_rows,
        num_dropped=counts.num_dropped,
        label_tokens=counts.label_tokens,
        resumed_from=int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0,
        seconds=round(time.monotonic() - start, 3),
    )
    _save(spec, section, model.to(storage), result)


def _load(spec: Spec) -> tuple[Any, Any, Any]:
    """Model in float32, tokenizer, and the dtype in which the weights are stored.

    Updates smaller than bfloat16 can show would be lost, so weights are float32 while they train; a GPU
    multiplies in bfloat16 (autocast).
    """
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise missing_extra("training", "train") from None
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(spec.base_model, revision=spec.revision)
        model = AutoModelForCausalLM.from_pretrained(spec.base_model, revision=spec.revision, dtype="auto")
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {spec.base_model} cannot be loaded for training: {error}") from None
    storage = model.dtype
    return model.float(), tokenizer, storage


def _dataset(path: Path, section: TrainSection, stops: Sequence[int]) -> tuple[Any, Rows]:
    """The rows as an in-memory Arrow dataset (4 bytes a token and label), in file order."""
    import pyarrow as pa
    from datasets import Dataset

    schema = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))])
    counts, parts = Rows(), []
    made = rows(EXAMPLES.read(path), section.max_length, stops, counts)
    while batch := [row._asdict() for row in islice(made, 1024)]:
        parts.append(pa.Table.from_pylist(batch, schema=schema))
    if counts.num_rows == 0:
        raise ConfigError(
            f"{path}: no row is left to train on: {counts.num_dropped} are longer than "
            f"train.max_length={section.max_length}"
        )
    return Dataset(pa.concat_tables(parts)), counts


def _trainer(
    spec: Spec,
    section: TrainSection,
    model: Any,
    tokenizer: Any,
    dataset: Any,
    steps: int,
    emit: Callable[..., None],
) -> Any:
    import torch
    from transformers import PrinterCallback
    from trl import SFTTrainer

    lengths = [len(ids) for ids in dataset["input_ids"]]
    gpu = spec.device != "cpu" and torch.cuda.is_available()
    if spec.device.startswith("cuda") and not gpu:
        raise ConfigError(f"engine.device={spec.device}: no CUDA device is there; set auto or cpu")
    trainer = SFTTrainer(
        model=model,
        args=_arguments(spec, section, steps, gpu),
        train_dataset=dataset.select(order(lengths, steps, section.batch_size, section.seed)),
        processing_class=tokenizer,
        callbacks=[_callback(emit, Path(spec.work) / "checkpoints", steps)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(spec: Spec, section: TrainSection, steps: int, gpu: bool) -> Any:
    from trl import SFTConfig

    micro = micro_batch(section)
    known = SFTConfig.__dataclass_fields__
    # The old name warns in transformers 5.23, the new one is missing in 5.20.
    recompute = (
        "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    )
    return SFTConfig(
        output_dir=str(Path(spec.work) / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=section.batch_size // micro,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        learning_rate=section.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=section.warmup,
        weight_decay=section.weight_decay,
        max_grad_norm=section.clip,
        seed=section.seed,
        bf16=gpu,
        use_cpu=not gpu,
        dataloader_pin_memory=gpu,
        save_strategy="steps",
        save_steps=section.save_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        **{recompute: section.gradient_checkpointing},
    )


def _callback(emit: Callable[..., None], checkpoints: Path, total: int) -> Any:
    """Tells each step, stops on a loss that is no number, and marks checkpoints that are whole."""
    from transformers import TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                raise ConfigError(
                    f"training diverged at step {state.global_step} (loss {logs['loss']}); "
                    f"lower train.learning_rate (now {args.learning_rate:g})"
                )
            emit(step=state.global_step, total=total, loss=float(logs["loss"]))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            folder = checkpoints / f"checkpoint-{state.global_step}"
            _sync(folder)
            (folder / _COMPLETE).touch()

    return Report()


def _last_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that was written whole; torn ones are removed."""
    found = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    for step, path in list(found.items()):
        if not (path / _COMPLETE).exists():
            shutil.rmtree(found.pop(step))
    return found[max(found)] if found else None


def _save(spec: Spec, section: TrainSection, model: Any, result: TrainResult) -> None:
    """The whole directory under another name, synced, then renamed. The tokenizer is the base's own."""
    from transformers import AutoTokenizer

    out = Path(spec.out)
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    AutoTokenizer.from_pretrained(spec.base_model, revision=spec.revision).save_pretrained(temporary)
    (temporary / CARD).write_text(_card(spec, section, result), encoding="utf-8")
    (temporary / SUMMARY).write_text(json.dumps(asdict(result)), encoding="utf-8")
    _sync(temporary)
    temporary.rename(out)
    _sync(out.parent, files=())


def _sync(folder: Path, files: Sequence[Path] | None = None) -> None:
    """Force a folder's files, and its entries, to disk."""
    for path in [*(folder.rglob("*") if files is None else files), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _card(spec: Spec, section: TrainSection, result: TrainResult) -> str:
    """The model card: our own, since TRL's names no base for a local directory."""
    local = Path(spec.base_model).is_dir()
    name = Path(spec.base_model).name if local else spec.base_model
    revision = f" at revision `{spec.revision}`" if spec.revision else ""
    head = "" if local else f"base_model: {name}\n"
    settings = "\n".join(f"| {key} | {value} |" for key, value in section.model_dump().items())
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [self-verified-distillation, veridistill]
{head}---

# {name}, after self-verified distillation

`{name}`{revision} fine-tuned with [veridistill](https://arxiv.org/abs/2605.26132) on its own outputs: for
unlabeled questions it sampled candidate solutions and judged them itself by a cascade of unanimous votes; it
was trained on the accepted ones. No answers, no teacher and no tools were used.

{result.num_rows} examples ({result.label_tokens} tokens of replies; {result.num_dropped} more were too long),
{result.steps} optimizer steps. All weights were trained, with the loss on the reply alone,
by AdamW with a cosine to 10 % of the peak rate.

| setting | value |
|---|---|
{settings}

What the base model is unfit for, this model is unfit for too. Its own judgement chose its training data:
errors that it cannot see may have been reinforced.
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
