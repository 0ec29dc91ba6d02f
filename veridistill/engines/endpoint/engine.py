"""Any OpenAI-compatible server, or several, as one engine.

`EndpointEngine` sends each call to one of its servers (`pool` chooses), streams the reply and asks again,
there or elsewhere, after transport faults. A server is alive while it sends tokens: a stalled request is aborted and
asked again, and if no server sends a token for `patience` seconds the engine is down. A fault counts against a request
only if the same server sent tokens after it: then the server was not the cause.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from veridistill.config import EngineSection
from veridistill.engines.base import EngineStats, Rendering
from veridistill.engines.common import Rendered, room_for
from veridistill.engines.endpoint.aimd import Width
from veridistill.engines.endpoint.answers import Answer, BadAnswer
from veridistill.engines.endpoint.body import Call, Form, drop, max_tokens, unrestricted
from veridistill.engines.endpoint.lifeline import Lifeline
from veridistill.engines.endpoint.model import Declared
from veridistill.engines.endpoint.open import (
    TRIAL,
    TRIAL_SAMPLING,
    TRIAL_TIMEOUT,
    Wanted,
    allow_files,
    hopeless,
    listed,
    settle,
    unserved,
)
from veridistill.engines.endpoint.pool import LONGEST_PAUSE, Faults, Pool, Server
from veridistill.engines.endpoint.reply import Reply
from veridistill.engines.endpoint.wire import Key, base_url, exchange, open_session
from veridistill.errors import ConfigError, EngineDown, RequestRefused
from veridistill.records import Completion, Messages, Sampling

if TYPE_CHECKING:
    import aiohttp

_KEYED = 256  # characters of a prompt that choose its server; judges' prompts open with the question
_PUSHBACK = 0.125  # of a fault: being busy says little of the request
_REFUSED_IN_A_ROW = 16  # requests given up without a reply between them: then the requests are not the cause


class EndpointEngine:
    """Servers behind URLs that serve one model. Make it with `EndpointEngine.open`; use it in one event loop.

    `capacity` is what the servers in service take now; it changes with their answers, and `resized` is called then.
    `pause` is the first wait, in seconds, before something is asked again; each further one is twice as long.
    """

    def __init__(
        self, section: EngineSection, declared: Declared, wanted: Wanted, *, pause: float = 0.25
    ) -> None:
        self.fingerprint = declared.fingerprint
        self.reasons = declared.reasons
        self.stop_ids = declared.end_ids
        self._section, self._declared, self._pause = section, declared, pause
        self._key = Key.of(section.api_key_env)
        self._form = Form(wanted.name or wanted.directory, declared.end_ids)
        self._wanted, self._guards = wanted, [declared.guard]
        urls = dict.fromkeys(base_url(url) for url in section.urls)
        servers = [Server(url, Width(section.max_width), declared.context) for url in urls]
        self._pool = Pool(servers, self._probe, self._resize, pause)
        self._lifeline = Lifeline(self._pool, section.patience)
        self.capacity = self._pool.capacity
        self.resized: Callable[[], object] = lambda: None
        self._protocol = "chat" if declared.prompts is None else "completions"
        self._session: aiohttp.ClientSession | None = None
        self._stats = EngineStats()
        self._decoded = 0
        self._unserved = ""
        self._proven = False
        self._refused = 0

    @classmethod
    def open(
        cls, section: EngineSection, declared: Declared, wanted: Wanted, *, pause: float = 0.25
    ) -> "EndpointEngine":
        """Check all servers at once, then return the engine. Raises `ConfigError` in seconds if one is unusable.

        Servers that serve the weights of another round are left out. Where that leaves none, the engine has capacity 0
        and every call raises `EngineDown`: a run whose replies are all in the journal asks nothing of it.
        """
        engine = cls(section, declared, wanted, pause=pause)
        allow_files(section.max_width * len(engine._pool.servers))
        with ThreadPoolExecutor(1) as thread:  # the caller may be inside an event loop, or may not
            thread.submit(asyncio.run, engine._check()).result()
        return engine

    async def _check(self) -> None:
        calls = {"chat": self._trial("chat")}
        if self._declared.prompts is not None and self._section.protocol != "chat":
            calls = {"completions": self._trial("completions")} | calls
        if self._section.protocol == "completions":
            del calls["chat"]
        async with open_session(self._key) as session:
            others = await listed(session, self._pool.servers, self._wanted, self._key)
            self._pool.leave_out(others)
            if not self._pool.servers:
                self._unserved, self.capacity = unserved(self._wanted, others), 0
                return
            self._protocol = await settle(session, self._pool.servers, self._form, calls, self._key)
        self.capacity = self._pool.capacity

    @property
    def protocol(self) -> str:
        """`completions` (prompts rendered here, ids kept) or `chat`, as configured or as the servers take it."""
        return self._protocol

    @property
    def context_length(self) -> int | None:
        """The shortest context of the servers in use, as far as they say how long it is."""
        return min((s.context for s in self._pool.servers if s.context is not None), default=None)

    def rendered(self, rendering: Rendering) -> Rendered:
        """The same servers, with prompts rendered differently."""
        other = self._declared.rendered(rendering)
        self._guards.append(other.guard)
        return Rendered(self, other.fingerprint, other.reasons, partial(self._generate, other))

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        """One sampled reply.

        Raises `RequestRefused` for a prompt that is too long, or that a server refuses, or that failed more than
        `retries` times at servers that answered others meanwhile; `EngineDown` when no server moves tokens; for a key,
        a model or a field with which no request can succeed `ConfigError`, or after the first reply `EngineDown`.
        """
        return await self._generate(self._declared, messages, sampling, seed)

    async def _generate(
        self, declared: Declared, messages: Messages, sampling: Sampling, seed: int
    ) -> Completion:
        self._lifeline.check()
        if self._unserved:
            raise EngineDown(self._unserved)
        self._count(calls=1)
        call = self._call(declared, messages, sampling, seed, self._protocol)
        try:
            async with self._lifeline.hold():
                return await self._ask(call)
        except asyncio.CancelledError:
            self._count(cancelled_calls=1)
            raise

    def _call(
        self, declared: Declared, messages: Messages, sampling: Sampling, seed: int, protocol: str
    ) -> Call:
        seeded = seed if self._section.seeded else None
        if protocol == "completions" and declared.prompts is not None:
            return Call(messages, declared.prompts.ids(messages), sampling, seeded)
        return Call(declared.guard.messages(messages), None, sampling, seeded, declared.template)

    def _trial(self, protocol: str) -> Call:
        return self._call(self._declared, TRIAL, TRIAL_SAMPLING, 0, protocol)

    # One request, until it has a reply.

    async def _ask(self, call: Call) -> Completion:
        faults, key, avoid = Faults(), _affinity(call), set[Server]()
        loop = asyncio.get_running_loop()
        while True:
            server = await self._pool.take(key, avoid)
            started = loop.time()
            try:
                body = self._body(server, call)
                return self._replied(await self._send(server, call, body), server, call)
            except BadAnswer as bad:
                answer = bad.answer
            finally:
                self._pool.give(server)
            server.last_answer = answer.text
            self._count(retries=1)
            if answer.kind == "too_long":
                self._clip(call, server, answer, body, faults)
            elif answer.kind == "fields":
                drop(server, answer, body)
            elif not unrestricted(server, answer, body):
                self._fault(server, answer, faults, started)
                avoid = {server}
                await self._wait(server, answer, faults)

    def _body(self, server: Server, call: Call) -> dict[str, Any]:
        if server.context is not None and call.prompt_ids is not None:
            room_for(len(call.prompt_ids), server.context)
        return self._form.body(server, call)

    async def _send(
        self, server: Server, call: Call, body: dict[str, Any], idle_timeout: float | None = None
    ) -> Reply:
        """One attempt. Raises `BadAnswer`."""
        loop, num = asyncio.get_running_loop(), 0

        def moved(more: int) -> None:
            nonlocal num
            if not num:
                self._pool.admitted(server)
            num += more
            self._decoded += more
            self._pool.moved(server, loop.time())

        if self._session is None:
            self._session = open_session(self._key)
        timeout = idle_timeout or self._section.idle_timeout
        try:
            return await exchange(
                self._session, self._form.url(server, call), body, timeout, self._key, moved
            )
        except asyncio.CancelledError:
            self._count(cancelled_tokens=num)
            raise

    def _replied(self, reply: Reply, server: Server, call: Call) -> Completion:
        declared = self._declared
        completion = reply.completion(declared.prompts, declared.end_ids, call.prompt_ids)
        if completion.finish_reason == "length" and (
            max_tokens(server, call) < call.sampling.max_tokens
            or (reply.counts and completion.completion_tokens < call.sampling.max_tokens)
        ):
            completion = replace(completion, context=server.context or 0)
        self._count(
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
        )
        # What the server counts beyond the pieces that came: several tokens in one, or none shown.
        self._decoded += max(completion.completion_tokens - reply.num_tokens, 0)
        self._proven, self._refused = True, 0
        return completion

    def _fault(self, server: Server, answer: Answer, faults: Faults, started: float) -> None:
        """Tell the pool, or raise what the answer means for the request or the run."""
        now = asyncio.get_running_loop().time()
        if answer.kind == "refused":
            raise RequestRefused(f"{server.url} refused the request: {answer.text}")
        if answer.kind == "fatal":
            raise self._lifeline.end(
                (EngineDown if self._proven else ConfigError)(hopeless(server, answer, self._key))
            )
        if answer.kind == "busy":
            self._pool.pushed_back(server, started, answer.retry_after)
            faults.add(server, now, _PUSHBACK)
            return
        if answer.kind == "stalled":
            self._pool.shrink(server, started)
        self._pool.faulted(server)
        faults.add(server, now)

    async def _wait(self, server: Server, answer: Answer, faults: Faults) -> None:
        """Wait before asking again, or raise when the request was asked often enough."""
        elsewhere = any(other.in_service for other in self._pool.servers if other is not server)
        if answer.kind != "busy" and not (
            elsewhere and faults.total == 1
        ):  # a busy server is paused by the pool
            wait = min(self._pause * 2 ** min(faults.total - 1, 16), LONGEST_PAUSE)
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))
        if faults.charge() > self._section.retries:
            self._refused += 1
            what = f"{faults.total} attempts failed; the last answer, from {server.url}: {answer.text}"
            if self._refused > _REFUSED_IN_A_ROW:
                raise self._lifeline.end(
                    EngineDown(f"{self._refused} requests in a row were given up: {what}")
                )
            raise RequestRefused(f"{what}; other requests were answered in the meantime")

    def _clip(self, call: Call, server: Server, answer: Answer, body: dict[str, Any], faults: Faults) -> None:
        """Ask for no more than there is room for, as the answer has it; or raise `RequestRefused`."""
        faults.clipped += 1
        asked = body.get("max_tokens") or body["max_completion_tokens"]
        if answer.context is not None:
            server.context = min(server.context or answer.context, answer.context)
        if answer.prompt is not None and server.context is not None:
            call.limit = server.context - answer.prompt
        room = min(max_tokens(server, call), call.limit or asked)
        if faults.clipped > 2 or not 1 <= room < asked:
            what = f"{server.url} refused the request as too long: {answer.text}"
            raise RequestRefused.too_long(what, server.context)

    # All requests.

    def _resize(self) -> None:
        if (capacity := max(self._pool.capacity, 1)) != self.capacity:
            self.capacity = capacity
            self.resized()

    async def _probe(self, server: Server) -> bool:
        """Whether a server out of service moves a token again, for a prompt known to be harmless."""
        call = self._trial(self._protocol)
        try:
            timeout = min(TRIAL_TIMEOUT, self._section.idle_timeout)
            await self._send(server, call, self._form.body(server, call), timeout)
        except BadAnswer as bad:
            server.last_answer = bad.answer.text
            return False
        return True

    def _count(self, **more: int) -> None:
        old = self._stats
        self._stats = replace(old, **{name: getattr(old, name) + value for name, value in more.items()})

    def stats(self) -> EngineStats:
        """Cancelled tokens are those that had arrived; what a server sends in groups may be a few more there."""
        markers = sum(guard.num_found for guard in self._guards)
        return replace(self._stats, control_tokens=markers, decoded_tokens=self._decoded)

    async def close(self) -> None:
        """End what is under way and close all connections; running calls fail with `EngineDown`."""
        self._lifeline.close()
        await self._pool.close()
        if self._session is not None:
            await self._session.close()


def _affinity(call: Call) -> bytes:
    """Votes of one candidate, and often all calls of one question, share the beginning of their last message."""
    return hashlib.blake2b(
        call.messages[-1].content[:_KEYED].encode("utf-8", "replace"), digest_size=16
    ).digest()
