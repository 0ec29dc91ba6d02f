"""The scripted engine: a `Script`, or any function, behind the engine protocol.

A reply depends on (messages, sampling, seed) alone, so every order, every kill and every resume of a run must end the
same. Without simulated time (`clock`) a reply comes at once and costs microseconds.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from veridistill.engines.base import EngineStats, Rendering
from veridistill.engines.common import room_for
from veridistill.engines.scripted.clock import Clock, SimulatedTime
from veridistill.engines.scripted.script import END_ID, Reply, Script, completion_of
from veridistill.errors import EngineDown
from veridistill.records import Completion, Messages, Sampling, TokenIds


class ScriptedEngine:
    """Answers from a `Script` or a function (messages, sampling, seed) -> Completion or text.

    With `seconds_per_token` or `shuffle` replies take time: `slots` are served at once, the others wait in
    order. `shuffle` is a seed that scatters durations, and so the order of completion, without changing a
    reply. `clock` "virtual" jumps to the next completion as soon as the event loop has made `settle` turns
    without a new call; `busy`, if given, holds it back while it returns True (work of other threads). `now`
    and `busy_seconds` (slot-seconds used) are read by benchmarks. `log` gets the seed of each request, one
    per line, written through at once: it survives a SIGKILL. Prompts and replies that exceed `context_length`
    together are cut, or refused, as by a model.
    """

    def __init__(
        self,
        reply: Script | Reply | None = None,
        *,
        seconds_per_token: float = 0.0,
        slots: int = 256,
        clock: Clock = "real",
        shuffle: int | None = None,
        settle: int = 20,
        busy: Callable[[], bool] | None = None,
        log: Path | None = None,
        reasons: bool = False,
        context_length: int | None = None,
    ) -> None:
        script = reply if isinstance(reply, Script) else Script()
        self._reply: Reply = script.reply if reply is None or isinstance(reply, Script) else reply
        if isinstance(reply, Script):
            seconds_per_token = seconds_per_token or script.seconds_per_token
            slots, clock, reasons = (
                min(slots, script.slots),
                script.clock if clock == "real" else clock,
                script.reasoning,
            )
        self.fingerprint = script.name
        self.capacity = slots
        self.reasons = reasons
        self.context_length = context_length
        self.stop_ids: tuple[int, ...] = (END_ID,)
        self._time = None
        if seconds_per_token or shuffle is not None:
            self._time = SimulatedTime(seconds_per_token, slots, clock, shuffle, settle, busy)
        self._log = (
            None
            if log is None
            else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        )
        self._calls = self._prompt_tokens = self._completion_tokens = 0
        self._closed = False

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        if self._closed:
            raise EngineDown("the scripted engine is closed")
        if self._log is not None:
            os.write(self._log, b"%d\n" % seed)
        self._calls += 1
        reply = self._reply(messages, sampling, seed)
        if type(reply) is str:
            reply = completion_of(reply, "stop", messages[-1].content, reply.count(" ") + 2)
        assert isinstance(reply, Completion)
        if self.context_length is not None:
            reply = _within(reply, self.context_length)
        if self._time is not None:
            await self._time.pass_for(reply.completion_tokens, seed)
        self._prompt_tokens += reply.prompt_tokens
        self._completion_tokens += reply.completion_tokens
        return reply

    def rendered(self, rendering: Rendering) -> "ScriptedEngine":
        """The engine itself: a script has no chat template that could render otherwise."""
        return self

    @property
    def now(self) -> float:
        """Seconds on the engine's clock; 0 without simulated time."""
        return self._time.now() if self._time else 0.0

    @property
    def busy_seconds(self) -> float:
        return self._time.busy_seconds if self._time else 0.0

    def stats(self) -> EngineStats:
        counted = EngineStats(
            self._prompt_tokens,
            self._completion_tokens,
            calls=self._calls,
            decoded_tokens=self._completion_tokens,
        )
        if (time := self._time) is None:
            return counted
        return replace(
            counted,
            cancelled_tokens=time.cancelled_tokens,
            cancelled_calls=time.cancelled_calls,
            decoded_tokens=time.decoded_tokens,
        )

    async def close(self) -> None:
        if self._log is not None and not self._closed:
            os.close(self._log)
        self._closed = True


def _within(reply: Completion, context: int) -> Completion:
    """The reply as far as the context has room for it. Raises `RequestRefused` where that is nothing."""
    if (room := room_for(reply.prompt_tokens, context)) >= reply.completion_tokens:
        return reply
    return replace(
        reply,
        text=" ".join(reply.text.split(" ")[:room]),
        finish_reason="length",
        completion_tokens=room,
        token_ids=TokenIds(reply.token_ids[:room]) if reply.token_ids else None,
        context=context,
    )
