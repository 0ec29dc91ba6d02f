"""vLLM itself, in this program and behind a server: the conformance suite, LoRA, death, interrupts and bad settings.

`make test-vllm` makes an environment that has vLLM and runs these tests there.
"""

import asyncio
import gc
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.engines.conformance import (
    CHECKS,
    ENDLESS,
    GREEDY,
    QUESTIONS,
    Check,
    Subject,
    check_close,
    check_seeds,
    one_at_a_time,
    pairs,
    policy_of,
)
from tests.engines.models import CONTEXT, Model, save_talkative
from tests.vllm_server import VllmServer, serve
from veridistill.config import EngineSection, ModelSection
from veridistill.engines import open_engine
from veridistill.engines.checkpoint import Checkpoint
from veridistill.engines.vllm import VllmEngine
from veridistill.engines.vllm import engine as vllm_engine
from veridistill.errors import ConfigError, EngineDown, MissingExtra

real = pytest.mark.vllm
pytestmark = pytest.mark.filterwarnings("default")  # vLLM's own
Run = Callable[[Awaitable[Any]], Any]

SECTION = EngineSection(kind="vllm", max_num_seqs=64, enforce_eager=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(save_talkative(tmp_path_factory.mktemp("talkative")))


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def in_process(model: Model, run: Run) -> Subject:
    import psutil

    before = set(psutil.Process().children(recursive=True))
    engine = open_engine(SECTION, ModelSection(path=str(model.directory)))
    assert isinstance(engine, VllmEngine)
    processes = set(psutil.Process().children(recursive=True)) - before
    assert any("VLLM" in process.name() for process in processes)

    async def idle() -> bool:
        """vLLM's core stops taking work and answers when it has none left."""
        try:
            await asyncio.wait_for(engine._llm.pause_generation(mode="wait", clear_cache=False), 5)
        except TimeoutError:
            return False
        await engine._llm.resume_generation()
        return not engine._works

    def left() -> list[str]:
        alive = [process for process in processes if process.is_running()]
        return [process.name() for process in alive if "VLLM" in process.name()]

    return Subject(engine, run, idle, left, model, partial(policy_of, engine.prompts), seeds="alone")


def endpoint(protocol: str, server: Callable[[], VllmServer], model: Model, run: Run) -> Subject:
    up = server()
    os.environ["TINY_KEY"] = up.key
    engine = open_engine(
        EngineSection.model_validate(
            {
                "kind": "endpoint",
                "urls": [up.url],
                "served_name": up.name,
                "protocol": protocol,
                "api_key_env": "TINY_KEY",
            }
        ),
        ModelSection(path=str(model.directory)),
    )

    async def idle() -> bool:
        return not await asyncio.to_thread(up.running)

    declared: Any = engine._declared  # type: ignore[attr-defined]
    policy = partial(policy_of, declared.prompts)
    return Subject(engine, run, idle, list, model, policy, seeds="alone", ids=protocol != "chat")


def check_unseeded(subject: Subject) -> None:
    assert isinstance(subject.engine, VllmEngine)
    subject.engine._seeded = False
    check_seeds(replace(subject, seeds="none"))
    subject.engine._seeded = True


CHECKED: dict[str, list[Check]] = {
    "vllm": [check for check in CHECKS if check is not check_close] + [check_unseeded, check_close],
    "completions": CHECKS,
    "chat": CHECKS,
}


@pytest.fixture(scope="module")
def subjects(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Subject]]:
    """vLLM in this program first; the server is started when that is closed."""
    log = tmp_path_factory.mktemp("server") / "log"
    # On CPUs vLLM 0.32 dies of a seeded prompt that it takes in parts.
    more = ("--max-num-seqs", "64", "--no-enable-chunked-prefill", "--max-num-batched-tokens", str(CONTEXT))
    started: list[Any] = []

    def server() -> VllmServer:
        if not started:
            context = serve(model.directory, log, *more)
            started.extend((context.__enter__(), context))
        return started[0]

    makers = {"vllm": partial(in_process, model)} | {
        name: partial(endpoint, name, server, model) for name in ("completions", "chat")
    }
    with one_at_a_time(makers) as subject:
        yield subject
    if started:
        started[1].__exit__(None, None, None)


@real
@pytest.mark.parametrize(("name", "check"), pairs(CHECKED))
def test_engine(name: str, check: Check, subjects: Callable[[str], Subject]) -> None:
    check(subjects(name))


