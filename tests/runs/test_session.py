"""Engines, gate and journal of a run: opened together, and closed however it ends."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from veridistill.config import Config, EngineSection, ModelSection, parse
from veridistill.data.rundir import opened
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.errors import ConfigError
from veridistill.report.progress import Progress
from veridistill.runs import session
from veridistill.runs.session import Session, serving


class Logged(ScriptedEngine):
    """An engine that says when it is closed."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__(Script(name=name))
        self._named, self._seen = name, log
        log.append(f"open {name}")

    async def close(self) -> None:
        self._seen.append(f"close {self._named}")
        await super().close()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is opened and closed, by the model's path; the model `bad` cannot be opened."""
    seen: list[str] = []

    def open_engine(_: EngineSection, model: ModelSection) -> Logged:
        if model.path == "bad":
            raise ConfigError("model.path: bad")
        return Logged(model.path, seen)

    monkeypatch.setattr(session, "open_engine", open_engine)
    return seen


def config(**judge: Any) -> Config:
    return parse({"model": "one", "engine": {"kind": "scripted"}, "judge": judge})


async def serve(run: Session) -> None:
    async with serving(run, 1):
        pass


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        ({}, ["open one", "close one"]),
        ({"model": "two"}, ["open one", "open two", "close two", "close one"]),
        ({"engine": {"kind": "local"}}, ["open one", "open one", "close one", "close one"]),
        ({"model": "one"}, ["open one", "close one"]),  # nobody needs it in memory twice
        ({"engine": {"kind": "scripted"}}, ["open one", "close one"]),
    ],
)
def test_what_was_opened_last_is_closed_first(
    tmp_path: Path, log: list[str], judge: dict[str, Any], expected: list[str]
) -> None:
    with opened(tmp_path / "run", config(**judge)) as run:
        asyncio.run(serve(Session(run, Progress(run.path, "quiet"))))
    assert log == expected


def test_a_judge_that_cannot_be_opened_leaves_nothing(tmp_path: Path, log: list[str]) -> None:
    with pytest.raises(ConfigError), opened(tmp_path / "run", config(model="bad")) as run:
        asyncio.run(serve(Session(run, Progress(run.path, "quiet"))))
    assert log == ["open one", "close one"]
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_opens_after_the_run_was_stopped_is_closed(
    tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Event(), threading.Event()
    at_once = session.open_engine

    def slowly(section: EngineSection, model: ModelSection) -> Any:
        entered.set()
        assert go.wait(10)
        return at_once(section, model)

    monkeypatch.setattr(session, "open_engine", slowly)

    async def main(run: Session) -> None:
        task = asyncio.create_task(serve(run))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    with opened(tmp_path / "run", config()) as run:
        asyncio.run(main(Session(run, Progress(run.path, "quiet"))))
    assert log == ["open one", "close one"]
