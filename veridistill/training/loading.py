"""The base model as it is trained: which dtype each weight has while it learns, and in which it is stored.

Weights that learn are float32, since updates smaller than bfloat16 can show would be lost. They are read in that dtype,
one tensor after the other, so that no second copy of the model is ever held. With LoRA the base does not learn, and
stays in its own dtype where this machine multiplies in it.
"""

from dataclasses import dataclass
from typing import Any, Literal

from veridistill.config import LoraSection
from veridistill.engines.dtype import fastest
from veridistill.errors import ConfigError, missing_extra
from veridistill.training.job import Job

Place = Literal["cpu", "cuda"]
Products = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """`storage` is torch's dtype of the base's files, `products` the dtype of matrix products."""

    model: Any
    tokenizer: Any
    storage: Any
    products: Products


def load(job: Job, place: Place) -> Loaded:
    """Model and tokenizer. Raises `ConfigError` when they cannot be loaded."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(job.base_model, revision=job.revision)
        config = AutoConfig.from_pretrained(job.base_model, revision=job.revision)
        # Files whose config names no dtype are read as they are, and then converted.
        first = "float32" if config.dtype is not None and job.section.lora is None else "auto"
        model = AutoModelForCausalLM.from_pretrained(job.base_model, revision=job.revision, dtype=first)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {job.base_model} cannot be loaded for training: {error}") from None
    storage = config.dtype if config.dtype is not None else model.dtype
    products = fastest("gpu" if place == "cuda" else "cpu", model.num_parameters() * storage.itemsize)
    lora = job.section.lora
    if lora is None:
        return Loaded(model.float(), tokenizer, storage, products)
    if products == "float32":
        model = model.float()
    return Loaded(with_lora(model, lora, job.section.seed), tokenizer, storage, products)


def with_lora(model: Any, section: LoraSection, seed: int) -> Any:
    """The model with adapters on the target layers, in float32; nothing else learns. It starts as the base."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise missing_extra("train.lora", "lora") from None
    from transformers import set_seed

    set_seed(seed)
    targets = section.targets[0] if section.targets == ("all-linear",) else list(section.targets)
    config = LoraConfig(
        r=section.rank,
        lora_alpha=section.alpha,
        lora_dropout=0.0,
        target_modules=targets,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(
            f"train.lora.targets: {', '.join(section.targets)} cannot be adapted ({error}); all-linear fits every model"
        ) from None


def merged(model: Any, storage: Any) -> Any:
    """The model with its adapters added to their layers, if it has any, in the dtype in which it is stored.

    Each sum is made in float32 and rounded once, one layer after the other. The given model is used up.
    """
    if not hasattr(model, "peft_config"):
        return model.to(storage)
    for layer in model.modules():
        if hasattr(layer, "lora_A") and hasattr(layer, "get_delta_weight"):
            weight = layer.base_layer.weight
            total = weight.data.float()
            for adapter in layer.active_adapters:
                total += layer.get_delta_weight(adapter).float()
            weight.data = total.to(storage)
    return model.unload().requires_grad_(True).to(storage)
