"""What vLLM takes in no request, found without starting it: its own check of sampling parameters is asked."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.engines.conformance import GREEDY, QUESTIONS
from veridistill.engines.checkpoint import Checkpoint
from veridistill.engines.vllm import VllmEngine
from veridistill.errors import ConfigError

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]  # vLLM's own


def test_a_temperature_that_no_request_may_have_is_an_error_of_the_configuration(tiny_model: Path) -> None:
    """Were it a refusal, every call would be journalled as refused and the run end with nothing."""
    llm: Any = SimpleNamespace(
        model_config=SimpleNamespace(max_model_len=512),
        output_processor=SimpleNamespace(process_outputs=None),
    )
    checkpoint = Checkpoint.open(str(tiny_model))
    engine = VllmEngine(llm, [], cast(Any, None), checkpoint, ("float32",), True, None, 1)

    async def main() -> None:
        with pytest.raises(ConfigError, match=r"temperature must be in \[0, 2\].*generate, judge"):
            await engine.generate(QUESTIONS[0], replace(GREEDY, temperature=3.0), 0)
        assert not engine._works

    asyncio.run(main())
