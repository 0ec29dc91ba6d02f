"""Memory of this process with its children, and of the GPUs that it uses. Linux; elsewhere its own peak alone."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def used() -> dict[str, Any]:
    """Bytes: `process` of this process, `children` of those under it, `gpus` with `used` and `total` of each.

    A GPU's memory counts whoever uses it; without a GPU in use here `gpus` is empty.
    """
    own = os.getpid()
    if not (_PROC / "self" / "statm").is_file():
        return {
            "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "children": 0,
            "gpus": [],
        }
    return {"process": _resident(own), "children": sum(map(_resident, _below(own))), "gpus": _gpus()}


def _resident(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):  # it ended
        return 0


def _below(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found: list[int] = []
    for task in (_PROC / str(pid) / "task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except (OSError, ValueError):
            continue
        for child in children:
            found += [child, *_below(child)]
    return found


def _gpus() -> list[dict[str, int]]:
    """Asked of torch, and only where it uses a GPU already: the question itself would take memory there."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return []
    found = []
    for device in range(cuda.device_count()):
        if cuda.memory_reserved(device):
            free, total = cuda.mem_get_info(device)
            found.append({"used": total - free, "total": total})
    return found
