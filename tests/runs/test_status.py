"""`veridistill status`, `--metrics` and prices, on builds of the scripted engine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import questions, results, script, settings, veridistill
from veridistill.data.rundir import locked
from veridistill.errors import RunLocked

SLOW = {"tokens": 60, "sigma": 0.2, "seconds_per_token": 0.02, "slots": 8}


@contextmanager
def building(folder: Path, run: Path, *more: str) -> Iterator["subprocess.Popen[str]"]:
    """A slow build in a process of its own, once its heartbeat shows decoded tokens."""
    model = script(folder, **SLOW)
    options = settings(questions(folder, 30), f"engine.script={model}")
    command = [sys.executable, "-m", "veridistill", "build", "-d", str(run), *options, *more]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            until_decoding(run)
            yield process
        finally:
            process.kill()


def until_decoding(run: Path) -> None:
    for _ in range(600):
        if (run / "progress.json").is_file():
            record = json.loads((run / "progress.json").read_text())
            if (record["tokens"] or {}).get("decoded"):
                return
        time.sleep(0.05)
    pytest.fail("no token was counted in 30 seconds")


def test_a_run_is_seen_at_work_and_seen_gone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with building(tmp_path, run, "--metrics", "0") as process:
        assert process.stderr is not None
        found = veridistill("status", run, "--json").json
        assert found["life"] == "running"
        assert found["progress"]["pid"] == process.pid
        calls = found["progress"]["calls"]
        assert 0 < calls["in_flight"] <= calls["slots"] == 8
        assert calls["expected_low"] >= 30
        text = veridistill("status", run).out
        assert re.search(rf"running \(process {process.pid} on .*, last sign", text)
        assert "slots in use" in text
        said = process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/metrics", said)
        assert address is not None, said
        with urllib.request.urlopen(address[0]) as answer:
            assert b'veridistill_calls_in_flight{step="build"' in answer.read()
        with pytest.raises(RunLocked, match="in use by another process"), locked(run):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert veridistill("status", run, "--json").json["life"] == "gone"
    assert f"process {process.pid} on" in veridistill("status", run).out
    assert "is gone" in veridistill("status", run).out


def test_a_process_that_hangs_is_said_to_be_stalled(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with building(tmp_path, run) as process:
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        record = json.loads((run / "progress.json").read_text())
        record["updated_at"] -= 60  # as it reads a minute later: the process writes no more
        (run / "progress.json").write_text(json.dumps(record))
        assert veridistill("status", run, "--json").json["life"] == "stalled"
        assert f"stalled: process {process.pid}" in veridistill("status", run).out


def test_a_resumed_run_says_what_it_replays(tmp_path: Path) -> None:
    run, options = tmp_path / "run", settings(questions(tmp_path))
    assert veridistill("build", "-d", run, *options).code == 0
    first = veridistill("status", run, "--json").json["progress"]["steps"][-1]
    again = veridistill("build", "-d", run)
    second = veridistill("status", run, "--json").json["progress"]["steps"][-1]
    assert first["calls"]["asked"] == results(run)["calls"]["total"]
    assert (first["calls"]["replayed"], second["calls"]["asked"]) == (0, 0)
    assert second["calls"]["replayed"] == first["calls"]["asked"]
    assert second["tokens"]["decoded"] == 0
    assert f"{first['calls']['asked']:,} replayed, 0 asked" in again.err


def test_prices_turn_tokens_into_money(tmp_path: Path) -> None:
    run = tmp_path / "run"
    prices = ["cost.prompt=2", "cost.completion=10", "cost.judge_completion=20", "cost.currency=EUR"]
    assert veridistill("build", "-d", run, *settings(questions(tmp_path), *prices)).code == 0
    found = results(run)
    roles, parts = found["tokens"]["by_role"], found["cost"]["parts"]
    assert found["cost"]["currency"] == "EUR"
    assert parts.keys() == roles.keys()
    for role, tokens in roles.items():
        price = 10 if role == "solve" else 20
        assert parts[role] == pytest.approx(
            (2 * tokens["prompt"] + price * tokens["completion"]) / 1e6, abs=1e-6
        )
    assert found["cost"]["total"] == pytest.approx(sum(parts.values()), abs=1e-5)
    assert re.search(r"^cost: EUR \d+\.\d\d \(", veridistill("status", run).out, re.MULTILINE)
    # Other prices change no call, and are applied to what is known.
    assert veridistill("build", "-d", run, "-o", "cost.prompt=null", "-o", "cost.completion=null").code == 0
    assert results(run)["cost"]["parts"]["solve"] == 0
    assert results(run)["calls"] == found["calls"]


def test_without_prices_there_is_no_cost(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert veridistill("build", "-d", run, *settings(questions(tmp_path))).code == 0
    assert results(run)["cost"] is None
    assert "cost" not in veridistill("status", run).out
