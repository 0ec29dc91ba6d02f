"""Commands of a long measurement, one after another, each in a process of its own: timed, and not run again when done.

`steps.jsonl` in a folder has a line for each run of a command, with its seconds and the peak memory of its largest
process. A step is done when its command ended with status 0; one that was interrupted runs again, and its command must
know how to go on, as those on run directories do. Both runs' seconds count.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VERIDISTILL = (sys.executable, "-c", "from veridistill.cli import main; main()")


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a command. `peak_mb`: of its largest process, in MB of 10^6 bytes."""

    name: str
    command: list[str]
    status: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


class StepFailed(Exception):
    """A command did not end with status 0."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one folder."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "steps.jsonl"

    def ran(self) -> list[Ran]:
        """All runs of commands so far, in order."""
        if not self.log.is_file():
            return []
        return [Ran(**json.loads(line)) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def is_done(self, name: str, command: Sequence[str]) -> bool:
        return any(
            one.name == name and one.command == list(command) and one.status == 0 for one in self.ran()
        )

    def do(self, name: str, command: Sequence[str], output: Path | None = None) -> None:
        """Run the command unless it is done; its standard output goes to the file `output`, which appears whole.

        Raises `StepFailed` when it fails; the same call runs it again.
        """
        if self.is_done(name, command):
            return
        print(f"--- {self.folder.name}: {name}", file=sys.stderr, flush=True)
        written = output or self.folder / f"{name}.out"
        partial = written.with_name(written.name + ".tmp")
        with partial.open("wb") as file:
            found = _measured(name, command, file)
        if found.status == 0:
            os.replace(partial, written)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(found)) + "\n")
        if found.status:
            raise StepFailed(
                f"{name} ended with status {found.status}; the same command goes on. It was: {' '.join(command)}"
            )


def _measured(name: str, command: Sequence[str], output: Any) -> Ran:
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=output)
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        process.terminate()  # this program was stopped: what it started stops too, and can be resumed
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ran(
        name,
        list(command),
        process.returncode,
        round(time.monotonic() - start, 1),
        round(used.ru_utime + used.ru_stime, 1),
        round(used.ru_maxrss * 1024 / 1e6, 1),
    )
