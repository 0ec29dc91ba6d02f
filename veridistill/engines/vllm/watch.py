"""Ends vLLM's processes when the program that started them is gone: a script of its own, run as `watch.py PID`.

A killed program cannot close its engine, and vLLM's processes outlive it, with the GPU's memory, so that the same
command could not go on. This one outlives it too, for as long as it takes to kill them. It imports nothing of the
package and leaves every other child of the program alone.
"""

import contextlib
import os
import sys
import time


def watch(parent: int) -> None:
    """Wait until `parent`, the process that started this one, has ended; then kill its vLLM processes."""
    import psutil

    found: set[psutil.Process] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        while os.getppid() == parent:
            found |= {
                child
                for child in psutil.Process(parent).children(recursive=True)
                if child.name().startswith("VLLM")
            }
            time.sleep(1.0)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    watch(int(sys.argv[1]))
