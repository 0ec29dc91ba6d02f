"""The cluster as an engine: a pool of Ray actors, each holding another engine (`replica`).

`RayEngine` is what the driver sees; behind it a `Pool` owns all replicas and calls on its own event loop, so that
callers may come from any loop.

Every replica lies on one node and is given all the GPUs its engine needs; vLLM shards the weights over them with its
own processes. That needs no placement group, keeps tensor parallelism on the node's fast links, and a replica dies as a
whole. A model that needs several nodes for one copy of its weights is not served this way: start a server for it and
use `engine.kind=endpoint`.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count

from veridistill.config import EngineSection, ModelSection
from veridistill.engines.base import EngineStats, Rendering
from veridistill.engines.common import Rendered
from veridistill.engines.ray import cluster
from veridistill.engines.ray.pool import Pool
from veridistill.engines.ray.replica import Asked
from veridistill.engines.ray.routing import Call
from veridistill.errors import EngineDown, missing_extra
from veridistill.records import Completion, Messages, Sampling


class RayEngine:
    """A pool of replicas. Make it with `RayEngine.open`.

    `capacity` is the sum over the replicas that are ready; `resized` is called when one joins or leaves.
    """

    def __init__(self, section: EngineSection, model: ModelSection) -> None:
        self.capacity = 1
        self.fingerprint = ""
        self.reasons = False
        self.stop_ids: tuple[int, ...] = ()
        self.context_length: int | None = None
        self._counts, self._counting = EngineStats(), threading.Lock()
        self._numbers = count()
        self._loop = asyncio.new_event_loop()
        self.resized: Callable[[], object] = lambda: None
        self._caller: asyncio.AbstractEventLoop | None = None
        self._pool = Pool(section, model, self._resize)
        self._inbox: deque[Callable[[], None]] = deque()
        self._awake = False
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="veridistill-ray", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, section: EngineSection, model: ModelSection) -> "RayEngine":
        """Start or join Ray and load the replicas; returns when the first is ready, the others join later.

        Raises `ConfigError` for a model that cannot be used, a cluster that cannot be reached or has no room for one
        replica, `EngineDown` when every replica dies while it loads, `MissingExtra` without Ray.
        """
        try:
            import ray  # noqa: F401
        except ImportError:
            raise missing_extra("engine.kind=ray", "ray") from None
        engine = cls(cluster.for_replicas(section), cluster.checked(section, model))
        try:
            described = asyncio.run_coroutine_threadsafe(engine._pool.open(), engine._loop).result()
        except BaseException:
            engine._stop()
            raise
        engine.fingerprint, engine.reasons, engine.stop_ids = described.identity
        engine.context_length = described.context_length
        return engine

    def rendered(self, rendering: Rendering) -> Rendered:
        """The same replicas, with prompts rendered otherwise; blocks until one has said what that is.

        Raises `EngineDown` when none can.
        """
        described = asyncio.run_coroutine_threadsafe(self._pool.describe(rendering), self._loop).result()
        generate = partial(self._generate, rendering)
        return Rendered(self, described.fingerprint, described.reasons, generate)

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
        """One reply. Raises `EngineDown` when no replica is left."""
        return await self._generate(None, messages, sampling, seed)

    async def _generate(
        self, rendering: Rendering | None, messages: Messages, sampling: Sampling, seed: int
    ) -> Completion:
        if self._closed:
            raise EngineDown("the ray engine is closed; open it again")
        self._caller = loop = asyncio.get_running_loop()
        asked = Asked(next(self._numbers), messages, sampling, seed, rendering)
        call = Call(asked, loop, loop.create_future())
        self._count(calls=1)
        self._send(lambda: self._pool.dispatch(call))
        try:
            reply = await call.future
        except asyncio.CancelledError:
            self._count(cancelled_calls=1)
            self._send(lambda: self._pool.cancel(call))
            raise
        self._count(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
        return reply

    def _count(self, **more: int) -> None:
        with self._counting:  # callers may be in several threads
            old = self._counts
            self._counts = replace(old, **{name: getattr(old, name) + num for name, num in more.items()})

    def stats(self) -> EngineStats:
        """Calls and replies are counted here, each once, however many replicas died over it.

        Cancelled, reused, control and decoded tokens and retries are what the replicas last reported: at most about
        half a second ago. A call of a replica that died is a retry too.
        """
        inside = self._pool.stats()
        return replace(
            self._counts,
            cancelled_tokens=inside.cancelled_tokens,
            reused_tokens=inside.reused_tokens,
            control_tokens=inside.control_tokens,
            decoded_tokens=inside.decoded_tokens,
            retries=inside.retries,
        )

    async def close(self) -> None:
        """Close the replicas' engines, end the actors, and Ray if it was started here."""
        if not self._closed:
            self._closed = True  # on the caller's loop, so that no call can be sent while the pool ends
            await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._pool.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _send(self, work: Callable[[], None]) -> None:
        """To the pool's loop; one wake-up for all that is sent in one turn."""
        self._inbox.append(work)
        if not self._awake and not self._closed:
            self._awake = True
            self._loop.call_soon_threadsafe(self._read)

    def _read(self) -> None:
        self._awake = False
        while self._inbox:
            self._inbox.popleft()()

    def _resize(self, capacity: int) -> None:
        """Runs on the pool's loop; `resized` is called on the caller's."""
        self.capacity = max(capacity, 1)
        if self._caller is not None:
            with suppress(RuntimeError):  # its loop is closed: there is no caller any more
                self._caller.call_soon_threadsafe(self.resized)
