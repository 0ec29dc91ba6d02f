"""A server goes on with the weights that it was started with: no trained model is asked of one that serves another."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from tests.commands import questions, results, veridistill
from tests.engines.fault_server import Served
from veridistill.config import EngineSection, ModelSection
from veridistill.engines import open_engine
from veridistill.engines.base import Engine
from veridistill.engines.endpoint.open import is_round
from veridistill.errors import ConfigError, EngineDown
from veridistill.records import Message, Sampling
from veridistill.runs import pipeline
from veridistill.training.job import Job, Progress, TrainResult

Serve = Callable[..., Served]
QUESTION = (Message("user", "hello"),)
WARM = Sampling(0.8, 0.95, 20, 64)


def opened(path: str, *servers: Served, name: str | None = None) -> Engine:
    urls = tuple(server.url for server in servers)
    section = EngineSection(kind="endpoint", urls=urls, served_name=name, protocol="chat")
    return open_engine(section, ModelSection(path=path))


def reply_of(engine: Engine) -> str:
    async def main() -> str:
        try:
            return (await engine.generate(QUESTION, WARM, 1)).text
        finally:
            await engine.close()

    return asyncio.run(main())


@pytest.mark.parametrize("path", ["runs/x/rounds/1/model", "/a/rounds/12/model/", "rounds/3/model"])
def test_a_trained_model_is_known_by_its_path(path: str) -> None:
    assert is_round(path)
    assert not is_round(path.replace("model", "tables"))
    assert not is_round("Qwen/Qwen3-4B")


@pytest.mark.parametrize("script", [{"model": "m"}, {"listing": 404}, {"model": "/x/rounds/2/model"}])
def test_a_trained_model_is_not_asked_of_a_server_that_does_not_show_it(
    serve: Serve, tmp_path: Path, script: dict[str, Any]
) -> None:
    served, path = serve(**script), str(tmp_path / "rounds" / "1" / "model")
    engine = opened(path, served)
    assert engine.capacity == 0
    with pytest.raises(
        EngineDown, match=rf"shows that it serves {path} .*vllm serve {path}.*run the same command"
    ):
        reply_of(engine)
    assert not [line for line in served.lines() if "body" in line], "not even a trial request"


@pytest.mark.parametrize("shown", ["id", "root", "another spelling"])
def test_a_server_shows_a_trained_model_by_its_path(serve: Serve, tmp_path: Path, shown: str) -> None:
    directory = tmp_path / "rounds" / "1" / "model"
    directory.parent.mkdir(parents=True)
    path = str(directory)
    roots = {"root": {"new": path}, "another spelling": {"new": f"{tmp_path}/rounds/../rounds/1/model"}}
    served = serve(model=["m", path if shown == "id" else "new"], roots=roots.get(shown, {}))
    assert reply_of(opened(path, served)) == "yes it is so"
    (request,) = served.got("hello")
    assert request["body"]["model"] == (path if shown == "id" else "new")


def test_a_configured_model_is_found_by_its_path_without_a_name(serve: Serve) -> None:
    served = serve(model="alias", roots={"alias": "Org/Name"})
    assert reply_of(opened("Org/Name", served)) == "yes it is so"
    with pytest.raises(ConfigError, match="serves no model 'Org/Other'"):
        opened("Org/Other", served)
    with pytest.raises(ConfigError, match="serves no model 'n'"):
        opened("Org/Name", served, name="n")


def test_each_model_is_asked_of_the_servers_that_have_its_weights(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "rounds" / "1" / "model")
    old, new = serve(model="m"), serve(model=path)
    assert reply_of(opened("some", old, new, name="m")) == "yes it is so"
    assert reply_of(opened(path, old, new)) == "yes it is so"
    assert [len(server.got("hello")) for server in (old, new)] == [1, 1]
    with pytest.raises(ConfigError, match="serves no model 'm'"):
        opened("some", old, serve(model="else"), name="m")


# A whole run: build, train, stop; the new weights are served, and the same command resumes.


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    """Stands in for the training process: the weights stay as they were, but for a byte."""

    async def train(job: Job, progress: Callable[[Progress], None]) -> TrainResult:
        out = job.out
        if not out.exists():
            shutil.copytree(tiny_model, out)
            weights = out / "model.safetensors"
            data = bytearray(weights.read_bytes())
            data[-5] ^= 1
            weights.write_bytes(data)
        progress(Progress(1, 1, 0.5))
        return TrainResult(1, (0.5,), 9, 0, 100, 0, 0.1)

    monkeypatch.setattr(pipeline.launcher, "train", train)


def test_a_run_stops_after_training_and_goes_on_when_the_new_weights_are_served(
    serve: Serve, tmp_path: Path, tiny_model: Path, trainer: None
) -> None:
    run, problems = tmp_path / "run", tmp_path / "problems.jsonl"
    lines = [
        {"id": f"p{i}", "kind": "integer", "question": f"What is {i} times 3?", "answer": 3 * i}
        for i in range(3)
    ]
    problems.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    fields = {
        "model.path": tiny_model, "model.reasoning": "none", "prompts": "compact", "engine.kind": "endpoint",
        "engine.served_name": "m", "engine.protocol": "chat", "seeds.path": questions(tmp_path, 6),
        "generate.candidates": 2, "judge.votes": 1, "evaluation.problems": problems, "evaluation.samples": 2,
        "generate.max_tokens": 256, "judge.max_tokens": 256, "evaluation.max_tokens": 256,
    }  # fmt: skip

    def command(served: Served) -> Any:
        settings = [
            f"{name}={value}" for name, value in (fields | {"engine.urls": f"[{served.url}]"}).items()
        ]
        return veridistill("run", "--out", run, *(part for field in settings for part in ("-o", field)))

    playing = {"right": 1.0, "invalid": 0.0, "correctness": [1.0, 0.0], "factuality": [1.0, 0.0]}
    old = serve(model="m", playing=playing)
    model = str(run / "rounds" / "1" / "model")
    first = command(old)
    assert first.code == 3, first.err
    assert f"vllm serve {model}" in first.err
    asked = len(old.got())
    stopped = results(run)
    assert (stopped["status"], stopped["after"]) == ("incomplete", None)

    again = command(old)
    assert again.code == 3
    assert len(old.got()) == asked, "the new weights were asked of a server that has the old ones"

    new = serve(model=model, playing=playing)
    done = command(new)
    assert done.code == 0, done.err
    found = results(run)
    assert found["status"] == "complete"
    assert found["fingerprints"]["base"] != found["fingerprints"]["after"]
    assert len(new.got()) == 3 * 2
    assert {request["body"]["model"] for request in new.got()} == {model}
