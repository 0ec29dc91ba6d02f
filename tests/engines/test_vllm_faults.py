"""What becomes of requests that vLLM ends by itself: its engine is played, its request and error types are its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.engines.conformance import GREEDY, QUESTIONS
from veridistill.engines.checkpoint import Checkpoint
from veridistill.engines.vllm import VllmEngine
from veridistill.engines.vllm.engine import use_few_cpus
from veridistill.errors import EngineDown, RequestRefused
from veridistill.records import Completion

real = pytest.mark.vllm
pytestmark = pytest.mark.filterwarnings("default")  # vLLM's own


class Played:
    """Ends requests with one finish reason after another."""

    model_config = SimpleNamespace(max_model_len=512)

    def __init__(self, reasons: Iterator[str]) -> None:
        self.reasons, self.requests = reasons, 0
        self.output_processor = SimpleNamespace(process_outputs=lambda outputs, *_: len(outputs))

    async def generate(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        self.requests += 1
        reply = SimpleNamespace(token_ids=[5, 6], finish_reason=next(self.reasons))
        yield SimpleNamespace(finished=True, outputs=[reply], num_cached_tokens=3)


@pytest.fixture
def play(tiny_model: Path) -> Callable[..., tuple[VllmEngine, Played]]:
    checkpoint = Checkpoint.open(str(tiny_model))

    def make(*reasons: str, then: str = "stop") -> tuple[VllmEngine, Played]:
        llm = Played(chain(reasons, repeat(then)))
        return VllmEngine(llm, [], cast(Any, None), checkpoint, ("float32",), True, None, 1), llm

    return make


def replies(engine: VllmEngine, num: int) -> list[Completion | BaseException]:
    async def main() -> list[Completion | BaseException]:
        found: list[Completion | BaseException] = []
        for _ in range(num):
            found += await asyncio.gather(engine.generate(QUESTIONS[0], GREEDY, 0), return_exceptions=True)
        return found

    return asyncio.run(main())


@real
@pytest.mark.parametrize("reason", ["error", "abort"])
def test_a_request_that_vllm_ends_by_itself_is_asked_again(play: Any, reason: str) -> None:
    engine, llm = play(reason, reason)
    (reply,) = replies(engine, 1)
    assert isinstance(reply, Completion)
    assert (reply.finish_reason, llm.requests) == ("stop", 3)
    stats = engine.stats()
    assert (stats.calls, stats.prompt_tokens, stats.completion_tokens) == (1, reply.prompt_tokens, 2)
    assert stats.retries == 2


@real
def test_the_tokens_of_each_step_are_counted(play: Any) -> None:
    engine, llm = play()
    step = [SimpleNamespace(new_token_ids=[1]), SimpleNamespace(new_token_ids=[2, 3])]
    assert llm.output_processor.process_outputs(step, 0.0, None) == 2, "vLLM's own result"
    assert engine.stats().decoded_tokens == 3


@real
def test_a_request_that_fails_again_and_again_is_refused_alone(play: Any) -> None:
    engine, llm = play(*["error"] * 3)
    refused, fine = replies(engine, 2)
    assert isinstance(refused, RequestRefused)
    assert "3 times with finish reason error" in str(refused)
    assert refused.context is None
    assert isinstance(fine, Completion)
    assert llm.requests == 4


@real
def test_prompt_tokens_that_vllm_had_cached_are_counted(play: Any) -> None:
    engine, _ = play()
    replies(engine, 2)
    assert engine.stats().reused_tokens == 6


@real
def test_when_every_request_fails_the_engine_is_down(play: Any) -> None:
    """Were they all refused, and journalled so, the run would end with nothing and never ask again."""
    engine, _ = play(then="error")
    *refused, down = replies(engine, 17)
    assert all(isinstance(error, RequestRefused) for error in refused)
    assert isinstance(down, EngineDown)


@pytest.mark.parametrize(("cpus", "expected"), [({0, 1}, "0,1"), ({4, 7}, "4,7"), (set(range(64)), None)])
def test_vllm_uses_every_cpu_of_a_small_machine(
    monkeypatch: pytest.MonkeyPatch, cpus: set[int], expected: str | None
) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "")  # so that it is gone again after the test
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cpus)
    use_few_cpus()
    assert os.environ.get("VLLM_CPU_OMP_THREADS_BIND") == expected


def test_a_users_own_binding_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    use_few_cpus()
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
