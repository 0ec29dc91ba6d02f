"""TRL's trainer as a training uses it: our loss on a CPU, our order of rows, and what each step reports."""

import math
from contextlib import nullcontext
from typing import Any

from veridistill.errors import ConfigError
from veridistill.training import checkpoints, head
from veridistill.training.arguments import arguments
from veridistill.training.job import Job, Progress
from veridistill.training.loading import Loaded, Place
from veridistill.training.metrics import Meter, Report
from veridistill.training.steps import micro_batch, num_steps, order


def trainer(job: Job, place: Place, loaded: Loaded, dataset: Any, report: Report) -> Any:
    """A trainer that is ready to train the rows of `dataset`, and reports each step."""
    from transformers import PrinterCallback
    from trl import SFTConfig

    lengths = [len(ids) for ids in dataset["input_ids"]]
    steps = num_steps(job.section, len(lengths))
    sequence = order(lengths, steps, job.section.batch_size, job.section.seed)
    micro = micro_batch(job.section)
    made = _trainer_class(place, loaded.model)(
        model=loaded.model,
        args=SFTConfig(
            **arguments(job, steps, micro, place, loaded.products, SFTConfig.__dataclass_fields__)
        ),
        train_dataset=dataset.select(sequence),
        processing_class=loaded.tokenizer,
        callbacks=[_callback(job, steps, Meter(place, [lengths[i] for i in sequence], steps), report)],
    )
    made.remove_callback(PrinterCallback)
    return made


def _trainer_class(place: Place, model: Any) -> Any:
    """On a CPU with our own head, where it computes the same as the model's."""
    from trl import SFTTrainer

    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    if place != "cpu" or not head.is_plain(inner):
        return SFTTrainer

    class Trainer(SFTTrainer):  # type: ignore[misc]
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            assert not return_outputs, "nothing is evaluated while it trains"
            autocast = self.accelerator.autocast() if self.args.bf16 else nullcontext()
            with autocast:
                found = head.label_log_probs(inner, inputs)
            return losses(found, self.args.loss_type).sum() / max(int(num_items_in_batch or len(found)), 1)

    return Trainer


def losses(log_probs: Any, kind: str) -> Any:
    """The loss of each label: `nll`, or `dft` (arXiv 2508.05629), which weighs it by the label's own probability."""
    return -log_probs * log_probs.exp().detach() if kind == "dft" else -log_probs


def _callback(job: Job, total: int, meter: Meter, report: Report) -> Any:
    """Reports each step, stops at a loss that is not finite, and marks complete checkpoints."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            meter.begin()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            if "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                raise ConfigError(
                    f"training diverged at step {state.global_step} (loss {logs['loss']}); "
                    f"lower train.learning_rate (now {args.learning_rate:g})"
                )
            report(
                Progress(
                    state.global_step,
                    total,
                    float(logs["loss"]),
                    learning_rate=float(logs["learning_rate"]),
                    gradient_norm=float(logs["grad_norm"]),
                    tokens_per_second=meter.tokens_per_second(state.global_step),
                    memory=meter.memory(),
                )
            )

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            checkpoints.mark_whole(job.checkpoints / f"checkpoint-{state.global_step}")

    return Steps()
