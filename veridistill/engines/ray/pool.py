"""The replicas behind the ray engine: their lives, and what becomes of the calls that they hold.

`Pool` owns all of that state on one event loop. Each replica is supervised: created, loaded, asked, and created again
when it dies; what it held is asked again of others. `routing` chooses a replica for a call, `replica` is what runs in
an actor, and `cluster` places it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple
from typing import Any

from veridistill.config import EngineSection, ModelSection
from veridistill.engines.base import EngineStats, Rendering
from veridistill.engines.ray import cluster
from veridistill.engines.ray.replica import Asked, Described, Report
from veridistill.engines.ray.routing import Call, Held, deliver, route
from veridistill.errors import ConfigError, EngineDown, VeridistillError

_LIVES = 3  # a replica that dies so often without one reply in between is given up
_DEATHS = 5  # a request that was there when so many replicas died is not tried again
_BACK_OFF = 1.0  # seconds before a replica's second life; doubled for each one after
_PLACING = 30.0  # seconds in which the first replica must have found room on the cluster
_CLOSING = 30.0  # seconds for the replicas' engines to close in good order

_log = logging.getLogger(__name__)


class Pool:
    """All replicas and all calls. Every method but `stats` runs on the pool's own loop."""

    def __init__(self, section: EngineSection, model: ModelSection, resize: Callable[[int], None]) -> None:
        self._section = section
        self._model = model
        self._resize = resize
        self._replicas = [Held(number) for number in range(section.replicas)]
        self._supervisors: list[asyncio.Task[None]] = []
        self._first: Described | None = None
        self._opening = asyncio.Event()  # ready, or over
        self._placed = asyncio.Event()  # a replica has found room, or all is over
        self._ended: Exception | None = None
        self._waiting: deque[Call] = deque()
        self._flush_due = False
        self._messages: set[asyncio.Task[None]] = set()
        self._past = EngineStats()
        self._demand: dict[str, float] = {}
        self._ours = False

    async def open(self) -> Described:
        """Start the replicas; returns when the first is ready."""
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self._bug(context))
        self._ours = cluster.connect(self._section.address)
        self._demand = cluster.demand(self._section)
        cluster.check_room(self._demand)
        self._supervisors = [asyncio.create_task(self._supervise(replica)) for replica in self._replicas]
        for task in self._supervisors:
            task.add_done_callback(self._supervised)
        try:
            await asyncio.wait_for(self._placed.wait(), _PLACING)
        except TimeoutError:
            raise cluster.no_room(self._demand, f"did not get resources within {_PLACING:.0f} s") from None
        await self._opening.wait()
        if self._first is None:
            assert self._ended is not None
            raise self._ended
        return self._first

    async def describe(self, rendering: Rendering) -> Described:
        """What a replica reports about its weights under another rendering. Raises `EngineDown` when none can."""
        from ray.exceptions import RayError

        last = "none is ready"
        for replica in list(self._replicas):
            if replica.handle is not None:
                try:
                    described: Described = await replica.handle.describe.remote(rendering)
                except RayError as error:
                    last = cluster.line_of(error)
                else:
                    return described
        raise EngineDown(f"no replica of engine.kind=ray can render the judge's prompts: {last}")

    # A replica's life.

    async def _supervise(self, replica: Held) -> None:
        """Restart a replica each time it dies, until it is given up."""
        from ray.exceptions import RayError

        last = ""
        while replica.failures < _LIVES:
            if replica.failures:
                await asyncio.sleep(_BACK_OFF * 2 ** (replica.failures - 1))
            try:
                await self._live(replica)
            except (RayError, EngineDown) as death:
                last = cluster.line_of(death)
            replica.failures += 1
            _log.warning("replica %d of %d died: %s", replica.number + 1, len(self._replicas), last)
        self._replicas.remove(replica)
        if not self._replicas:
            self._end(EngineDown(f"every replica of engine.kind=ray is gone; the last one: {last}"))

    async def _live(self, replica: Held) -> None:
        """One life: created, loaded, asked until it dies, which raises `RayError` or `EngineDown`."""
        import ray

        actor = cluster.actor(self._demand).remote(self._section, self._model)
        try:
            await actor.place.remote()
            self._placed.set()
            described = await actor.load.remote()
            if isinstance(described, VeridistillError):
                # One bad node among good ones costs its replica alone.
                raise described if self._first is None else EngineDown(str(described))
            self._check_same(replica, described)
            replica.handle, replica.capacity, replica.place = actor, described.capacity, described.place
            self._joined(described)
            while not replica.lost:
                self._settle(replica, await actor.take.remote())
            raise EngineDown(f"a message to it was lost ({replica.lost})")
        finally:
            self._left(replica)
            ray.kill(actor)

    def _check_same(self, replica: Held, described: Described) -> None:
        first = self._first
        if first is not None and described.identity != first.identity:
            raise ConfigError(
                f"the replica on {described.place} holds another model than the one on {first.place}"
                f" ({described.identity} against {first.identity}); put the same files at model.path on every node"
            )

    def _joined(self, described: Described) -> None:
        self._first = self._first or described
        self._opening.set()
        self._count_capacity()
        self._dispatch_waiting()

    def _left(self, replica: Held) -> None:
        """Take everything from a dead replica and ask it of the others."""
        replica.handle, replica.capacity = None, 0
        replica.requests, replica.cancelled, replica.lost = [], [], ""
        replica.under_way, replica.hasty = set(), set()
        self._past = _sum(self._past, replica.stats, EngineStats(retries=len(replica.held)))
        replica.stats = EngineStats()
        self._count_capacity()
        orphans = list(replica.held.values())
        replica.held.clear()
        for call in orphans:
            call.replica = None
            call.deaths += 1
            if call.deaths < _DEATHS:
                self.dispatch(call)
            else:
                deliver([(call, EngineDown(f"{_DEATHS} replicas died with the same call"))])

    def _settle(self, replica: Held, report: Report) -> None:
        """Deliver a report's outcomes. Raises the engine's `EngineDown`; those calls stay with the replica."""
        replica.stats = report.stats
        if replica.capacity != report.capacity:
            replica.capacity = report.capacity
            self._count_capacity()
        answered, down = [], None
        for number, outcome in report.outcomes:
            if isinstance(outcome, EngineDown):
                down = outcome
            elif call := replica.held.pop(number, None):
                answered.append((call, outcome))
        if answered:
            replica.failures = 0
            deliver(answered)
        if down is not None:
            raise down

    def _count_capacity(self) -> None:
        self._resize(sum(replica.capacity for replica in self._replicas))

    # Calls.

    def dispatch(self, call: Call) -> None:
        """Give a call to a replica, or keep it until one is ready."""
        if self._ended is not None:
            deliver([(call, self._ended)])
            return
        ready = [replica for replica in self._replicas if replica.handle is not None]
        if not ready:
            self._waiting.append(call)
            return
        replica = route(call.asked.messages, ready)
        call.replica = replica
        replica.held[call.asked.number] = call
        replica.requests.append(call.asked)
        self._flush_soon()

    def _dispatch_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            self.dispatch(call)

    def cancel(self, call: Call) -> None:
        """The caller of a call was cancelled."""
        replica, number = call.replica, call.asked.number
        if replica is None:
            if call in self._waiting:
                self._waiting.remove(call)
        elif replica.held.pop(number, None):
            if call.asked in replica.requests:
                replica.requests.remove(call.asked)
            elif number in replica.under_way:
                replica.hasty.add(number)
            else:
                replica.cancelled.append(number)
                self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """One message to each replica that there is something to tell."""
        self._flush_due = False
        for replica in self._replicas:
            if replica.handle is not None and (replica.requests or replica.cancelled):
                requests, cancelled = replica.requests, replica.cancelled
                replica.requests, replica.cancelled = [], []
                replica.under_way |= {request.number for request in requests}
                message = asyncio.create_task(self._put(replica, replica.handle, requests, cancelled))
                self._messages.add(message)  # the loop keeps no task alive
                message.add_done_callback(self._messages.discard)

    async def _put(self, replica: Held, handle: Any, requests: list[Asked], cancelled: list[int]) -> None:
        """Send a message and see that it arrives.

        Ray promises no order between messages to an actor, so a cancellation waits for the confirmation of its request.
        A message that is lost with its actor is repeated by `_left`; the callers of one that the actor cannot read
        fail.
        """
        from ray.exceptions import RayActorError

        numbers = {request.number for request in requests}
        try:
            await handle.put.remote(requests, cancelled)
        except RayActorError as lost:
            if replica.handle is handle:
                replica.lost = cluster.line_of(lost)
        except Exception as error:  # the engine boundary: what Ray, or pickling, raises
            said = f"{type(error).__name__}: {cluster.line_of(error)}"
            failed = EngineDown(f"a replica of engine.kind=ray cannot take a request ({said})")
            deliver([(call, failed) for n in numbers if (call := replica.held.pop(n, None)) is not None])
        else:
            if hasty := replica.hasty & numbers:
                replica.cancelled += sorted(hasty)
                self._flush_soon()
        finally:
            if replica.handle is handle:
                replica.under_way -= numbers
                replica.hasty -= numbers

    # The end.

    def _supervised(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bug({"exception": error})

    def _bug(self, context: dict[str, Any]) -> None:
        """End with an error that nothing else handles (another model, a bug), so that callers do not wait for ever."""
        error = context.get("exception")
        if self._first is not None and isinstance(error, ConfigError):
            error = EngineDown(str(error))
        self._end(error if isinstance(error, Exception) else RuntimeError(context["message"]))

    def _end(self, error: Exception) -> None:
        """Every call, now and later, fails with the error."""
        self._ended = self._ended or error
        calls = [*self._waiting, *(call for replica in self._replicas for call in replica.held.values())]
        self._waiting.clear()
        for replica in self._replicas:
            replica.held.clear()
        deliver([(call, self._ended) for call in calls])
        self._opening.set()
        self._placed.set()

    def stats(self) -> EngineStats:
        return _sum(self._past, *(replica.stats for replica in self._replicas))

    async def close(self) -> None:
        import ray

        self._end(EngineDown("the ray engine was closed"))
        closing = [asyncio.create_task(_closed(replica)) for replica in self._replicas]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSING)
        tasks = [*closing, *self._supervisors, *self._messages]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._ours:
            ray.shutdown()


async def _closed(replica: Held) -> None:
    from ray.exceptions import RayError

    if replica.handle is not None:
        with suppress(RayError):
            replica.stats = await replica.handle.close.remote()


def _sum(*parts: EngineStats) -> EngineStats:
    return EngineStats(*(sum(values) for values in zip(*map(astuple, parts), strict=True)))
