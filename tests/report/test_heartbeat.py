"""Whether the process behind a `progress.json` is at work, told from the file alone."""

import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from veridistill.report.heartbeat import born, life

NOW = 1_000_000.0


def record(**changes: Any) -> dict[str, Any]:
    own = {"pid": os.getpid(), "host": socket.gethostname(), "born": born(os.getpid())}
    return own | {"ended": False, "updated_at": NOW - 1, "moved_at": NOW - 1} | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "running"),
        ({"moved_at": NOW - 700}, "still"),
        ({"updated_at": NOW - 60, "moved_at": NOW - 60}, "stalled"),
        ({"updated_at": NOW - 60, "ended": True}, "ended"),
        ({"host": "elsewhere", "pid": 1 << 30}, "running"),
        ({"host": "elsewhere", "pid": 1 << 30, "updated_at": NOW - 60}, "stalled"),
        ({"pid": 1 << 30}, "gone"),
        ({"born": 1}, "gone"),
    ],
)
def test_what_became_of_it(changes: dict[str, Any], expected: str) -> None:
    assert life(record(**changes), NOW) == expected


def test_a_process_that_ended_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        began = born(process.pid)
        assert life(record(pid=process.pid, born=began), NOW) == "running"
        process.kill()
        process.wait()
    assert life(record(pid=process.pid, born=began), NOW) == "gone"
