"""What is found out about a server: the questions of the `doctor`, one check after another.

Each check asks one thing and says what the server did and what to do about it: whether seeds, top_k and max_tokens have
an effect, how reasoning comes, whether a marker in a message becomes a control token, whether a closed connection ends
the work.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from veridistill.decide import MARKS
from veridistill.engines.chat import Guard
from veridistill.engines.endpoint.answers import BadAnswer
from veridistill.engines.endpoint.body import RESTRICTED_BY, Call, Form, drop
from veridistill.engines.endpoint.open import hopeless
from veridistill.engines.endpoint.pool import Server
from veridistill.engines.endpoint.reply import Reply
from veridistill.engines.endpoint.wire import Key, exchange
from veridistill.errors import ConfigError
from veridistill.records import Message, Sampling

if TYPE_CHECKING:
    import aiohttp

Status = Literal["ok", "warn", "fail", "unknown"]

_TIMEOUT = 60.0  # seconds without a token
_STOPPED = 10.0  # seconds that a server has to notice a closed connection
_STORY = "Tell me a story about a lighthouse, in at least two hundred words."
_SUM = "What is 17 + 25? Think first, then answer."
_HOT = 2.0
_MARKERS = ("<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|endoftext|>", "<think>", "</think>")
_UNRESTRICTED = "a request for a missing verdict may be answered at length; judge.follow_up=free says so"
_TIMES = 8
_RUNNING = re.compile(
    r"^(?:vllm:num_requests_running|sglang:num_running_reqs|llamacpp:requests_processing)(?:\{[^}]*\})?\s+([\d.]+)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and what to do about it (empty where there is nothing to do)."""

    name: str
    status: Status
    found: str
    advice: str = ""


