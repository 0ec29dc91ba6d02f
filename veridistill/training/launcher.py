"""Supervised fine-tuning in a separate process, so that the device's memory is free before and after.

`train` is the parent's side: it starts `python -m veridistill.training.child JOB.json` with the same interpreter,
passes progress on and raises what went wrong. `child` trains; `checkpoints` decides what may be resumed.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from veridistill.errors import ConfigError, Incomplete
from veridistill.training import checkpoints
from veridistill.training.job import Job, Progress, TrainResult, read_result

_LOG_TAIL = 30


async def train(job: Job, progress: Callable[[Progress], None] = lambda _: None) -> TrainResult:
    """Run the job, or resume it from its last checkpoint; when `out` exists, read its result and train nothing.

    Raises `ConfigError` for faults that the user can correct, and `Incomplete` with the end of the log for anything
    else. Cancelling kills the child, and so does the end of this process.
    """
    job = job.absolute()
    if job.out.exists():
        checkpoints.check_examples(job)
        return read_result(job.out)
    if not job.examples.is_file():
        raise ConfigError(f"{job.examples}: there are no examples to train on; run build first")
    job.work.mkdir(parents=True, exist_ok=True)
    checkpoints.discard_those_of_another_job(job)
    await _run_child(job, progress)
    shutil.rmtree(job.checkpoints, ignore_errors=True)
    return read_result(job.out)


async def _run_child(job: Job, progress: Callable[[Progress], None]) -> None:
    """Run the child to its end. Its stdin is open as long as this process lives; see `child`."""
    spec = job.work / "job.json"
    spec.write_text(job.model_dump_json(indent=2), encoding="utf-8")
    with job.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "veridistill.training.child", str(spec)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=environment(job, os.environ),
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
        raise Incomplete(failure(status, last, job.log))


def failure(status: int, last: Progress | None, log: Path) -> str:
    tail = log.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")[-_LOG_TAIL:]
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    where = f"after step {last.step} of {last.total}" if last else "before its first step"
    hint = ""
    if any("out of memory" in line.lower() for line in tail):
        hint = "; memory ran out: lower train.micro_batch_size"
    elif status == -9:
        hint = "; if the system killed it for lack of memory, lower train.micro_batch_size"
    return "\n".join(
        [
            f"training {how} {where}{hint}. The same command resumes from the last checkpoint. End of {log}:",
            *tail,
        ]
    )


def environment(job: Job, inherited: Mapping[str, str]) -> dict[str, str]:
    """The child's: this package first, at most one GPU (TRL refuses several in one process), no telemetry; no
    network when the model is a directory.
    """
    root = str(Path(__file__).resolve().parents[2])
    found = {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, inherited.get("PYTHONPATH")))),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if Path(job.base_model).is_dir():
        found["HF_HUB_OFFLINE"] = "1"
    if job.threads is not None:
        found["OMP_NUM_THREADS"] = str(job.threads)
    gpu = visible_gpu(job.device, inherited.get("CUDA_VISIBLE_DEVICES"))
    return found if gpu is None else found | {"CUDA_VISIBLE_DEVICES": gpu}


def visible_gpu(device: str, visible: str | None) -> str | None:
    """The child's CUDA_VISIBLE_DEVICES, given the parent's, which the index of `device` counts in.

    None leaves it as it is; "" hides all GPUs, also when `device` names one that the parent cannot see.
    """
    if device == "cpu":
        return ""
    if device != "auto" and not device.startswith("cuda"):
        return None
    index = int(device.partition(":")[2] or 0)
    if visible is None:
        return str(index)
    known = [name.strip() for name in visible.split(",")]
    return known[index] if index < len(known) else ""
