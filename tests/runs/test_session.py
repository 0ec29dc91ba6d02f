"""Engines, gate and journal of a run: opened together, and closed however it ends."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from veridistill import prompts
from veridistill.config import Config, EngineSection, ModelSection, parse
from veridistill.data.rundir import opened
from veridistill.engines.base import Rendering
from veridistill.engines.common import Rendered
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.errors import ConfigError
from veridistill.records import Completion, Message, Messages, Sampling
from veridistill.report.progress import Progress
from veridistill.runs import session
from veridistill.runs.session import Roles, Session, exam_roles, serving

QUESTION = (Message("user", "Why?"),)
SAMPLING = Sampling(1, 1, 0, 9)


class Logged(ScriptedEngine):
    """An engine that says when it is opened and closed, and which prompts a call of it was rendered with."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__(Script(name=name))
        self._named, self._seen = name, log
        log.append(f"open {name}")

    def rendered(self, rendering: Rendering) -> Rendered:  # type: ignore[override]
        async def generate(messages: Messages, sampling: Sampling, seed: int) -> Completion:
            self._seen.append(f"ask {self._named} with {rendering.enable_thinking}")
            return await self.generate(messages, sampling, seed)

        return Rendered(self, f"{self._named}, {rendering}", False, generate)

    async def close(self) -> None:
        self._seen.append(f"close {self._named}")
        await super().close()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is opened and closed, by the model's path; the model `bad` cannot be opened."""
    seen: list[str] = []

    def open_engine(section: EngineSection, model: ModelSection) -> Logged:
        if model.path == "bad":
            raise ConfigError("model.path: bad")
        named = f" as {section.served_name}" if section.served_name else ""
        return Logged(Path(model.path).name + named, seen)

    monkeypatch.setattr(session, "open_engine", open_engine)
    return seen


def config(**judge: Any) -> Config:
    return parse({"model": "one", "engine": {"kind": "scripted"}, "judge": judge})


async def serve(run: Session, number: int = 1, roles: Roles = "all") -> None:
    async with serving(run, number, roles):
        pass


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        ({}, ["open one", "close one"]),
        ({"model": "two"}, ["open one", "open two", "close two", "close one"]),
        ({"engine": {"kind": "local"}}, ["open one", "open one", "close one", "close one"]),
        ({"model": "one"}, ["open one", "close one"]),  # nobody needs it in memory twice
        ({"engine": {"kind": "scripted"}}, ["open one", "close one"]),
        # The same weights are never opened twice, however they are asked.
        ({"model": {"path": "one", "enable_thinking": True}}, ["open one", "close one"]),
        ({"model": {"path": "one", "control_tokens": "reject"}}, ["open one", "close one"]),
        ({"model": {"path": "one", "reasoning": "none"}}, ["open one", "close one"]),
        ({"model": {"path": "one", "dtype": "bfloat16"}}, ["open one", "open one", "close one", "close one"]),
    ],
)
def test_what_was_opened_last_is_closed_first(
    tmp_path: Path, log: list[str], judge: dict[str, Any], expected: list[str]
) -> None:
    with opened(tmp_path / "run", config(**judge)) as run:
        asyncio.run(serve(Session(run, Progress(run.path, "quiet"))))
    assert log == expected


@pytest.mark.parametrize("judge", [{"model": "two"}, {"engine": {"kind": "local"}}])
def test_without_a_judges_role_no_judge_is_opened(
    tmp_path: Path, log: list[str], judge: dict[str, Any]
) -> None:
    async def main(run: Session) -> None:
        async with serving(run, 1, exam_roles(run.config)) as served:
            await served.asker.engine_for("exam").generate(QUESTION, SAMPLING, 0)
            with pytest.raises(ConfigError, match="not opened"):
                await served.asker.engine_for("correctness").generate(QUESTION, SAMPLING, 0)

    with opened(tmp_path / "run", config(**judge)) as run:
        assert exam_roles(run.config) == "solve"
        asyncio.run(main(Session(run, Progress(run.path, "quiet"))))
    assert log == ["open one", "close one"]


def test_an_exam_with_answers_at_test_time_opens_the_judge() -> None:
    assert exam_roles(parse({"evaluation": {"ttc": True}})) == "all"


def test_judges_of_the_same_weights_have_prompts_and_a_fingerprint_of_their_own(
    tmp_path: Path, log: list[str]
) -> None:
    judge = {"model": {"path": "one", "enable_thinking": False}}

    async def main(run: Session) -> int:
        async with serving(run, 1) as served:
            for role in ("solve", "correctness"):
                await served.asker.engine_for(role).generate(QUESTION, SAMPLING, 0)
            assert served.asker.model("solve") == "one"
            assert served.asker.model("correctness") == f"one, {Rendering(False)}"
            return served.asker.gate.width

    with opened(tmp_path / "run", config(**judge)) as run:
        width = asyncio.run(main(Session(run, Progress(run.path, "quiet"))))
    assert log == ["open one", "ask one with False", "close one"]
    assert width == ScriptedEngine().capacity, "one engine's, not two"


NAMED: dict[str, Any] = {"kind": "endpoint", "urls": ["http://a"], "served_name": "n"}
OTHER: dict[str, Any] = NAMED | {"urls": ["http://b"], "served_name": "m"}


@pytest.mark.parametrize(
    ("number", "judge", "expected"),
    [
        (1, {}, ["open one as n"]),
        (1, {"model": "two"}, ["open one as n", "open two"]),
        (1, {"model": "two", "engine": OTHER}, ["open one as n", "open two as m"]),
        (1, {"engine": OTHER}, ["open one as n", "open one as m"]),
        # A name stands for the weights that were configured, and for no others.
        (2, {}, ["open model"]),
        (2, {"model": "two", "engine": OTHER}, ["open model", "open two as m"]),
        (2, {"engine": OTHER}, ["open model", "open model"]),
    ],
)
def test_a_served_name_is_that_of_the_configured_model(
    tmp_path: Path, log: list[str], number: int, judge: dict[str, Any], expected: list[str]
) -> None:
    with opened(tmp_path / "run", parse({"model": "one", "engine": NAMED, "judge": judge})) as run:
        asyncio.run(serve(Session(run, Progress(run.path, "quiet")), number))
    assert [line for line in log if line.startswith("open")] == expected


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


@pytest.mark.parametrize(
    ("path", "reasoning", "name"),
    [
        ("lab", "none", "compact"),
        ("lab", "required", "compact"),
        ("m", "required", "thinking"),
        ("m", "none", "instruct"),
    ],
)
def test_auto_picks_the_prompts_by_what_the_model_is(path: str, reasoning: str, name: str) -> None:
    chosen = parse({"model": {"path": path, "reasoning": reasoning}, "engine": {"kind": "scripted"}})
    assert session.plan(chosen, ScriptedEngine(Script())).jury.prompts == prompts.load(name)
