"""Replies that a context length ended: what is stored of it, and when they are asked for again."""

import asyncio
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import distil_all, kept, make_plan, make_seeds
from veridistill.calls.ask import Asker
from veridistill.calls.gate import Gate
from veridistill.calls.journal import Entry, Journal, Reader
from veridistill.config import BuildSection, EngineSection, ModelSection
from veridistill.engines import ModelEngine, open_engine
from veridistill.engines.scripted import Script, ScriptedEngine
from veridistill.errors import ConfigError, RequestRefused
from veridistill.records import Completion, Message, Sampling

SHORT, LONG, FULL = ((Message("user", "word " * num),) for num in (3, 30, 300))
SAMPLING = Sampling(0.8, 0.95, 0, 64)


def script(context: int | None) -> ScriptedEngine:
    return ScriptedEngine(Script(tokens=50, sigma=0), context_length=context)


def asked(
    engine: ModelEngine, journal: Path, sampling: Sampling = SAMPLING
) -> list[Completion | RequestRefused]:
    """A short, a long and a very long prompt, replayed from the journal where it knows the replies."""

    async def main() -> list[Any]:
        store = Journal(journal)
        asker = Asker(engine, store, Gate(4), BuildSection(), run_seed=0)
        async with asker.unit("u") as ask:
            calls = (ask("solve", ("u", i), prompt, sampling) for i, prompt in enumerate((SHORT, LONG, FULL)))
            replies = await asyncio.gather(*calls, return_exceptions=True)
        await store.close()
        await engine.close()
        return replies

    return asyncio.run(main())


def test_what_a_context_cut_or_refused_is_asked_again_where_there_is_more_room(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    whole, cut, refused = asked(script(60), journal)
    assert isinstance(whole, Completion)
    assert isinstance(cut, Completion)
    assert (whole.context, whole.completion_tokens) == (None, 50)
    assert (cut.context, cut.completion_tokens, cut.finish_reason) == (60, 30, "length")
    assert isinstance(refused, RequestRefused)

    for same in (
        script(60),
        script(20),
        script(None),
    ):  # of unknown length: nothing says that there is more room
        again = asked(same, journal)
        assert same.stats().calls == 0
        assert again[:2] == [whole, cut]
        assert str(again[2]) == str(refused)

    more = script(70)
    longer = asked(more, journal)
    assert more.stats().calls == 2, "the reply that was cut, and the refused one"
    assert isinstance(longer[1], Completion)
    assert (longer[1].context, longer[1].completion_tokens) == (70, 40)

    ample = script(1000)
    complete = asked(ample, journal)
    assert ample.stats().calls == 2
    assert complete[0] == whole
    assert all(isinstance(reply, Completion) and reply.context is None for reply in complete)

    late = script(60)
    assert asked(late, journal) == complete, "a whole reply stays"
    assert late.stats().calls == 0


def test_max_tokens_is_no_limit_of_the_context(tmp_path: Path) -> None:
    few = Sampling(0.8, 0.95, 0, 20)
    first, second = script(60), script(1000)
    replies = asked(first, tmp_path / "j", few)
    assert [r.context for r in replies[:2] if isinstance(r, Completion)] == [None, None]
    asked(second, tmp_path / "j", few)
    assert second.stats().calls == 1, "the refused one"


def test_a_build_under_a_short_context_ends_as_one_under_a_long_context(tmp_path: Path) -> None:
    """`engine.max_model_len` is runtime: where the run ends does not depend on where it began."""
    rates = Script(tokens=40, sigma=1.0)
    plan, seeds = make_plan(n=4), make_seeds(30)

    def build(context: int, journal: str) -> Any:
        engine = ScriptedEngine(rates, context_length=context)
        return asyncio.run(distil_all(engine, tmp_path / journal, plan, seeds))[0]

    short, long = build(70, "one"), build(4096, "other")
    assert kept(short) != kept(long)
    assert kept(build(4096, "one")) == kept(long)


def local(directory: Path, context: int | None) -> ModelEngine:
    section = EngineSection(kind="local", device="cpu", threads=1, batch_size=4, max_model_len=context)
    return open_engine(section, ModelSection(path=str(directory)))


def test_the_local_engine_has_its_own_model_or_less_room(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("torch")
    greedy = Sampling(0.0, 1.0, 0, 64)
    engine = local(tiny_model, None)
    assert engine.context_length == 1024
    whole = asked(engine, tmp_path / "whole", greedy)

    engine = local(tiny_model, 60)
    cut = [reply for reply in asked(engine, tmp_path / "j", greedy) if isinstance(reply, Completion)]
    assert any(reply.context == 60 and reply.prompt_tokens + reply.completion_tokens == 60 for reply in cut)
    engine = local(tiny_model, None)
    assert asked(engine, tmp_path / "j", greedy)[:2] == whole[:2]
    assert 0 < engine.stats().calls < 4

    with pytest.raises(ConfigError, match=r"engine\.max_model_len: 4096 is more than the context of 1024"):
        local(tiny_model, 4096)


# The journal.


def entry(number: int, context: int | None) -> Entry:
    reply = Completion(f"cut by {context}", "length", 3, 4, context=context)
    return Entry("u", "m", number.to_bytes(16, "big"), "ok", "solve", ("u", number), reply)


@pytest.fixture
def journal(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, *entries: Entry) -> Path:
        async def main() -> None:
            journal = Journal(tmp_path / name)
            for one in entries:
                await journal.append(one)
            await journal.close()

        asyncio.run(main())
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("own", "older", "expected"),
    [
        ([None], [None], None),
        ([60], [], 60),
        ([60, 90], [], 90),
        ([90, 60], [], 90),
        ([60, None], [], None),
        ([0, 60], [], 60),
        ([60], [None], None),
        ([60], [30], 60),
        ([None], [60], None),
    ],
)
def test_the_reply_with_the_most_room_is_served(
    journal: Callable[..., Path], own: list[int | None], older: list[int | None], expected: int | None
) -> None:
    paths = [journal(name, *(entry(1, c) for c in contexts)) for name, contexts in (("a", own), ("b", older))]
    reader = Reader(paths)
    assert reader.replies("u") == {entry(1, expected).key: entry(1, expected)}
    reader.close()


def test_a_journal_of_another_version_is_refused_wherever_it_is_read(
    journal: Callable[..., Path], tmp_path: Path
) -> None:
    path = journal("j", entry(1, None))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()
    for read in (lambda: Journal(path), lambda: Reader([path])):
        with pytest.raises(ConfigError, match=r"j: journal of version 1, this program uses 2"):
            read()
    (tmp_path / "garbage").write_bytes(b"no journal at all" * 100)
    with pytest.raises(ConfigError, match="garbage: cannot be read as a journal"):
        Reader([tmp_path / "garbage"])


def test_a_refusal_keeps_its_context_between_processes() -> None:
    again = pickle.loads(pickle.dumps(RequestRefused.too_long("too long", 60)))
    assert (str(again), again.context) == ("too long", 60)
    assert RequestRefused.too_long("too long", None).context == 0
    assert RequestRefused("a marker").context is None
