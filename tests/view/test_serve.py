"""The command: what it prints, how it ends, and what it refuses."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.commands import veridistill
from tests.view import runs
from veridistill.data.rundir import opened


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_frees_the_port(tmp_path: Path, number: int) -> None:
    run = runs.make(tmp_path / "run", 3)
    command = [sys.executable, "-m", "veridistill", "view", str(run.path), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert httpx.get(address).status_code == 303
        server.send_signal(number)
        rest, told = server.communicate()
    assert server.returncode == (0 if number == signal.SIGINT else -signal.SIGTERM)
    assert rest == ""  # stdout is the address alone
    assert "Traceback" not in told
    port = int(address.partition("/?")[0].rpartition(":")[2])
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    done = veridistill("view", tmp_path / "none", "--no-open")
    assert (done.code, done.out) == (2, "")
    assert "not a run directory" in done.err
    run = runs.make(tmp_path / "run", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = veridistill("view", run.path, "--no-open", "--port", str(taken.getsockname()[1]))
    assert done.code == 2
    assert "cannot be used" in done.err


def test_help_has_an_example() -> None:
    done = veridistill("view", "--help")
    assert done.code == 0
    assert "veridistill view runs/demo" in done.out


def test_the_run_may_be_locked_by_its_own_process_meanwhile(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 3)
    with opened(run.path, run.config), runs.viewer(run) as viewer:
        assert len(runs.shown(viewer.page("/1/questions"))) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_run_that_cannot_be_written_is_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.make(tmp_path / "run", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run.path.chmod(0o555)
    try:
        with runs.viewer(run) as viewer:
            assert len(runs.shown(viewer.page("/1/questions"))) == 3
            assert viewer.label("q1", 0, "right").status_code == 500
    finally:
        run.path.chmod(0o755)
