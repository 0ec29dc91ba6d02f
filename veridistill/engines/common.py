"""Shared parts of engines: other prompts on the same weights, and the limit that a context sets to a reply."""

from collections.abc import Awaitable, Callable

from veridistill.engines.base import Engine, EngineStats
from veridistill.errors import RequestRefused
from veridistill.records import Completion, Messages, Sampling


class Rendered:
    """What `ModelEngine.rendered` returns: `generate` is the engine's own, bound to the other prompts."""

    capacity = 0

    def __init__(
        self,
        engine: Engine,
        fingerprint: str,
        reasons: bool,
        generate: Callable[[Messages, Sampling, int], Awaitable[Completion]],
    ) -> None:
        self.fingerprint = fingerprint
        self.reasons = reasons
        self.stop_ids = engine.stop_ids
        self._engine = engine
        self._generate = generate

    @property
    def context_length(self) -> int | None:
        return self._engine.context_length

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        return await self._generate(messages, sampling, seed)

    def stats(self) -> EngineStats:
        """Nothing: its calls count in the engine's own, and whoever adds the two must not count them twice."""
        return EngineStats()

    async def close(self) -> None:
        """Left to the engine."""


def room_for(num_prompt: int, context: int) -> int:
    """Tokens that the context leaves for a reply. Raises `RequestRefused` when it leaves none."""
    if num_prompt >= context:
        raise RequestRefused.too_long(
            f"the prompt has {num_prompt} tokens and the context {context}; shorten the prompt, or use an engine with a"
            " longer context",
            context,
        )
    return context - num_prompt


def context_of_cut(finish_reason: str, num_tokens: int, sampling: Sampling, context: int) -> int | None:
    """`Completion.context` of a reply of `num_tokens`: the context, where it and not `max_tokens` ended the reply."""
    return context if finish_reason == "length" and num_tokens < sampling.max_tokens else None
