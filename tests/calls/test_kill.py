"""A run killed by SIGKILL at 20 random moments ends as if nothing had happened: the same kept set, nothing lost."""

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import distil_all, fast_directory, kept, make_plan, make_seeds
from veridistill.engines.scripted import Script, ScriptedEngine

KILLS = 20
WIDTH = 16
NUM_SEEDS = 160
CHILD = """
import asyncio, json, sys
from pathlib import Path
from tests.harness import distil_all, kept, make_plan, make_seeds
from veridistill.engines.scripted import Script, ScriptedEngine
folder = Path(sys.argv[1])
engine = ScriptedEngine(Script(), slots=int(sys.argv[2]), shuffle=int(sys.argv[4]), log=folder / "asked.log")
found, _ = asyncio.run(distil_all(engine, folder / "journal.sqlite", make_plan(4, 3), make_seeds(int(sys.argv[3]))))
(folder / "kept.json").write_text(json.dumps(kept(found)))
"""


def start(folder: Path, turn: int) -> "subprocess.Popen[bytes]":
    arguments = [str(folder), str(WIDTH), str(NUM_SEEDS), str(turn)]
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], cwd=Path(__file__).parents[2])


def running(child: "subprocess.Popen[bytes]") -> bool:
    """Whether it still runs; gives it a moment."""
    try:
        child.wait(0.002)
    except subprocess.TimeoutExpired:
        return True
    return False


def journalled(folder: Path) -> set[int]:
    """Engine seeds of the replies that are in the journal: 31 bits of their keys."""
    if not (folder / "journal.sqlite").is_file():
        return set()
    connection = sqlite3.connect(folder / "journal.sqlite")
    try:
        keys = connection.execute("SELECT key FROM replies WHERE status != 'cancelled'").fetchall()
    except sqlite3.OperationalError:  # killed before its tables were there
        return set()
    finally:
        connection.close()
    return {int.from_bytes(key[:4], "big") & 0x7FFFFFFF for (key,) in keys}


def asked(folder: Path) -> list[int]:
    log = folder / "asked.log"
    return [int(line) for line in log.read_text().split("\n") if line] if log.exists() else []


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_directory() as name:
        yield Path(name)


def test_twenty_sigkills_lose_and_repeat_nothing(folder: Path) -> None:
    rng = random.Random(0)
    kills = turn = 0
    while not (folder / "kept.json").exists():
        before, known = len(asked(folder)), journalled(folder)
        child = start(folder, turn)
        turn += 1
        # Killed by progress, not by time: after a random number of new requests.
        enough = before + rng.randint(1, 60)
        while kills < KILLS and running(child) and len(asked(folder)) < enough:
            pass
        if kills < KILLS and child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        assert child.wait() in (0, -signal.SIGKILL)
        new = asked(folder)[before:]
        assert not known.intersection(new), "an acknowledged reply was asked for again"
    assert kills == KILLS
    repeats = len(asked(folder)) - len(set(asked(folder)))
    assert repeats <= kills * WIDTH, "more was repeated than was in flight"
    uninterrupted, _ = asyncio.run(
        distil_all(ScriptedEngine(Script()), folder / "other.sqlite", make_plan(4, 3), make_seeds(NUM_SEEDS))
    )
    assert json.loads((folder / "kept.json").read_text()) == json.loads(json.dumps(kept(uninterrupted)))