def save_adapter(model: Model, adapter: Path, merged: Path) -> None:
    """A LoRA of rank 4 on the queries of both layers, and the model that has it merged in."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(model.directory, merged)
    weights = load_file(merged / "model.safetensors")
    torch.manual_seed(3)
    parts = {}
    for name in [name for name in weights if name.endswith("q_proj.weight")]:
        out, into = weights[name].shape
        down, up = torch.randn(4, into), torch.randn(out, 4) * 0.1
        stem = "base_model.model." + name.removesuffix(".weight")
        parts |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
        weights[name] += 8 / 4 * up @ down
    save_file(weights, merged / "model.safetensors", metadata={"format": "pt"})
    adapter.mkdir()
    save_file(parts, adapter / "adapter_model.safetensors")
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "peft_type": "LORA", "bias": "none"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")


def vllm_processes() -> set[int]:
    """Those that this process started, a server of another test among them."""
    import psutil

    return {one.pid for one in psutil.Process().children(recursive=True) if "VLLM" in one.name()}


@real
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_adapter_changes_replies_and_a_killed_core_ends_every_call(model: Model, tmp_path: Path) -> None:
    before = vllm_processes()
    kill_a_core(model, tmp_path)
    assert not vllm_processes() - before
    gc.collect()  # vLLM leaves the sockets to a killed core open: told here, not at the end of the session


def kill_a_core(model: Model, tmp_path: Path) -> None:
    adapter, merged = tmp_path / "adapter", Model(tmp_path / "merged")
    save_adapter(model, adapter, merged.directory)
    engine = open_engine(SECTION, ModelSection(path=str(model.directory), lora=str(adapter)))
    assert isinstance(engine, VllmEngine)
    assert engine.fingerprint != Checkpoint.open(str(model.directory)).fingerprint("float32")

    async def main() -> None:
        said = [await engine.generate(question, GREEDY, 0) for question in QUESTIONS[:4]]
        assert [reply.token_ids for reply in said] == [merged.greedy(q, 16) for q in QUESTIONS[:4]]
        assert [reply.token_ids for reply in said] != [model.greedy(q, 16) for q in QUESTIONS[:4]]
        calls = [asyncio.create_task(engine.generate(q, ENDLESS, 0)) for q in QUESTIONS]
        await asyncio.sleep(0.2)
        os.kill(engine._processes[0].pid or 0, signal.SIGKILL)
        ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
        down = [error for error in ended if isinstance(error, EngineDown)]
        assert len(down) >= len(calls) - 4  # a short reply may have come before
        assert "exit status -9" in str(down[0])
        with pytest.raises(EngineDown, match="the same command resumes the run"):
            await engine.generate(QUESTIONS[0], GREEDY, 0)
        await engine.close()

    asyncio.run(main())


@real
def test_the_same_files_have_the_fingerprint_that_local_gives_them(model: Model) -> None:
    from veridistill.engines.local import LocalEngine

    local = LocalEngine.load(str(model.directory), device="cpu")
    asyncio.run(local.close())
    assert Checkpoint.open(str(model.directory)).fingerprint("float32") == local.fingerprint


@real
def test_settings_that_vllm_refuses(model: Model) -> None:
    section = SECTION.model_copy(update={"max_model_len": 10**6})
    with pytest.raises(ConfigError, match=r"cannot serve .*\(User-specified max_model_len \(1000000\)"):
        open_engine(section, ModelSection(path=str(model.directory)))


def unreachable(*_: Any) -> Any:
    raise AssertionError("vLLM was started")


@real
@pytest.mark.parametrize(
    ("path", "lora", "match"),
    [
        ("nowhere", None, "is not a directory"),
        ("no tokenizer", None, "has no tokenizer"),
        ("whole", "nowhere", "holds no LoRA adapter"),
    ],
)
def test_bad_directories_are_told_before_vllm_starts(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, lora: str | None, match: str
) -> None:
    monkeypatch.setattr(vllm_engine, "start", unreachable)
    shutil.copytree(model.directory, tmp_path / "whole")
    shutil.copytree(model.directory, tmp_path / "no tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "no tokenizer" / name).unlink()
    with pytest.raises(ConfigError, match=match):
        VllmEngine.load(str(tmp_path / path), lora=lora and str(tmp_path / lora))


def test_without_vllm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"veridistill\[vllm\]"):
        VllmEngine.load("anywhere")


KILLED = """
import sys, psutil
from veridistill.engines.vllm import VllmEngine

if __name__ == "__main__":
    engine = VllmEngine.load(sys.argv[1], enforce_eager=True)
    print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
    sys.stdin.read()
"""


@real
def test_a_killed_program_leaves_no_vllm_behind(model: Model, tmp_path: Path) -> None:
    import psutil

    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    command = [sys.executable, str(script), str(model.directory)]
    program = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert program.stdout is not None
        children = [psutil.Process(int(pid)) for pid in program.stdout.readline().split()]
        assert any("VLLM" in child.name() for child in children)
        time.sleep(2)  # the watcher looks once a second
    finally:
        program.kill()
        program.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


@real
def test_an_interrupted_run_drains_and_goes_on(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal's group; stdout stays data."""
    run = tmp_path / "run"
    settings = ("engine.kind=vllm", "engine.enforce_eager=true", "generate.candidates=2", "gate.width=16")
    command = [
        sys.executable,
        "-m",
        "veridistill",
        "build",
        "lab",
        "--limit",
        "30",
        "--out",
        str(run),
        "--json",
    ]
    command += [part for setting in settings for part in ("-o", setting)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    first = subprocess.Popen(command, **pipes)  # type: ignore[call-overload]
    try:
        wait_for_replies(run / "journal.sqlite", 20, first)
        os.killpg(first.pid, signal.SIGINT)
        out, err = first.communicate(timeout=120)
    finally:
        first.kill()
    assert (first.returncode, out) == (130, ""), err
    assert "vLLM died" not in err
    second = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["seeds"] == 30


def wait_for_replies(journal: Path, num: int, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        if journal.exists():
            try:
                with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as store:
                    if store.execute("SELECT count(*) FROM replies").fetchone()[0] >= num:
                        return
            except sqlite3.OperationalError:
                pass
        time.sleep(0.05)
    raise AssertionError(f"no replies came: {process.communicate(timeout=60)[1]}")
