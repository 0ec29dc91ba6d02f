"""Several servers as one: which of them gets the next call, and which are temporarily out of service.

Calls with the same key go to the same server, where the prefix of their prompts is cached (rendezvous hashing, Thaler
and Ravishankar 1998), and spill to the least loaded one when that is full. A server that faults several times in a row
without sending a token is quarantined and probed until it sends one. The pool does not deal with HTTP or replies.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

from veridistill.engines.endpoint.aimd import Width

_FAULTS = 3  # in a row, without a token between them, until a server is quarantined
LONGEST_PAUSE = 30.0  # seconds between two probes, or without a call after push-backs


@dataclass(eq=False, slots=True)
class Server:
    """One base URL and what is known about it. Times are the event loop's; `dropped` are fields that it does not know.

    `ready_at`: no call before then. `moved_at`: when it last moved a token. `faults`, and round trips with
    `pushbacks`: in a row.
    `context`: tokens of prompt and reply together, None when it does not say. `model`: the name by which it lists the
    model, empty where it lists none.
    """

    url: str
    width: Width
    context: int | None = None
    owner: str = ""
    model: str = ""
    dropped: set[str] = field(default_factory=set)
    in_service: bool = True
    ready_at: float = 0.0
    moved_at: float = float("-inf")
    faults: int = 0
    pushbacks: int = 0
    last_answer: str = "no answer yet"


@dataclass(slots=True)
class Faults:
    """The faults of one request. `open` are those, with their weights, that were not charged to it yet."""

    open: list[tuple[Server, float, float]] = field(default_factory=list)
    charged: float = 0.0
    total: int = 0
    clipped: int = 0

    def add(self, server: Server, now: float, weight: float = 1.0) -> None:
        self.open.append((server, now, weight))
        self.total += 1

    def charge(self) -> float:
        """The weight of the faults after which the same server sent tokens: those are charged to the request."""
        self.charged += sum(weight for server, at, weight in self.open if server.moved_at > at)
        self.open = [fault for fault in self.open if fault[0].moved_at <= fault[1]]
        return self.charged


@dataclass(eq=False, slots=True)
class _Waiting:
    key: bytes
    avoid: Collection[Server]
    future: "asyncio.Future[Server]"


class Pool:
    """Hands out places at servers, in the order in which they are asked for.

    `probe` sends one small request to a server and says whether a token moved; `resized` is called when `capacity` may
    have changed; `pause` is the first wait in seconds of any series of waits.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        probe: Callable[[Server], Awaitable[bool]],
        resized: Callable[[], object],
        pause: float,
    ) -> None:
        self.servers = tuple(servers)
        self.moved_at = float("-inf")
        self._probe, self._resized, self._pause = probe, resized, pause
        self._waiting: deque[_Waiting] = deque()
        self._probing: dict[Server, asyncio.Task[None]] = {}

    def leave_out(self, others: Collection[Server]) -> None:
        """Take servers out for good, before the first call."""
        self.servers = tuple(server for server in self.servers if server not in others)

    @property
    def capacity(self) -> int:
        return sum(server.width.useful for server in self.servers if server.in_service)

    async def take(self, key: bytes, avoid: Collection[Server] = ()) -> Server:
        """A place at a server, not at those in `avoid` while another is in service. `give` it back."""
        waiting = _Waiting(key, avoid, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._hand_out()
        try:
            return await waiting.future
        except asyncio.CancelledError:
            if waiting.future.done() and not waiting.future.cancelled():
                self.give(waiting.future.result())
            elif waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def give(self, server: Server) -> None:
        server.width.running -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        now = asyncio.get_running_loop().time()
        passed: deque[_Waiting] = deque()
        while self._waiting and (free := self._free(now)):
            waiting = self._waiting.popleft()
            if waiting.future.done():
                continue
            server = self._choose(waiting, free)
            if server is None:
                passed.append(waiting)
                continue
            server.width.running += 1
            waiting.future.set_result(server)
        self._waiting.extendleft(reversed(passed))

    def _free(self, now: float) -> list[Server]:
        return [s for s in self.servers if s.in_service and s.ready_at <= now and s.width.free]

    def _choose(self, waiting: _Waiting, free: Sequence[Server]) -> Server | None:
        """The key's own server, or the least loaded one; None when only servers to be avoided are free."""
        usable = [s for s in self.servers if s.in_service and s not in waiting.avoid]
        if usable:
            free = [server for server in free if server in usable]
        own = max(usable or free, key=lambda server: affinity(waiting.key, server.url), default=None)
        return own if own in free else min(free, key=lambda server: server.width.load, default=None)

    # What the servers did.

    def moved(self, server: Server, now: float) -> None:
        """It sent a token, so it is alive."""
        server.moved_at = self.moved_at = now
        server.faults = server.pushbacks = 0
        if not server.in_service:
            server.in_service = True
            self._resized()
            self._hand_out()

    def admitted(self, server: Server) -> None:
        """A call's first token came."""
        server.width.grow()
        self._resized()
        self._hand_out()

    def pushed_back(self, server: Server, started: float, wait: float | None) -> None:
        """It answered that it is busy: reduce its width, and pause for `wait` seconds, or for a growing time."""
        loop = asyncio.get_running_loop()
        if self.shrink(server, started):
            server.pushbacks = min(server.pushbacks + 1, 16)
        if wait is None:
            wait = min(self._pause * 2 ** (server.pushbacks - 1), LONGEST_PAUSE)
        server.ready_at = max(server.ready_at, loop.time() + wait)
        loop.call_at(server.ready_at + 0.001, self._hand_out)

    def shrink(self, server: Server, started: float) -> bool:
        shrunk = server.width.shrink(started, asyncio.get_running_loop().time())
        self._resized()
        return shrunk

    def faulted(self, server: Server) -> None:
        server.faults += 1
        if server.faults >= _FAULTS and server.in_service:
            server.in_service = False
            self._resized()
            if server not in self._probing:
                self._probing[server] = asyncio.create_task(self._revive(server))
            self._hand_out()  # who avoided another server may have no choice now

    async def _revive(self, server: Server) -> None:
        try:
            for number in count():
                await asyncio.sleep(min(self._pause * 2 ** min(number, 16), LONGEST_PAUSE))
                if not server.in_service and await self._probe(server):
                    # The reply may have been empty, or the server faulted again before its end.
                    self.moved(server, asyncio.get_running_loop().time())
                if server.in_service:
                    return
        finally:
            del self._probing[server]

    async def close(self) -> None:
        tasks = list(self._probing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def affinity(key: bytes, url: str) -> bytes:
    """The rank of a server for a key: the highest is the key's own."""
    return hashlib.blake2b(url.encode(), key=key, digest_size=8).digest()
