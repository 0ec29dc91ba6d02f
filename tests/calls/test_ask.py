"""The one path to a model: identities, refusals, budgets, surrogates, and results in order with bounded memory."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.harness import distil_all, make_plan, make_seeds
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Journal, Reader
from veridistill.calls.unit import UnitAsk
from veridistill.config import BuildSection
from veridistill.engines.base import Engine, EngineStats
from veridistill.engines.common import Rendered
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.errors import BudgetReached, EngineDown, RequestRefused
from veridistill.records import Completion, Message, Messages, Sampling

SAMPLING = Sampling(0.8, 0.95, 0, 64)
PROMPT = (Message("user", "What is 2 plus 2?"),)


def asked(path: Path, engine: Engine, work: Any, **options: Any) -> Any:
    async def main() -> Any:
        journal = Journal(path / "j")
        try:
            asker = Asker(engine, journal, Gate(engine.capacity), BuildSection(), run_seed=0, **options)
            async with asker.unit("u") as ask:
                return await work(ask)
        finally:
            await journal.close()

    return asyncio.run(main())


def test_equal_prompts_at_different_places_are_different_calls(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda messages, sampling, seed: str(seed))

    async def work(ask: UnitAsk) -> list[Completion]:
        return [
            await ask("correctness", ("u", 0, "correctness", vote, 0), PROMPT, SAMPLING) for vote in range(3)
        ]

    texts = {reply.text for reply in asked(tmp_path, engine, work)}
    assert len(texts) == 3


def test_the_same_call_is_asked_once_even_when_it_is_wanted_twice_at_once(tmp_path: Path) -> None:
    engine = ScriptedEngine(shuffle=1, clock="virtual")

    async def work(ask: UnitAsk) -> list[Completion]:
        return list(await asyncio.gather(*(ask("solve", ("u", 0), PROMPT, SAMPLING) for _ in range(5))))

    replies = asked(tmp_path, engine, work)
    assert engine.stats().calls == 1
    assert len(set(replies)) == 1


def test_a_refusal_is_journalled_and_refused_again_without_a_call(tmp_path: Path) -> None:
    def refuse(messages: Messages, sampling: Sampling, seed: int) -> str:
        raise RequestRefused("too long")

    async def work(ask: UnitAsk) -> None:
        with pytest.raises(RequestRefused, match="too long"):
            await ask("solve", ("u", 0), PROMPT, SAMPLING)

    asked(tmp_path, ScriptedEngine(refuse), work)
    asked(tmp_path, ScriptedEngine(lambda *_: pytest.fail("asked again")), work)


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda *_: "bad \ud800 good \U0001f600")

    async def work(ask: UnitAsk) -> Completion:
        return await ask("solve", ("u", 0), PROMPT, SAMPLING)

    assert asked(tmp_path, engine, work).text == "bad \ufffd good \U0001f600"


def test_token_ids_are_journalled_for_candidates_alone_and_not_held(tmp_path: Path) -> None:
    roles = ("solve", "factuality")

    async def work(ask: UnitAsk) -> list[Completion]:
        return [await ask(role, ("u", 0, role, 0, 0), PROMPT, SAMPLING) for role in roles]

    replies = asked(tmp_path, ScriptedEngine(Script()), work)
    assert [(reply.token_ids, reply.prompt_token_ids) for reply in replies] == [(None, None)] * 2
    with closing(Reader([tmp_path / "j"])) as reader:
        solve, judge = [next(iter(reader.with_ids("u", role).values())).completion for role in roles]
    assert len(solve.token_ids or ()) == solve.completion_tokens
    assert len(solve.prompt_token_ids or ()) == solve.prompt_tokens
    assert judge.token_ids is judge.prompt_token_ids is None


def test_answers_are_read_again_with_their_ids_and_nothing_is_asked(tmp_path: Path) -> None:
    def reply(messages: Messages, sampling: Sampling, seed: int) -> Completion | str:
        if sampling.max_tokens == 1:
            raise RequestRefused("too long")
        return Script().reply(messages, sampling, seed)

    engine, short = ScriptedEngine(reply), Sampling(0.8, 0.95, 0, 1)

    async def work(ask: UnitAsk) -> tuple[Completion, Completion]:
        first = await ask("solve", ("u", 0), PROMPT, SAMPLING)
        with pytest.raises(RequestRefused):
            await ask("solve", ("u", 1), PROMPT, short)
        again = await ask._asker.answered("u", "solve")
        with pytest.raises(RequestRefused, match="too long"):
            await again("solve", ("u", 1), PROMPT, short)
        return first, await again("solve", ("u", 0), PROMPT, SAMPLING)

    first, again = asked(tmp_path, engine, work)
    assert replace(again, token_ids=None, prompt_token_ids=None) == first
    assert len(again.token_ids or ()) == again.completion_tokens
    assert engine.stats().calls == 2  # the refused one too


def test_hits_are_replies_that_were_in_the_journal_each_counted_once(tmp_path: Path) -> None:
    """Votes that share an inference re-use a reply of this process: that is no hit."""
    plan, seeds = make_plan(4, 3, infer_per_vote=False), make_seeds(10)
    build = BuildSection(order="paper", speculation="off", audit_share=0)
    first, all_of_them = (
        asyncio.run(distil_all(ScriptedEngine(Script()), tmp_path / "j", plan, some, build=build))[1].meter
        for some in (seeds[:4], seeds)
    )
    assert first.hits == 0
    assert all_of_them.hits == sum(first.calls.values())
    assert first.calls["infer"] < first.calls["compare"]


def test_a_budget_of_tokens_stops_the_run_resumably(tmp_path: Path) -> None:
    plan, seeds = make_plan(), make_seeds(20)
    with pytest.raises(BudgetReached, match=r"limits\.tokens of 500"):
        asyncio.run(distil_all(ScriptedEngine(Script()), tmp_path / "j", plan, seeds, max_tokens=500))
    found, asker = asyncio.run(distil_all(ScriptedEngine(Script()), tmp_path / "j", plan, seeds))
    assert len(found) == 20
    assert asker.meter.hits > 0


class Wasteful(ScriptedEngine):
    """Says that it generated tokens for calls that were cancelled."""

    wasted = 0

    def stats(self) -> EngineStats:
        return replace(super().stats(), cancelled_tokens=self.wasted)


@pytest.mark.parametrize("who", ["engine", "judge"])
def test_cancelled_work_counts_in_the_budget(tmp_path: Path, who: str) -> None:
    engines = {"engine": Wasteful(Script()), "judge": Wasteful(Script())}
    engines[who].wasted = 10_000  # before this run

    async def work(ask: UnitAsk) -> int:
        await ask("solve", ("u", 0), PROMPT, SAMPLING)
        engines[who].wasted += 400
        await ask("solve", ("u", 1), PROMPT, SAMPLING)
        engines[who].wasted += 200
        with pytest.raises(BudgetReached, match=r"limits\.tokens of 500"):
            await ask("solve", ("u", 2), PROMPT, SAMPLING)
        return ask._asker.new_tokens - ask._asker.meter.new_tokens

    assert asked(tmp_path, engines["engine"], work, judge=engines["judge"], max_tokens=500) == 600


def test_cancelled_work_counts_once_where_the_judge_is_the_engine(tmp_path: Path) -> None:
    engine = Wasteful(Script())
    judge = Rendered(engine, "other", engine.reasons, engine.generate)

    async def work(ask: UnitAsk) -> int:
        await ask("solve", ("u", 0), PROMPT, SAMPLING)
        engine.wasted += 400
        return ask._asker.new_tokens - ask._asker.meter.new_tokens

    assert asked(tmp_path, engine, work, judge=judge) == engine.stats().cancelled_tokens == 400


def test_an_engine_that_dies_ends_everything_with_its_own_error(tmp_path: Path) -> None:
    calls = 0

    def die(messages: Messages, sampling: Sampling, seed: int) -> Completion | str:
        nonlocal calls
        calls += 1
        if calls > 30:
            raise EngineDown("the server went away")
        return Script().reply(messages, sampling, seed)

    for speculation in ("idle", "off"):
        build = BuildSection(speculation=speculation)
        with pytest.raises(EngineDown, match="went away"):
            asyncio.run(
                distil_all(
                    ScriptedEngine(die), tmp_path / speculation, make_plan(8, 5), make_seeds(50), build=build
                )
            )


def test_items_are_taken_as_they_are_needed_and_results_come_in_their_order(tmp_path: Path) -> None:
    taken, most = 0, 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield number

    async def main() -> list[int]:
        nonlocal most
        engine = ScriptedEngine(Script(), shuffle=3, clock="virtual")
        journal = Journal(tmp_path / "j")
        asker = Asker(engine, journal, Gate(8), BuildSection(), run_seed=0, window=10)

        async def work(number: int, ask: UnitAsk) -> int:
            await ask("solve", (str(number), 0), PROMPT, SAMPLING)
            return number

        results = []
        async for number in asker.map_units(items(), str, work):
            results.append(number)
            most = max(most, taken - len(results))
        await journal.close()
        return results

    assert asyncio.run(main()) == list(range(500))
    assert most <= 8 * 10 + 1


def test_a_judge_apart_is_asked_for_verdicts_alone_and_under_its_own_name(tmp_path: Path) -> None:
    engine, judge = ScriptedEngine(Script(name="solver")), ScriptedEngine(Script(name="judge"))
    roles = ("solve", "exam", "infer", "compare", "factuality", "correctness", "simple")

    async def work(ask: UnitAsk) -> None:
        for number, role in enumerate(roles):
            await ask(role, ("u", number), PROMPT, SAMPLING)

    asked(tmp_path, engine, work, judge=judge)
    assert (engine.stats().calls, judge.stats().calls) == (2, 5)
    with closing(Reader([tmp_path / "j"])) as reader:
        models = {entry.role: entry.model for entry in reader.replies("u").values()}
    assert models == {role: "solver" if role in ("solve", "exam") else "judge" for role in roles}


@pytest.mark.parametrize(("width", "expected"), [("engine", 7), ("fixed", 256)])
def test_the_gate_follows_the_engines_if_its_width_is_theirs(
    tmp_path: Path, width: str, expected: int
) -> None:
    engine = ScriptedEngine(Script())
    widths = []

    async def work(ask: UnitAsk) -> None:
        engine.capacity = 7
        await ask("solve", ("u", 0), PROMPT, SAMPLING)
        widths.append(ask._asker.gate.width)

    asked(tmp_path, engine, work, width=width)
    assert widths == [expected]
