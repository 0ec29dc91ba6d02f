"""The Ray cluster under the `ray` engine: joined or started, what a replica needs of it, and whether there is room.

Also what replicas are given: their section and model, with paths that are valid on other nodes. `pool` supervises the
replicas.
"""

import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from veridistill.config import EngineSection, ModelSection
from veridistill.engines import model_directory
from veridistill.engines.ray.replica import Replica
from veridistill.errors import ConfigError

_OBJECT_STORE = 256 << 20  # bytes; a batch of replies is a few megabytes


def connect(address: str | None) -> bool:
    """Start Ray here, or join a cluster; whether it was started here and must be shut down."""
    import ray

    if ray.is_initialized():
        return False
    _hush()
    if address is not None and address.startswith("ray://"):
        raise ConfigError(
            f"engine.address: {address} is Ray Client; run on a node of the cluster and use address auto"
        )
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        ray.init("local", include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
        return True
    try:
        _reached(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
        ray.init(address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"engine.address: no Ray cluster at {address} ({line_of(error)}); start one with `ray start --head`,"
            " or leave the address out"
        ) from None
    return False


def _hush() -> None:
    """Silence Ray: the engine reports deaths itself, and Ray would print them on stdout, which is data here."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *_, **__: None
    logging.getLogger("ray").setLevel(logging.ERROR)  # init warns before it heeds its own level
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default; else it warns


def _reached(address: str) -> None:
    """Raise `OSError` at once where nothing answers: Ray would try for many minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=5).close()


def demand(section: EngineSection) -> dict[str, float]:
    """The resources that one replica needs of its node; Ray must be connected."""
    gpus = section.actor_gpus
    if gpus is None and section.kind == "vllm":
        gpus = float(section.tensor_parallel * section.data_parallel)
    if gpus is None:
        wants = section.kind == "local" and section.device != "cpu"
        has = any(node.get("GPU") for node in _nodes())
        gpus = float(wants and (has or section.device != "auto"))
    return {"CPU": section.actor_cpus, "GPU": gpus, **section.actor_resources}


def _nodes() -> list[dict[str, float]]:
    """What each living node of the cluster has."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def check_room(demand: dict[str, float]) -> None:
    def fits(node: dict[str, float]) -> bool:
        return all(node.get(name, 0.0) >= amount for name, amount in demand.items())

    if not any(map(fits, _nodes())):
        raise no_room(demand, "fits on no node of the cluster")


def no_room(demand: dict[str, float], what: str) -> ConfigError:
    import ray

    total, free = ray.cluster_resources(), ray.available_resources()
    names = {*demand, "CPU", "GPU"}
    has = ", ".join(f"{name} {total.get(name, 0):g} ({free.get(name, 0):g} free)" for name in sorted(names))
    asked = ", ".join(f"{name} {amount:g}" for name, amount in demand.items() if amount)
    return ConfigError(
        f"engine.kind=ray: a replica that asks for {asked or 'nothing'} {what}; the cluster's {len(_nodes())} nodes"
        f" have {has} together; change engine.actor_gpus, actor_cpus or actor_resources, add nodes, or set"
        " engine.replica=local where there are no GPUs"
    )


def actor(demand: dict[str, float]) -> Any:
    import ray

    custom = {name: amount for name, amount in demand.items() if name not in ("CPU", "GPU")}
    return ray.remote(Replica).options(num_cpus=demand["CPU"], num_gpus=demand["GPU"], resources=custom)


def line_of(error: BaseException) -> str:
    """The line of Ray's long messages that says what happened: the last of a traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1] if any("Traceback" in line or "ray::" in line for line in lines) else lines[0]


def for_replicas(section: EngineSection) -> EngineSection:
    """The section as a replica reads it: its own kind, its own GPU (Ray shows no other), whole paths."""
    script = str(Path(section.script).resolve()) if section.script else None
    device = "cuda" if section.device.startswith("cuda") else section.device
    return section.model_copy(update={"kind": section.replica, "device": device, "script": script})


def checked(section: EngineSection, model: ModelSection) -> ModelSection:
    """The model with its path made absolute where it is seen from here; then its files are checked at once."""
    directory = Path(model_directory(model)).expanduser()
    if section.replica == "scripted" or not (directory.is_dir() or section.address is None):
        return model
    with suppress(ModuleNotFoundError):  # the nodes may have what this machine has not
        from veridistill.engines.checkpoint import Checkpoint

        Checkpoint.open(model_directory(model), model.revision, model.enable_thinking, model.control_tokens)
    if model.path == "lab" or not directory.is_dir():
        return model
    return model.model_copy(update={"path": str(directory.resolve())})
