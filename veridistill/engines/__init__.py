"""Engines: implementations of `base.Engine`, and `open_engine`, which makes the configured one."""

import os
from collections.abc import Callable
from pathlib import Path

import veridistill
from veridistill.config import EngineSection, ModelSection
from veridistill.engines.base import Engine, EngineStats, ModelEngine
from veridistill.errors import ConfigError

__all__ = ["Engine", "EngineStats", "ModelEngine", "model_directory", "open_engine"]


def open_engine(section: EngineSection, model: ModelSection) -> ModelEngine:
    """The engine `engine.kind` for a model. Raises `ConfigError` within seconds when it cannot be opened."""
    return _KINDS[section.kind](section, model)


def model_directory(model: ModelSection) -> str:
    """The model's path, a leading `~` resolved, with `lab` replaced by the directory of the embedded model."""
    if model.path == "lab":
        return str(Path(veridistill.__file__).parent / "lab" / "model")
    return os.path.expanduser(model.path)  # not by Path: it would make a name of the Hub of ./a/b


def _local(section: EngineSection, model: ModelSection) -> ModelEngine:
    from veridistill.engines.local import LocalEngine

    if model.lora:
        raise ConfigError(
            f"model.lora: engine.kind=local supports no adapters (found {model.lora}); merge it into the model, or use"
            " engine.kind=vllm"
        )
    return LocalEngine.load(
        model_directory(model),
        revision=model.revision,
        dtype=model.dtype,
        device=section.device,
        batch_size=section.batch_size,
        threads=section.threads,
        max_model_len=section.max_model_len,
        seeded=section.seeded,
        enable_thinking=model.enable_thinking,
        control_tokens=model.control_tokens,
    )


def _vllm(section: EngineSection, model: ModelSection) -> ModelEngine:
    from veridistill.engines.vllm import VllmEngine

    return VllmEngine.load(
        model_directory(model),
        revision=model.revision,
        dtype=model.dtype,
        max_num_seqs=section.max_num_seqs,
        max_model_len=section.max_model_len,
        tensor_parallel=section.tensor_parallel,
        data_parallel=section.data_parallel,
        gpu_memory=section.gpu_memory,
        enforce_eager=section.enforce_eager,
        lora=model.lora,
        seeded=section.seeded,
        enable_thinking=model.enable_thinking,
        control_tokens=model.control_tokens,
    )


def _endpoint(section: EngineSection, model: ModelSection) -> ModelEngine:
    from veridistill.engines.endpoint import EndpointEngine
    from veridistill.engines.endpoint.model import declare
    from veridistill.engines.endpoint.open import Wanted

    directory = model_directory(model)
    declared = declare(model, directory, section.protocol)
    return EndpointEngine.open(section, declared, Wanted(directory, section.served_name))


def _scripted(section: EngineSection, model: ModelSection) -> ModelEngine:
    from veridistill.engines.scripted import Script, ScriptedEngine

    script = Script.load(Path(section.script)) if section.script else Script()
    return ScriptedEngine(script, context_length=section.max_model_len)


def _ray(section: EngineSection, model: ModelSection) -> ModelEngine:
    from veridistill.engines.ray import RayEngine

    return RayEngine.open(section, model)


_KINDS: dict[str, Callable[[EngineSection, ModelSection], ModelEngine]] = {
    "endpoint": _endpoint,
    "local": _local,
    "ray": _ray,
    "scripted": _scripted,
    "vllm": _vllm,
}