class Examination:
    """The questions to one model, and the replies that several checks share."""

    def __init__(self, session: "aiohttp.ClientSession", server: Server, model: str, key: Key) -> None:
        self._session, self._server, self._form, self._key = session, server, Form(model), key
        self._pieces = 0
        self._greedy = ""

    async def run(self) -> list[Check]:
        checks: dict[str, Callable[[], Awaitable[Check]]] = {
            "reply": self._reply,
            "context": self._context,
            "streaming": self._streaming,
            "max_tokens": self._max_tokens,
            "temperature 0": self._temperature_0,
            "temperature": self._temperature,
            "top_k": lambda: self._narrow("top_k", Sampling(_HOT, 1.0, 1, 24)),
            "top_p": lambda: self._narrow("top_p", Sampling(_HOT, 1e-6, 0, 24)),
            "seed": self._seed,
            "reasoning": self._reasoning,
            "choices": self._choices,
            "token ids": self._token_ids,
            "control tokens": self._control_tokens,
            "cancelling": self._cancelling,
        }
        found = []
        for name, check in checks.items():
            try:
                found.append(await check())
            except (BadAnswer, ConfigError) as error:
                found.append(Check(name, "fail", str(error)))
            if name == "reply" and found[0].status == "fail":
                return found
        return found

    async def _ask(self, text: str, sampling: Sampling, seed: int = 1, **more: Any) -> Reply:
        """One reply. Raises `BadAnswer`, and `ConfigError` for a field that it refuses and that matters."""
        call = Call((Message("user", text),), None, sampling, seed)
        for _ in range(12):
            body = self._form.body(self._server, call) | more
            self._pieces = 0
            try:
                url = self._form.url(self._server, call)
                return await exchange(self._session, url, body, _TIMEOUT, self._key, self._count)
            except BadAnswer as bad:
                if bad.answer.kind != "fields":
                    raise
                drop(self._server, bad.answer, body)
        raise ConfigError("it refuses one field after another")

    def _count(self, num: int) -> None:
        self._pieces += 1

    async def _reply(self) -> Check:
        try:
            reply = await self._ask("Reply with the word yes.", Sampling(1.0, 1.0, 0, 16))
        except BadAnswer as bad:
            return Check("reply", "fail", hopeless(self._server, bad.answer, self._key))
        if self._server.dropped:
            names = ", ".join(sorted(self._server.dropped))
            return Check(
                "reply",
                "warn",
                f"it answers, but does not support {names}",
                "leave those at their neutral values",
            )
        if not reply.prompt_tokens:
            return Check(
                "reply", "warn", "it answers, but counts no tokens", "limits.tokens cannot be kept with it"
            )
        return Check("reply", "ok", "it answers, and accepts every field that is sent")

    async def _context(self) -> Check:
        if (context := self._server.context) is None:
            advice = "prompts that are too long are noticed when it refuses them"
            return Check("context", "unknown", "it does not say how long its context is", advice)
        return Check("context", "ok", f"{context} tokens of prompt and reply together")

    async def _streaming(self) -> Check:
        reply = await self._ask(_STORY, Sampling(1.0, 1.0, 0, 64), stream_interval=1)
        num = reply.completion(None, (), None).completion_tokens
        if self._pieces > 1 or num <= 1:
            return Check("streaming", "ok", f"{num} tokens in {self._pieces} pieces")
        advice = (
            "set engine.idle_timeout above the time of the longest reply: a stall looks like a long reply"
        )
        return Check("streaming", "warn", "the reply comes in one piece", advice)

    async def _max_tokens(self) -> Check:
        reply = await self._ask(_STORY, Sampling(1.0, 1.0, 0, 4))
        done = reply.completion(None, (), None)
        found = f"{done.completion_tokens} tokens for max_tokens=4, finish reason {done.finish_reason}"
        if done.completion_tokens > 4:
            return Check("max_tokens", "fail", found, "it ignores max_tokens: replies have no limit")
        if done.finish_reason == "stop":
            advice = "a reply that is cut off must not say stop: its verdicts and answers would count"
            return Check("max_tokens", "warn" if done.completion_tokens < 4 else "fail", found, advice)
        return Check("max_tokens", "ok", found)

    async def _texts(self, sampling: Sampling, seeds: tuple[int, ...]) -> list[str]:
        return [(await self._ask(_STORY, sampling, seed)).text for seed in seeds]

    async def _temperature_0(self) -> Check:
        texts = await self._texts(Sampling(0.0, 1.0, 0, 24), (1, 2, 3))
        self._greedy = texts[0]
        if len(set(texts)) == 1:
            return Check("temperature 0", "ok", "three replies are the same")
        return Check(
            "temperature 0",
            "warn",
            f"{len(set(texts))} different replies of three",
            "greedy decoding is not exact",
        )

    async def _temperature(self) -> Check:
        texts = await self._texts(Sampling(_HOT, 1.0, 0, 24), (1, 2, 3, 4))
        if len(set(texts)) > 1:
            return Check("temperature", "ok", f"{len(set(texts))} different replies of four at {_HOT:g}")
        return Check(
            "temperature",
            "fail",
            f"four replies at {_HOT:g} are the same",
            "candidates and votes would be copies",
        )

    async def _narrow(self, name: str, sampling: Sampling) -> Check:
        """A limit that leaves one token gives the greedy reply at any temperature."""
        value = "1" if name == "top_k" else "1e-6"
        try:
            texts = await self._texts(sampling, (1, 2))
        except ConfigError:
            return Check(
                name,
                "warn",
                "it does not support the field",
                f"leave {name} at {'0' if name == 'top_k' else '1'}",
            )
        if set(texts) == {self._greedy}:
            return Check(name, "ok", f"{name}={value} gives the greedy reply")
        if len(set(texts)) == 1:
            return Check(name, "ok", f"{name}={value} gives one reply, though not the greedy one")
        return Check(name, "fail", f"{name}={value} has no effect", f"it ignores {name}: do not rely on it")

    async def _seed(self) -> Check:
        if "seed" in self._server.dropped:
            return Check(
                "seed",
                "warn",
                "it does not support seeds",
                "replies cannot be reproduced; the journal keeps them",
            )
        same = await self._texts(Sampling(_HOT, 1.0, 0, 24), (7, 7, 7))
        if len(set(same)) == 1:
            return Check("seed", "ok", "the same seed gives the same reply")
        return Check(
            "seed", "warn", "the same seed gives different replies", "engine.seeded=false may be faster"
        )

    async def _reasoning(self) -> Check:
        reply = await self._ask(_SUM, Sampling(0.6, 0.95, 0, 512))
        if reply.reasoning_apart:
            return Check("reasoning", "ok", "in a separate field; it is put back as <think> ... </think>")
        if "</think>" in reply.text or "<think>" in reply.text:
            return Check("reasoning", "ok", "inline, as the model wrote it")
        return Check(
            "reasoning",
            "unknown",
            "none in one reply",
            "with model.reasoning=required all candidates would be malformed",
        )

    async def _choices(self) -> Check:
        """Whether a reply can be restricted to a few; a model seldom says one of these by itself."""
        sampling = Sampling(_HOT, 1.0, 0, 24, MARKS)
        if self._server.owner not in RESTRICTED_BY:
            owners = " and ".join(RESTRICTED_BY)
            found = f"not asked: only {owners} are known to restrict replies"
            return Check("choices", "warn", found, _UNRESTRICTED)
        try:
            texts = await self._texts(sampling, (1, 2))
        except BadAnswer as bad:
            return Check(
                "choices", "warn", f"it refuses a restricted reply: {bad.answer.text}", _UNRESTRICTED
            )
        if set(texts) <= set(MARKS):
            return Check("choices", "ok", f"a reply can be restricted to {' or '.join(MARKS)}")
        return Check("choices", "warn", "a restricted reply is something else", _UNRESTRICTED)

    async def _token_ids(self) -> Check:
        reply = await self._ask(_SUM, Sampling(1.0, 1.0, 0, 8), return_token_ids=True)
        if reply.token_ids() is None or reply.prompt_ids is None:
            advice = "training rows are made from text, and checked by a round trip"
            return Check("token ids", "warn", "it does not return the ids that were sampled", advice)
        call = Call((), reply.prompt_ids, Sampling(1.0, 1.0, 0, 4), 1)
        body = self._form.body(self._server, call) | {"stop_token_ids": []}
        url = self._form.url(self._server, call)
        try:
            again = await exchange(self._session, url, body, _TIMEOUT, self._key)
        except BadAnswer as bad:
            return Check(
                "token ids",
                "warn",
                f"ids are returned, but prompts of ids are refused: {bad}",
                "engine.protocol=chat",
            )
        if again.prompt_tokens != len(reply.prompt_ids):
            return Check(
                "token ids",
                "warn",
                "ids are returned, but a prompt of ids is changed",
                "engine.protocol=chat",
            )
        return Check(
            "token ids",
            "ok",
            "prompts are accepted and replies returned as ids",
            "engine.protocol=auto uses them",
        )

    async def _control_tokens(self) -> Check:
        """A marker that became a control token is one token; as text it is several."""
        empty = await self._prompt_tokens("")
        if not empty:
            return Check("control tokens", "unknown", "it counts no prompt tokens")
        guard = Guard(None, "neutralise")
        leaks, broken = [], []
        for marker in _MARKERS:
            if await self._prompt_tokens(marker * _TIMES) - empty <= _TIMES:
                leaks.append(marker)
            if await self._prompt_tokens(guard.content(marker) * _TIMES) - empty <= _TIMES:
                broken.append(marker)
        if broken:
            return Check(
                "control tokens", "fail", f"even broken up, {', '.join(broken)} are still one token each"
            )
        if leaks:
            advice = "model.control_tokens=neutralise (the default) breaks them up"
            return Check(
                "control tokens", "warn", f"{', '.join(leaks)} in a message become control tokens", advice
            )
        return Check("control tokens", "ok", "control tokens in a message stay text")

    async def _prompt_tokens(self, text: str) -> int:
        return (await self._ask(text, Sampling(1.0, 1.0, 0, 1))).prompt_tokens

    async def _cancelling(self) -> Check:
        """Three long replies at once: some servers show their last request as running long after its end."""
        before = await self._running()
        if before is None:
            return Check("cancelling", "unknown", "it has no /metrics with a count of running requests")
        context = self._server.context or 4096
        limit = min(20_000, max(context - 512, context // 2))
        sampling, more = Sampling(1.0, 1.0, 0, limit), {"stream_interval": 1, "ignore_eos": True}
        replies = [asyncio.create_task(self._ask(_STORY, sampling, seed, **more)) for seed in (1, 2, 3)]
        during = 0.0
        while during < before + 2 and not any(reply.done() for reply in replies):
            await asyncio.sleep(0.02)
            during = await self._running() or 0.0
        for reply in replies:
            reply.cancel()
        await asyncio.gather(*replies, return_exceptions=True)
        if during < before + 2:
            return Check("cancelling", "unknown", "the replies ended before they could be cancelled")
        for _ in range(int(_STOPPED / 0.1)):
            if (await self._running() or 0.0) <= max(before, 1):
                return Check("cancelling", "ok", "a closed connection ends the request in the server")
            await asyncio.sleep(0.1)
        advice = "calls that are no longer needed run to their end there; build.speculation=off makes fewer of them"
        return Check(
            "cancelling", "warn", f"still running {_STOPPED:g} s after the connections were closed", advice
        )

    async def _running(self) -> float | None:
        """Requests that the server says it is working on."""
        import aiohttp

        parts = urlsplit(self._server.url)
        root = f"{parts.scheme}://{parts.netloc}{re.sub(r'/v1$', '', parts.path)}"
        try:
            async with (
                asyncio.timeout(5),
                self._session.get(f"{root}/metrics", allow_redirects=False) as answer,
            ):
                found = _RUNNING.findall(await answer.text()) if answer.status == 200 else []
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
            return None
        return sum(map(float, found)) if found else None
