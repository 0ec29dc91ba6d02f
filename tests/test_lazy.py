"""The combinators: what settles an outcome cuts what still runs, and what speculates on nothing costs no task."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.harness import make_plan, make_seeds
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Entry, Journal
from veridistill.config import BuildSection
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.errors import EngineDown
from veridistill.lazy import Ask, Branch, every, first
from veridistill.method import Distilled, distil
from veridistill.records import Completion, Message, Messages, Sampling, Seed, Vote

SAMPLING = Sampling(0.8, 0.95, 0, 10**6)


def timed(messages: Messages, sampling: Sampling, seed: int) -> Completion:
    """Takes as many simulated seconds as the prompt says; "dies" takes the engine down."""
    word, _, seconds = messages[-1].content.partition(" ")
    if word == "dies":
        raise EngineDown("the server went away")
    return Completion(word, "stop", 1, int(seconds))


def branch(name: str) -> Branch[Vote]:
    """One call; the branch is named by its verdict and its seconds: "yes 10"."""

    async def run(ask: Ask) -> Vote:
        reply = await ask("correctness", ("u", name), (Message("user", name),), SAMPLING)
        return Vote(name, 0, "yes" if reply.text == "yes" else "no")

    return Branch(name, ("u", name), run)


class Store(Journal):
    """Counts the threads at work for it: simulated time must wait for them."""

    pending = 0

    async def append(self, entry: Entry) -> None:
        self.pending += 1
        try:
            await super().append(entry)
        finally:
            self.pending -= 1

    async def replies(self, unit: str) -> dict[bytes, Entry]:
        self.pending += 1
        try:
            return await super().replies(unit)
        finally:
            self.pending -= 1


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "j")


def clocked(store: Store) -> ScriptedEngine:
    busy = partial(getattr, store, "pending")
    return ScriptedEngine(timed, seconds_per_token=1.0, slots=2, clock="virtual", busy=busy)


async def searched(
    store: Store, engine: ScriptedEngine, work: Callable[[Ask], Awaitable[list[Vote]]]
) -> list[str]:
    """What a search finds that begins in place: the second of two slots falls idle after 5 seconds."""
    asker = Asker(engine, store, Gate(2), BuildSection(order="paper"), run_seed=0)

    async def other() -> None:
        async with asker.unit("other") as ask:
            await ask("correctness", ("other",), (Message("user", "yes 5"),), SAMPLING)

    async def ours() -> list[Vote]:
        async with asker.unit("u") as ask:
            return await work(ask)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(other())
            task = group.create_task(ours())
        return [vote.stage for vote in task.result()]
    finally:
        await store.close()


async def nested(ask: Ask) -> list[Vote]:
    """`every` under a candidate of `first`, all in one task."""

    async def candidate(inner: Ask) -> Vote:
        return (await every([branch("yes 1000"), branch("no 10")], inner))[-1]

    return await first([Branch("candidate", ("u", 0), candidate)], ask)


def plain(*names: str) -> Callable[[Ask], Awaitable[list[Vote]]]:
    return lambda ask: every([branch(name) for name in names], ask)


@pytest.mark.parametrize("work", [plain("yes 1000", "no 10"), nested], ids=["alone", "nested"])
def test_an_early_failure_cuts_the_branch_that_runs_in_place(
    store: Store, work: Callable[[Ask], Awaitable[list[Vote]]]
) -> None:
    engine = clocked(store)
    assert asyncio.run(searched(store, engine, work)) == ["no 10"]
    assert engine.stats().cancelled_calls == 1
    assert engine.now == 15


def test_an_early_pass_of_every_waits_for_the_branch_in_turn(store: Store) -> None:
    engine = clocked(store)
    found = asyncio.run(searched(store, engine, plain("yes 100", "yes 10")))
    assert (found, engine.stats().cancelled_calls) == (["yes 100", "yes 10"], 0)


def test_an_early_pass_of_first_waits_for_the_branch_before_it(store: Store) -> None:
    engine = clocked(store)

    def work(ask: Ask) -> Awaitable[list[Vote]]:
        return first([branch("no 100"), branch("yes 10"), branch("yes 2000")], ask)

    assert asyncio.run(searched(store, engine, work)) == ["no 100", "yes 10"]
    assert engine.now == 100, "the third was never needed"


def test_an_error_of_an_early_branch_ends_the_one_in_place_at_once(store: Store) -> None:
    engine = clocked(store)
    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(searched(store, engine, plain("yes 1000", "dies 10")))
    assert isinstance(raised.value.exceptions[0], EngineDown)
    assert engine.now < 1000


def test_a_cancelled_search_is_cancelled_even_as_a_branch_is_cut(store: Store) -> None:
    """Both in one turn of the event loop: the cut must not swallow a cancellation that is not its own."""

    async def main() -> None:
        search = asyncio.current_task()

        async def fails(ask: Ask) -> Vote:
            await ask("correctness", ("u", "no"), (Message("user", "no 10"),), SAMPLING)
            assert search is not None
            asyncio.get_running_loop().call_soon(search.cancel)
            return Vote("no", 0, "no")

        async def work(ask: Ask) -> list[Vote]:
            nonlocal search
            search = asyncio.current_task()
            return await every([branch("yes 1000"), Branch("no", ("u", "no"), fails)], ask)

        await searched(store, clocked(store), work)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_without_speculation_a_question_is_one_task(tmp_path: Path) -> None:
    """Laziness costs no task per branch, from the journal or from the engine."""
    names = list[str]()

    def counted(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> Any:
        names.append(str(work))
        return asyncio.Task(work, loop=loop, **options)

    async def main() -> int:
        asyncio.get_running_loop().set_task_factory(counted)
        journal = Journal(tmp_path / "j")
        build = BuildSection(audit_share=0)
        asker = Asker(ScriptedEngine(Script()), journal, Gate(8, "off"), build, run_seed=0)

        async def work(seed: Seed, ask: Ask) -> Distilled:
            return await distil(seed, ask, make_plan(8, 5))

        async with aclosing(asker.map_units(make_seeds(30), lambda seed: seed.seed_id, work)) as stream:
            assert len([found async for found in stream]) == 30
        await journal.close()
        return len(names)

    assert asyncio.run(main()) == 30
