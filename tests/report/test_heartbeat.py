"""Whether the process behind a `progress.json` is at work, told from the file alone."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from veridistill.report.heartbeat import born, life, read

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


def test_a_record_of_an_older_version_is_none(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(
        '{"step": "build", "state": "done", "updated_at": 1.0}', encoding="utf-8"
    )
    assert read(tmp_path) is None
