"""vLLM's processes: started out of reach of interrupts, ended with the engine, and by `watch` after a kill."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from veridistill.engines.vllm import watch
from veridistill.errors import ConfigError

_GRACE = 10.0  # seconds that processes have to end before they are killed


def start_watcher() -> "subprocess.Popen[bytes]":
    """Ends vLLM's processes should this one be killed."""
    nowhere = subprocess.DEVNULL
    command = [sys.executable, watch.__file__, str(os.getpid())]
    return subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)


def start(settings: dict[str, Any], watcher: "subprocess.Popen[bytes]") -> tuple[Any, list[BaseProcess]]:
    """A running AsyncLLM and its processes. Raises `ConfigError` with vLLM's own words."""
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    where, others = settings["model"], _processes()
    try:
        arguments = AsyncEngineArgs(**settings)
        # In no variable here: vLLM keeps errors of optional imports, their frames, and so what this one holds.
        with _deaf_to_interrupts():
            return AsyncLLM.from_engine_args(arguments), _processes(others)
    except Exception as error:  # the engine boundary: vLLM raises what its parts raise
        watcher.kill()
        watcher.wait()
        _join(_processes(others), _GRACE)
        raise ConfigError(
            f"engine.kind=vllm cannot serve {where} ({_reason(error)}); see vLLM's own messages. "
            "Less memory is needed with a smaller engine.max_model_len, engine.max_num_seqs or engine.gpu_memory"
        ) from None


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C, which the terminal sends to all: this program alone decides.

    They inherit the signal mask of the thread that starts them. The resource tracker, which multiprocessing starts
    on first use, lifts the mask of that thread: it is started before.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _processes(others: Sequence[BaseProcess] = ()) -> list[BaseProcess]:
    """vLLM's processes among this one's children, without those of `others` (another engine, such as a judge's)."""
    children = multiprocessing.active_children()
    return [p for p in children if p.name.startswith(("EngineCore", "VLLM")) and p not in others]


def _join(processes: list[BaseProcess], seconds: float) -> None:
    for process in processes:
        process.join(seconds)


def stop(llm: Any, processes: list[BaseProcess]) -> None:
    llm.shutdown(timeout=_GRACE)
    _join(processes, _GRACE)
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()


def _reason(error: Exception) -> str:
    """pydantic says what is wrong after a line that counts the errors, and shows all values after it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = "".join(lines[1:2] or lines[:1]).partition(" [type=")[0].removeprefix("Value error, ")
    return reason.rstrip(".") or type(error).__name__
