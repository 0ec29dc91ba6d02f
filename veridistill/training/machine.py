"""The device that a training gets, and how much it holds: seen here without torch, or named as `8xH100-80`."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from veridistill.errors import ConfigError

_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Machine:
    """`memory` is bytes of one device; a training runs on one, however many there are (`count`)."""

    place: Literal["cpu", "cuda"]
    name: str
    count: int
    memory: int


def named(gpus: str) -> Machine:
    """`8xH100-80`: number, name, GiB of each. Raises `ConfigError` for anything else."""
    found = re.fullmatch(r"(?:(\d+)x)?([A-Za-z][\w ]*)-(\d+)", gpus.strip())
    if found is None or int(found[1] or 1) < 1 or int(found[3]) < 1:
        raise ConfigError(f"--gpus {gpus}: must be NUMBERxNAME-GIB, for example 8xH100-80 or A100-40")
    return Machine("cuda", found[2], int(found[1] or 1), int(found[3]) << 30)


def here(device: str) -> Machine:
    """What `engine.device` finds on this machine."""
    if device != "cpu" and (gpus := _gpus()):
        return gpus
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _CGROUP.read_text(encoding="ascii").strip() if _CGROUP.is_file() else "max"
    return Machine("cpu", "CPU", 1, min(memory, int(limit)) if limit.isdecimal() else memory)


def _gpus() -> Machine | None:
    """By nvidia-smi: to ask torch would open a context in this process, and take memory from the engine."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=memory.total,name", "--format=csv,noheader,nounits"]
    found = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)
    lines = [line.split(",", 1) for line in found.stdout.splitlines() if line.count(",")]
    if found.returncode != 0 or not lines:
        return None
    memory, name = min(lines, key=lambda line: int(line[0]))
    return Machine("cuda", name.strip(), len(lines), int(memory) << 20)
