"""An engine without a model: replies from a function or from a script of rates. The project's only test
double.

A reply depends on (messages, sampling, seed) alone, so every order, every kill and every resume of a run
must end the same. A `Script` plays all roles of the method: it solves, infers questions and judges. Its
candidates carry a mark, a number from 0 to 1 that stands for their quality (right from 0.5); its judges
read the mark in the text they are shown, so wrong candidates are rejected more often, as a real judge
would.

Time can be simulated: slots, seconds per token, on the real or on a virtual clock. Without it a reply comes
at once and costs microseconds. Standard library only (PyYAML to read a script from a file).
"""

import asyncio
import heapq
import os
from binascii import crc32, crc_hqx
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import cycle, islice, repeat
from math import exp
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

from veridistill.engines.base import EngineStats
from veridistill.errors import ConfigError, EngineDown, RequestRefused
from veridistill.records import Completion, Messages, Sampling, TokenIds

Reply = Callable[[Messages, Sampling, int], Completion | str]
Role = Literal["solve", "infer", "compare", "factuality", "correctness", "simple"]

END_ID = 65536
"""The end-of-turn token; words have ids below it."""

_MARK = " mark 0."
_M64 = (1 << 64) - 1
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Script:
    """Rates of a make-believe model. Pairs are a judge's rates of yes for (right, wrong) candidates.

    `tokens` is the median of log-normal reply lengths with shape `sigma` (0: the words of the text).
    `seconds_per_token`, `slots` and `clock` simulate time, as in `ScriptedEngine`. `name` is the engine's fingerprint.
    """

    name: str = "scripted"
    well_formed: float = 0.95
    right: float = 0.6
    compare: tuple[float, float] = (0.98, 0.9)
    factuality: tuple[float, float] = (0.97, 0.3)
    correctness: tuple[float, float] = (0.97, 0.2)
    simple: tuple[float, float] = (0.95, 0.4)
    invalid: float = 0.02
    refused: float = 0.0
    reasoning: bool = False
    tokens: float = 0.0
    sigma: float = 0.6
    seconds_per_token: float = 0.0
    slots: int = 256
    clock: Literal["real", "virtual"] = "real"

    @classmethod
    def load(cls, path: Path) -> "Script":
        """A script from a YAML mapping of the fields above. Raises `ConfigError` naming file and field."""
        import yaml

        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"engine.script: {path} cannot be read as YAML ({error})") from None
        if not isinstance(data, dict):
            raise ConfigError(f"engine.script: {path} must be a mapping, found {type(data).__name__}")
        known = {field.name: field.default for field in fields(cls)}
        for name, value in data.items():
            if name not in known:
                raise ConfigError(f"{path}: unknown key {name}; choose from {', '.join(known)}")
            if fault := _fault(name, value, known[name]):
                raise ConfigError(f"{path}: {name} must be {fault} (found {value!r})")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)

    def reply(self, messages: Messages, sampling: Sampling, seed: int) -> Completion | str:
        prompt = messages[-1].content
        if self.refused and uniform(seed, 1) < self.refused:
            raise RequestRefused("the script refused this request")
        role = role_of(prompt)
        if role == "solve":
            text, reason = self._solve(prompt, seed)
        elif role == "infer":
            text, reason = f"What is asked with{_MARK}{_mark(prompt):04d} here?", "stop"
        else:
            text, reason = self._judge(role, prompt, seed)
        if self.reasoning:
            text = f"<think>\nLet me see.\n</think>\n\n{text}"
        num = self._length(text, seed)
        if num > sampling.max_tokens:
            num, reason = sampling.max_tokens, "length"
        return _completion(text, reason, prompt, num)

    def _solve(self, prompt: str, seed: int) -> tuple[str, str]:
        form = uniform(seed, 2)
        if form >= self.well_formed:
            truncated = form > (1 + self.well_formed) / 2
            return "Well, let me think about", "length" if truncated else "stop"
        right = uniform(seed, 3) < self.right
        number = (right_answer(prompt) + (0 if right else 1 + seed % 998)) % 1000
        mark = int(5000 * (uniform(seed, 4) + right))
        steps = f"Step by step, with{_MARK}{mark:04d} of care:"
        if "```python" in prompt[-600:]:
            return f"{steps}\n```python\nprint({number})\n```", "stop"
        return f"{steps} the answer is \\boxed{{{number}}}", "stop"

    def _judge(self, role: str, prompt: str, seed: int) -> tuple[str, str]:
        if uniform(seed, 5) < self.invalid:
            return "It is hard to say.", "length" if seed & 1 else "stop"
        rates: tuple[float, float] = getattr(self, role)
        letter = "Y" if uniform(seed, 6) < rates[_mark(prompt) < 5000] else "N"
        return f"I looked at it.\n{'Accepted: ' if role == 'correctness' else ''}[[{letter}]]", "stop"

    def _length(self, text: str, seed: int) -> int:
        if not self.tokens:
            return text.count(" ") + 2
        draw = min(max(uniform(seed, 7), 1e-12), 1 - 1e-12)
        return max(1, int(self.tokens * exp(self.sigma * _NORMAL.inv_cdf(draw))))


