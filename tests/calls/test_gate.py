"""The gate's one rule: the most needed call first; early work only on idle slots."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from veridistill.calls.gate import Gate, Need, Rate


class Job:
    """A call that holds its slot until it is let go, and says when it was admitted."""

    def __init__(
        self, gate: Gate, name: str, log: list[str], need: Need | None = None, rank: int = 0
    ) -> None:
        self.release = asyncio.Event()
        self.task = asyncio.create_task(self._run(gate, name, log, need or Need(), rank))

    async def _run(self, gate: Gate, name: str, log: list[str], need: Need, rank: int) -> None:
        async with gate.slot(need, rank):
            log.append(name)
            await self.release.wait()


class Work:
    """Something on offer."""

    def __init__(self, name: str, chance: float, log: list[str]) -> None:
        self.name, self._chance, self.log = name, chance, log

    def chance(self) -> float:
        return self._chance

    def start(self) -> None:
        self.log.append(self.name)


async def turns(num: int = 10) -> None:
    for _ in range(num):
        await asyncio.sleep(0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    asyncio.run(main())


def test_needed_calls_of_older_units_go_first_and_likely_ones_before_unlikely() -> None:
    async def scenario() -> None:
        gate, log = Gate(1), list[str]()
        first = Job(gate, "first", log)
        await turns()
        root = Need()
        jobs = [
            Job(gate, "unlikely", log, root.under(lambda: 0.2)),
            Job(gate, "young", log, rank=7),
            Job(gate, "likely", log, root.under(lambda: 0.9)),
            Job(gate, "old", log, rank=3),
        ]
        await turns()
        assert log == ["first"], "one slot, one call"
        for job in (first, *jobs):
            job.release.set()
        await asyncio.gather(first.task, *(job.task for job in jobs))
        assert log == ["first", "old", "young", "likely", "unlikely"]

    run(scenario)


def test_a_chance_is_read_when_a_slot_is_free_not_when_the_call_was_made() -> None:
    async def scenario() -> None:
        gate, log, chances = Gate(1), list[str](), {"a": 0.1, "b": 0.5}
        first = Job(gate, "first", log)
        await turns()
        root = Need()
        jobs = [Job(gate, name, log, root.under(lambda name=name: chances[name])) for name in chances]  # type: ignore[misc]
        await turns()
        chances["a"] = 1.0
        for job in (first, *jobs):
            job.release.set()
        await asyncio.gather(*(job.task for job in jobs))
        assert log == ["first", "a", "b"]

    run(scenario)


def test_chances_multiply_up_the_tree() -> None:
    need = Need().under(lambda: 0.5).under(None).under(lambda: 0.4)
    assert need.chance() == pytest.approx(0.2)


def test_a_call_that_is_cancelled_while_it_waits_leaves_the_slot_to_others() -> None:
    async def scenario() -> None:
        gate, log = Gate(1), list[str]()
        first, second, third = Job(gate, "first", log), Job(gate, "second", log), Job(gate, "third", log)
        await turns()
        second.task.cancel()
        first.release.set()
        third.release.set()
        await asyncio.wait([first.task, second.task, third.task])
        assert log == ["first", "third"]
        assert gate.running == 0

    run(scenario)


def test_a_call_that_is_cancelled_as_it_is_admitted_gives_its_slot_back() -> None:
    async def scenario() -> None:
        gate, log = Gate(1), list[str]()
        first, second = Job(gate, "first", log), Job(gate, "second", log)
        await turns()
        first.release.set()
        await asyncio.sleep(0)  # the slot is handed over in this turn
        second.task.cancel()
        await asyncio.wait([first.task, second.task])
        assert gate.running == 0

    run(scenario)


def test_early_work_leaves_a_slot_for_every_open_unit_and_the_likeliest_starts() -> None:
    async def scenario() -> None:
        gate, log = Gate(3), list[str]()
        for _ in range(2):
            gate.open_unit()
        for name, chance in (("never", 0.0), ("seldom", 0.1), ("often", 0.8)):
            work = Work(name, chance, log)
            start = work.start

            def started(work: Work = work, start: Callable[[], None] = start) -> None:
                start()
                gate.early(1)
                gate.withdraw(work)

            work.start = started  # type: ignore[method-assign]
            gate.offer(Need(), work)
        await turns()
        assert log == ["often"], "three slots, two open questions: one to spare"
        gate.close_unit()
        await turns()
        assert log == ["often", "seldom"], "what cannot be needed is never started"

    run(scenario)


def test_without_speculation_nothing_starts_early() -> None:
    async def scenario() -> None:
        gate, log = Gate(8, speculation="off"), list[str]()
        gate.open_unit()
        gate.offer(Need(), Work("early", 0.9, log))
        await turns()
        assert log == []
        assert not gate.idle

    run(scenario)


def test_drain_admits_nothing_and_calls_back_when_the_engine_is_empty() -> None:
    async def scenario() -> None:
        gate, log, drained = Gate(1), list[str](), asyncio.Event()
        first, second = Job(gate, "first", log), Job(gate, "second", log)
        await turns()
        gate.drain(drained.set)
        await turns()
        assert not drained.is_set()
        first.release.set()
        await asyncio.wait_for(drained.wait(), 5)
        assert log == ["first"]
        second.task.cancel()
        await asyncio.wait([second.task])

    run(scenario)


def test_a_drained_gate_calls_back_once() -> None:
    """What it ends closes engines and journal: a second call would break that off."""

    async def scenario() -> None:
        gate, calls = Gate(1), list[int]()
        job = Job(gate, "only", [])
        await turns()
        gate.drain(lambda: calls.append(1))
        job.release.set()
        await turns()
        for width in (2, 3):
            gate.resize(width)
            await turns()
        assert calls == [1]

    run(scenario)


def test_rates_follow_laplace() -> None:
    rate = Rate()
    assert (rate.passing, rate.cost) == (0.5, 1.0)
    rate.asked, rate.passed, rate.tokens = 8, 6, 400
    assert rate.passing == pytest.approx(0.7)
    assert rate.rejections_per_token == pytest.approx(0.3 / 50)


def test_the_width_follows_an_engine_whose_capacity_changes() -> None:
    async def scenario() -> None:
        gate, log = Gate(1), list[str]()
        jobs = [Job(gate, str(i), log, rank=i) for i in range(4)]
        await turns()
        assert log == ["0"]
        gate.resize(3)
        await turns()
        assert log == ["0", "1", "2"]
        gate.resize(2)
        jobs[0].release.set()
        await turns()
        assert (log, gate.running) == (["0", "1", "2"], 2)
        jobs[1].release.set()
        await turns()
        assert log == ["0", "1", "2", "3"]
        for job in jobs:
            job.release.set()
        await asyncio.gather(*(job.task for job in jobs))

    run(scenario)