class ScriptedEngine:
    """Answers from a `Script` or a function (messages, sampling, seed) -> Completion or text.

    With `seconds_per_token` or `shuffle` replies take time: `slots` are served at once, the others wait in
    order. `shuffle` is a seed that scatters durations, and so the order of completion, without changing a
    reply. `clock` "virtual" jumps to the next completion as soon as the event loop has made `settle` turns
    without a new call; `busy`, if given, holds it back while it returns True (work of other threads). `now`
    and `busy_seconds` (slot-seconds used) are read by benchmarks. `log` gets the seed of each request, one
    per line, written through at once: it survives a SIGKILL.
    """

    def __init__(
        self,
        reply: Script | Reply | None = None,
        *,
        seconds_per_token: float = 0.0,
        slots: int = 256,
        clock: Literal["real", "virtual"] = "real",
        shuffle: int | None = None,
        settle: int = 20,
        busy: Callable[[], bool] | None = None,
        log: Path | None = None,
        reasons: bool = False,
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
        self.stop_ids: tuple[int, ...] = (END_ID,)
        self._time = None
        if seconds_per_token or shuffle is not None:
            self._time = _Slots(seconds_per_token, slots, clock == "virtual", shuffle, settle, busy)
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
        reply = self._reply(messages, sampling, seed)
        if type(reply) is str:
            reply = _completion(reply, "stop", messages[-1].content, reply.count(" ") + 2)
        assert isinstance(reply, Completion)
        self._calls += 1
        self._prompt_tokens += reply.prompt_tokens
        if self._time is not None:
            await self._time.pass_for(reply.completion_tokens, seed)
        self._completion_tokens += reply.completion_tokens
        return reply

    @property
    def now(self) -> float:
        """Seconds on the engine's clock; 0 without simulated time."""
        return self._time.now() if self._time else 0.0

    @property
    def busy_seconds(self) -> float:
        return self._time.busy_seconds if self._time else 0.0

    def stats(self) -> EngineStats:
        cancelled = (self._time.cancelled_tokens, self._time.cancelled_calls) if self._time else (0, 0)
        return EngineStats(
            self._prompt_tokens, self._completion_tokens, cancelled[0], self._calls, cancelled[1]
        )

    async def close(self) -> None:
        if self._log is not None and not self._closed:
            os.close(self._log)
        self._closed = True


@dataclass(eq=False, slots=True)
class _Call:
    future: "asyncio.Future[None]"
    duration: float
    start: float = -1.0
    over: bool = False


class _Slots:
    """Simulated time: calls wait for a slot in order and hold it for their duration."""

    def __init__(
        self,
        seconds_per_token: float,
        slots: int,
        virtual: bool,
        shuffle: int | None,
        settle: int,
        busy: Callable[[], bool] | None,
    ) -> None:
        self.busy_seconds = 0.0
        self.cancelled_tokens = self.cancelled_calls = 0
        self._seconds_per_token, self._free, self._shuffle = seconds_per_token, slots, shuffle
        self._virtual, self._settle, self._busy = virtual, settle, busy
        self._virtual_now = 0.0
        self._arrivals = 0
        self._waiting: deque[_Call] = deque()
        self._running: list[tuple[float, int, _Call]] = []  # virtual clock: a heap by end
        self._driver: asyncio.Task[None] | None = None

    def now(self) -> float:
        return self._virtual_now if self._virtual else asyncio.get_running_loop().time()

    async def pass_for(self, tokens: int, seed: int) -> None:
        call = _Call(asyncio.get_running_loop().create_future(), self._duration(tokens, seed))
        self._arrivals += 1
        self._waiting.append(call)
        self._fill()
        try:
            await call.future
        except asyncio.CancelledError:
            self._cancel(call, tokens)
            raise

    def _duration(self, tokens: int, seed: int) -> float:
        seconds = tokens * self._seconds_per_token or 0.001
        return (
            seconds if self._shuffle is None else seconds * (0.1 + uniform(seed ^ (self._shuffle << 32), 8))
        )

    def _fill(self) -> None:
        while self._free and self._waiting:
            call = self._waiting.popleft()
            if call.over:
                continue
            self._free -= 1
            call.start = self.now()
            if self._virtual:
                heapq.heappush(self._running, (call.start + call.duration, self._arrivals, call))
                self._arrivals += 1
            else:
                asyncio.get_running_loop().call_later(call.duration, self._end, call)
        if self._virtual and self._running and (self._driver is None or self._driver.done()):
            self._driver = asyncio.get_running_loop().create_task(self._drive())

    async def _drive(self) -> None:
        """Jump from completion to completion, each when nothing more can be asked before it."""
        while self._running:
            await self._quiet()
            end, _, call = heapq.heappop(self._running)
            if not call.over:
                self._virtual_now = end
                self._end(call)

    async def _quiet(self) -> None:
        seen, turns = self._arrivals, 0
        while turns < self._settle:
            waits = self._busy is not None and self._busy()
            await asyncio.sleep(0.0002 if waits else 0)
            turns = turns + 1 if self._arrivals == seen and not waits else 0
            seen = self._arrivals

    def _end(self, call: _Call) -> None:
        if call.over:
            return
        self._release(call)
        if not call.future.done():
            call.future.set_result(None)
        self._fill()

    def _release(self, call: _Call) -> None:
        call.over = True
        if call.start >= 0:
            self._free += 1
            self.busy_seconds += self.now() - call.start

    def _cancel(self, call: _Call, tokens: int) -> None:
        self.cancelled_calls += 1
        if call.over:  # it ended in the same turn of the event loop
            self.cancelled_tokens += tokens
            return
        if call.start >= 0:
            self.cancelled_tokens += min(tokens, int(tokens * (self.now() - call.start) / call.duration))
        self._release(call)
        self._fill()


def role_of(prompt: str) -> Role:
    """Who is addressed, from the blocks of a judge's prompt and its last line. Solvers are shown no block."""
    head, fence, tail = prompt.rpartition("\n[/")
    if not fence or not ("[answer]\n" in head or "[inferred]\n" in head):
        return "solve"
    last = tail.rpartition("\n")[2]
    if "[[Y]]" not in last:
        return "infer"
    if tail.startswith("inferred]"):
        return "compare"
    if "Accepted:" in last:
        return "correctness"
    return "factuality" if "error" in last else "simple"


def right_answer(question: str) -> int:
    """The number that a script's right candidates give for a question: a hash of its first line, 0 to 999."""
    return crc32(question.partition("\n")[0].encode("utf-8", "replace")) % 1000


def uniform(seed: int, salt: int) -> float:
    """A number in [0, 1) as a hash of two integers (splitmix64's mixer)."""
    x = (seed * 0x9E3779B97F4A7C15 + salt * 0xD1342543DE82EF95) & _M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _M64
    return ((x ^ (x >> 31)) >> 11) * 2.0**-53


def _mark(prompt: str) -> int:
    """The quality, 0 to 9999, of the candidate that a prompt shows; right from 5000. Without a mark, 0."""
    at = prompt.rfind(_MARK)
    digits = prompt[at + len(_MARK) : at + len(_MARK) + 4] if at >= 0 else ""
    return int(digits) if digits.isdecimal() else 0


def _completion(text: str, reason: str, prompt: str, num: int) -> Completion:
    prompt_ids, words = _word_ids(prompt), _word_ids(text) or (0,)
    end = (END_ID,) if reason == "stop" else ()
    ids = TokenIds((*islice(cycle(words), num - len(end)), *end))
    return Completion(text, reason, len(prompt_ids), num, ids, prompt_ids)


@lru_cache(maxsize=1024)
def _word_ids(text: str) -> TokenIds:
    return TokenIds(map(crc_hqx, text.encode("utf-8", "replace").split(), repeat(0)))


def _fault(name: str, value: Any, default: Any) -> str | None:
    """What a script's field must be, if `value` is not that."""
    rates = value if isinstance(default, tuple) else [value]
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if name == "name":
        return None if isinstance(value, str) and value else "a text that is not empty"
    if isinstance(default, str):
        return None if value in ("real", "virtual") else "real or virtual"
    if not isinstance(rates, list | tuple) or len(rates) != (2 if isinstance(default, tuple) else 1):
        return "a pair of rates, for right and for wrong candidates"
    if any(isinstance(rate, bool) or not isinstance(rate, int | float) for rate in rates):
        return "a number"
    if name == "slots":
        return None if isinstance(value, int) and value >= 1 else "a whole number from 1 up"
    if name in ("tokens", "sigma", "seconds_per_token"):
        return None if value >= 0 else "0 or more"
    return None if all(0 <= rate <= 1 for rate in rates) else "between 0 and 1"
