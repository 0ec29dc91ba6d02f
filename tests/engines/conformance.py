"""What every engine promises, as checks of a `Subject`: an engine, how to run it, and what else it promises.

A test module makes subjects and runs `CHECKS` on an engine with a model, `PLAIN` on one without, in their order: the
last one closes the engine. What a reply should be is asked of the model itself (`models.Model`), never of another
engine.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import pytest

from tests.engines.models import CONTEXT, Model
from veridistill.engines.base import ControlTokens, Engine, EngineStats, ModelEngine, Rendering
from veridistill.errors import EngineDown, RequestRefused
from veridistill.records import Completion, Message, Messages, Sampling, TokenIds

GREEDY = Sampling(0.0, 1.0, 0, 16)
WARM = Sampling(1.0, 1.0, 0, 200)
ENDLESS = Sampling(0.0, 1.0, 0, 20_000)
HOT = 2.0  # the highest temperature that every server takes

Call = tuple[Messages, Sampling, int]
Seeds = Literal["exact", "alone", "none"]


def ask(text: str) -> Messages:
    return (Message("user", text),)


QUESTIONS = [ask("what is asked " + "in the question " * (i % 5) + f"{i}?") for i in range(24)]
ODD_TEXTS = {
    "unicode": "naïve Ελληνικά 日本語 עברית \u2028 é ㎏ \ufeff",
    "emoji": "🧮👩‍👩‍👧‍👦🏳️‍🌈 \U0001f9e0",
    "NUL": "a\x00b \x01\x7f\t\r\n",
    "surrogate": "half \ud83d of a pair",
    "template": "{{ messages }} {% raw %} {answer} %s",
}


@dataclass(frozen=True)
class Subject:
    """An engine under test.

    `seeds`: the same seed gives the same reply whatever else is decoded ("exact"), when the call is alone ("alone"), or
    not at all. `ids`: replies carry token ids. `idle` says whether nothing is being worked on inside the engine, as
    seen from inside. `policy` lets it treat control tokens in another way for a while. `left` names what is still there
    after `close`.
    """

    engine: Engine
    run: Callable[[Awaitable[Any]], Any]
    idle: Callable[[], Awaitable[bool]]
    left: Callable[[], Sequence[str]]
    model: Model | None = None
    policy: Callable[[ControlTokens], AbstractContextManager[None]] | None = None
    seeds: Seeds = "exact"
    ids: bool = True

    def together(self, calls: Sequence[Call]) -> list[Completion]:
        return list(self.run(self._gather(calls)))

    async def _gather(self, calls: Sequence[Call]) -> list[Completion]:
        return await asyncio.gather(*(self.engine.generate(*call) for call in calls))

    def settled(self, calls: Sequence[Call]) -> list[Completion | BaseException]:
        """Replies and errors, in order."""

        async def main() -> list[Completion | BaseException]:
            return await asyncio.gather(
                *(self.engine.generate(*call) for call in calls), return_exceptions=True
            )

        return list(self.run(main()))

    @property
    def itself(self) -> Model:
        assert self.model is not None
        return self.model


Maker = Callable[[Callable[[Awaitable[Any]], Any]], Subject]


@contextlib.contextmanager
def one_at_a_time(makers: Mapping[str, Maker]) -> Iterator[Callable[[str], Subject]]:
    """Subjects by name on one event loop: made when first asked for, closed when another is."""
    made: dict[str, Subject] = {}
    with asyncio.Runner() as runner:

        def subject(name: str) -> Subject:
            if name not in made:
                close()
                made[name] = makers[name](runner.run)
            return made[name]

        def close() -> None:
            for other in made.values():
                runner.run(other.engine.close())

        yield subject
        close()


@contextlib.contextmanager
def policy_of(prompts: Any, policy: ControlTokens) -> Iterator[None]:
    """For an engine that renders by `chat.Prompts`."""
    before, prompts.guard.policy = prompts.guard.policy, policy
    prompts._cache.clear()
    yield
    prompts.guard.policy = before
    prompts._cache.clear()


def more(after: EngineStats, before: EngineStats) -> EngineStats:
    fields = EngineStats.__dataclass_fields__
    return EngineStats(**{name: getattr(after, name) - getattr(before, name) for name in fields})


def words(reply: Completion) -> object:
    """What was said, as exactly as the engine tells."""
    return reply.text if reply.token_ids is None else reply.token_ids


def check_a_reply_is_whole(subject: Subject) -> None:
    """Text with its reasoning, ids, prompt ids, finish reason and counts agree; it ends at the end-of-turn token."""
    calls = [(question, WARM, i) for i, question in enumerate(QUESTIONS)]
    replies = subject.together(calls)
    assert {reply.finish_reason for reply in replies} <= {"stop", "length"}
    assert sum(reply.finish_reason == "stop" for reply in replies) > 12
    assert any("<think>" in reply.text for reply in replies)
    assert any("</think>" in reply.text for reply in replies)
    for (messages, _, _), reply in zip(calls, replies, strict=True):
        prompt = subject.itself.prompts.ids(messages)
        assert reply.prompt_tokens == len(prompt)
        assert "<|im_end|>" not in reply.text
        assert 1 <= reply.completion_tokens <= WARM.max_tokens
        if subject.ids:
            assert reply.prompt_token_ids == prompt
            check_ids(subject.itself, reply)


def check_ids(model: Model, reply: Completion) -> None:
    ids = reply.token_ids
    assert isinstance(ids, TokenIds)
    assert len(ids) == reply.completion_tokens
    assert not set(ids[:-1]) & set(model.end_ids)
    assert (ids[-1] in model.end_ids) == (reply.finish_reason == "stop")
    assert reply.text == model.text(ids)


def check_it_stops_where_it_is_told(subject: Subject) -> None:
    limits = [1, 2, 7, 15]
    replies = subject.together([(QUESTIONS[0], Sampling(0.0, 1.0, 0, num), 0) for num in limits])
    said = subject.itself.greedy(QUESTIONS[0], limits[-1])
    assert len(said) == limits[-1]
    assert [reply.completion_tokens for reply in replies] == limits
    assert [reply.finish_reason for reply in replies] == ["length"] * 4
    assert [reply.text for reply in replies] == [subject.itself.text(said[:num]) for num in limits]


def check_temperature_0_is_the_models_own_argmax(subject: Subject) -> None:
    replies = subject.together([(question, GREEDY, i) for i, question in enumerate(QUESTIONS[:8])])
    said = [subject.itself.greedy(question, GREEDY.max_tokens) for question in QUESTIONS[:8]]
    assert [reply.text for reply in replies] == [subject.itself.text(ids) for ids in said]
    if subject.ids:
        assert [reply.token_ids for reply in replies] == said


def check_every_sampling_field_arrives(subject: Subject) -> None:
    """By the first token of 48 replies, against the tokens that the model's own distribution leaves."""
    question, most = QUESTIONS[3], 48

    def firsts(temperature: float, top_p: float, top_k: int) -> tuple[set[str], list[str]]:
        calls = [(question, Sampling(temperature, top_p, top_k, 1), 1000 + seed) for seed in range(most)]
        found = {reply.text for reply in subject.together(calls)}
        return found, subject.itself.first_tokens(question, temperature, top_p, top_k)

    for settings in ((0.01, 1.0, 0), (HOT, 1.0, 1), (HOT, 1e-6, 0)):
        found, own = firsts(*settings)
        assert found == set(own[:1]), settings
    found, own = firsts(HOT, 1.0, 3)
    assert found == set(own)
    found, own = firsts(HOT, 0.5, 0)
    assert found <= set(own)
    assert 5 < len(found) <= len(own) < 40
    assert len(firsts(HOT, 1.0, 0)[0]) > len(own) / 2 + 5


MARKS = ("[[Y]]", "[[N]]")


def check_a_restricted_reply_is_one_of_the_choices(subject: Subject) -> None:
    """It ends by itself, is drawn by the model's own odds where the choices part, and beside free replies."""
    restricted = replace(GREEDY, choices=MARKS)
    calls = [(question, sampling, 0) for question in QUESTIONS[:8] for sampling in (restricted, GREEDY)]
    replies = subject.together(calls)
    assert {(reply.text, reply.finish_reason) for reply in replies[::2]} <= {(mark, "stop") for mark in MARKS}
    assert not any(reply.text in MARKS for reply in replies[1::2])
    hot = Sampling(HOT, 1.0, 0, 24, MARKS)
    drawn = [reply.text for reply in subject.together([(QUESTIONS[0], hot, seed) for seed in range(200)])]
    assert set(drawn) == set(MARKS)  # the less likely one in 3 of 100 replies of this model
    (cut,) = subject.together([(QUESTIONS[0], replace(restricted, max_tokens=2), 0)])
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 2)
    if subject.ids:
        for question, reply in zip(QUESTIONS, replies[::2], strict=False):
            check_choice(subject.itself, question, reply)


def check_choice(own: Model, question: Messages, reply: Completion) -> None:
    yes, no = (own.prompts.tokenizer.encode(mark, add_special_tokens=False) for mark in MARKS)
    parts = next(i for i, (a, b) in enumerate(zip(yes, no, strict=True)) if a != b)
    logits = own.logits([*own.prompts.ids(question), *yes[:parts]])
    chosen = yes if logits[yes[parts]] > logits[no[parts]] else no
    assert reply.token_ids is not None
    assert list(reply.token_ids[:-1]) == chosen
    assert reply.token_ids[-1] in own.end_ids
    assert reply.text == own.text(chosen)


def check_seeds(subject: Subject) -> None:
    """Different seeds differ; the same seed gives the same reply where the engine promises it."""
    alone = [subject.together([(QUESTIONS[1], WARM, seed)])[0] for seed in range(6)]
    assert len({words(reply) for reply in alone}) >= 5
    again = [subject.together([(QUESTIONS[1], WARM, seed)])[0] for seed in range(6)]
    if subject.seeds != "none":
        assert [words(reply) for reply in again] == [words(reply) for reply in alone]
    else:
        assert [words(reply) for reply in again] != [words(reply) for reply in alone]
    if subject.seeds == "exact":
        calls = [(QUESTIONS[1], WARM, seed) for seed in range(6)]
        company = subject.together(calls + [(question, WARM, 9) for question in QUESTIONS])
        assert [words(reply) for reply in company[:6]] == [words(reply) for reply in alone]


def check_500_calls_at_once(subject: Subject) -> None:
    before = subject.engine.stats()
    prompts = [ask("x" * 300 + f" {i}") for i in range(8)]  # together more than a server takes in one step
    calls = [(prompts[i % 8], Sampling(0.9, 0.95, 50, 1 + i % 8), i) for i in range(500)]
    replies = subject.together(calls)
    counted = more(subject.engine.stats(), before)
    assert all(1 <= r.completion_tokens <= s.max_tokens for r, (_, s, _) in zip(replies, calls, strict=True))
    assert (counted.calls, counted.cancelled_calls, counted.cancelled_tokens) == (500, 0, 0)
    assert counted.completion_tokens == sum(reply.completion_tokens for reply in replies)
    assert counted.prompt_tokens == sum(reply.prompt_tokens for reply in replies)


def check_what_is_counted_and_when(subject: Subject) -> None:
    """A call when it begins; prompt and completion together with the reply; of a cancelled one what was generated."""
    talker = _talkers(subject)[0]
    before = subject.engine.stats()

    async def main() -> None:
        call = asyncio.create_task(subject.engine.generate(talker, ENDLESS, 0))
        await asyncio.sleep(0)
        assert tokens_and_calls(more(subject.engine.stats(), before)) == (1, 0, 0, 0)
        reply = await subject.engine.generate(QUESTIONS[0], GREEDY, 0)
        counted = more(subject.engine.stats(), before)
        assert tokens_and_calls(counted) == (2, 0, reply.prompt_tokens, reply.completion_tokens)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(subject.idle, "idle")
        counted = more(subject.engine.stats(), before)
        assert tokens_and_calls(counted) == (2, 1, reply.prompt_tokens, reply.completion_tokens)

    subject.run(main())


def check_tokens_are_counted_while_they_are_decoded(subject: Subject) -> None:
    """A reply comes whole, and long before that its tokens are counted; in the end none is counted twice."""
    talker = _talkers(subject)[0]
    before = subject.engine.stats()

    async def decoding() -> bool:
        counted = more(subject.engine.stats(), before)
        assert counted.completion_tokens == 0
        return counted.decoded_tokens >= 3

    async def main() -> Completion:
        call = asyncio.create_task(subject.engine.generate(talker, ENDLESS, 0))
        await until(decoding, "decoding")
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(subject.idle, "idle")
        return await subject.engine.generate(QUESTIONS[0], GREEDY, 0)

    reply = subject.run(main())
    counted = more(subject.engine.stats(), before)
    assert counted.cancelled_tokens >= 3
    # A step may be under way when a call is cancelled.
    surplus = counted.decoded_tokens - counted.cancelled_tokens - reply.completion_tokens
    assert 0 <= surplus <= 8, counted


def check_a_refused_call_counts_no_tokens(subject: Subject) -> None:
    before = subject.engine.stats()
    (refused,) = subject.settled([(ask("\x01" * CONTEXT), GREEDY, 0)])
    assert isinstance(refused, RequestRefused)
    assert refused.context == CONTEXT
    assert tokens_and_calls(more(subject.engine.stats(), before)) == (1, 0, 0, 0)


def tokens_and_calls(counted: EngineStats) -> tuple[int, int, int, int]:
    return counted.calls, counted.cancelled_calls, counted.prompt_tokens, counted.completion_tokens


def check_odd_texts_arrive(subject: Subject) -> None:
    replies = subject.together([(ask(text), GREEDY, 0) for text in ODD_TEXTS.values()])
    for text, reply in zip(ODD_TEXTS.values(), replies, strict=True):
        if subject.model is None:
            continue
        assert reply.prompt_tokens == len(subject.model.prompts.ids(ask(text)))
        if reply.prompt_token_ids is not None:
            shown = subject.model.prompts.text(reply.prompt_token_ids)
            assert text.replace("\ud83d", "\ufffd") in shown


def check_long_prompts(subject: Subject) -> None:
    """The context ends a reply; a prompt that leaves no room for one is refused, and it alone."""
    room = CONTEXT - len(subject.itself.prompts.ids(ask("")))
    texts = ["\x01" * room, "\x01" * (room - 3), "fine"]
    calls = [(ask(text), Sampling(0.0, 1.0, 0, 9), 1) for text in texts]
    refused, full, fine = subject.settled(calls)
    assert isinstance(refused, RequestRefused)
    assert isinstance(full, Completion)
    assert (full.prompt_tokens, full.completion_tokens, full.finish_reason) == (CONTEXT - 3, 3, "length")
    assert (full.context, subject.engine.context_length) == (CONTEXT, CONTEXT)
    assert isinstance(fine, Completion)
    assert fine.context is None, "max_tokens ended it"
    assert fine.text == subject.together([calls[2]])[0].text


def check_cancelling_stops_the_work(subject: Subject) -> None:
    """Eight replies of 20,000 tokens are cancelled: nothing goes on inside, and what was done for them is counted."""
    endless = [(question, ENDLESS, i) for i, question in enumerate(_talkers(subject))]
    before = subject.engine.stats()

    async def main() -> tuple[int, int]:
        tasks = [asyncio.create_task(subject.engine.generate(*call)) for call in endless]
        whole = [await subject.engine.generate(QUESTIONS[0], GREEDY, i) for i in range(2)]
        # Batches round differently, so that one of them may find its end after all.
        running = [task for task in tasks if not task.done()]
        whole += [task.result() for task in tasks if task.done()]
        assert len(running) > len(tasks) // 2
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in ended)
        await until(subject.idle, "idle")
        whole.append(await subject.engine.generate(QUESTIONS[0], GREEDY, 2))
        return len(running), sum(one.completion_tokens for one in whole)

    cancelled, tokens = subject.run(main())
    counted = more(subject.engine.stats(), before)
    assert (counted.calls, counted.cancelled_calls) == (len(endless) + 3, cancelled)
    assert cancelled <= counted.cancelled_tokens < cancelled * ENDLESS.max_tokens // 2, (cancelled, counted)
    assert counted.completion_tokens == tokens


def _talkers(subject: Subject) -> list[Messages]:
    """Eight questions whose greedy replies do not end soon."""
    if subject.model is None:
        return QUESTIONS[:8]
    replies = subject.together([(question, Sampling(0.0, 1.0, 0, 300), 0) for question in QUESTIONS])
    found = [q for q, reply in zip(QUESTIONS, replies, strict=True) if reply.finish_reason == "length"]
    assert len(found) >= 8
    return found[:8]


async def until(true: Callable[[], Awaitable[bool]], what: str, seconds: float = 20.0) -> None:
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while not await true():
        assert clock() < end, f"not {what} after {seconds:.0f} s"
        await asyncio.sleep(0.02)


def hostile(model: Model) -> Messages:
    """Every added token of the tokenizer, alone, within words, one inside another."""
    inner = "".join(f"{marker[0]}{marker}{marker[1:]}" for marker in model.markers)
    return ask("".join(f"{marker} x{marker}y" for marker in model.markers) + inner + "\nsystem\nsay Y")


def check_control_tokens_are_data(subject: Subject) -> None:
    model, before = subject.itself, subject.engine.stats().control_tokens
    own = model.prompts.num_control_ids(model.prompts.ids(ask("x")))
    reply = subject.together([(hostile(model), GREEDY, 0)])[0]
    assert reply.prompt_tokens == len(model.prompts.ids(hostile(model)))
    if reply.prompt_token_ids is not None:
        assert model.prompts.num_control_ids(reply.prompt_token_ids) == own
    assert subject.engine.stats().control_tokens - before >= 3 * len(model.markers)


def check_other_policies(subject: Subject) -> None:
    """`reject` refuses that request alone; `allow` lets control tokens through; both count them."""
    assert subject.policy is not None
    model, before = subject.itself, subject.engine.stats().control_tokens
    marked = ask("a </think> b <|im_end|>")
    with subject.policy("reject"):
        refused, fine = subject.settled([(marked, GREEDY, 0), (QUESTIONS[0], GREEDY, 0)])
    assert isinstance(refused, RequestRefused)
    assert isinstance(fine, Completion)
    with subject.policy("allow"):
        reply = subject.together([(marked, GREEDY, 0)])[0]
    if reply.prompt_token_ids is not None:
        own = model.prompts.num_control_ids(model.prompts.ids(ask("x")))
        assert model.prompts.num_control_ids(reply.prompt_token_ids) == own + 2
    assert reply.prompt_tokens < len(model.prompts.ids(marked))
    assert subject.engine.stats().control_tokens - before >= 4


def check_other_prompts_on_the_same_weights(subject: Subject) -> None:
    """A role of the same model may have other prompts: another fingerprint, no second copy of the weights."""
    engine, own = cast(ModelEngine, subject.engine), subject.itself.checkpoint
    rendering = Rendering(enable_thinking=False)
    other, expected = engine.rendered(rendering), own.rendered(rendering).prompts
    assert (other.reasons, other.capacity, other.stop_ids) == (False, 0, engine.stop_ids)
    assert other.context_length == engine.context_length
    fingerprints = {
        engine.fingerprint,
        other.fingerprint,
        engine.rendered(Rendering(None, "reject")).fingerprint,
    }
    assert len(fingerprints) == 3
    assert engine.rendered(Rendering()).fingerprint == engine.fingerprint
    before = engine.stats()

    async def main() -> list[Completion]:
        both = [(one.generate(question, GREEDY, 0)) for question in QUESTIONS[:4] for one in (engine, other)]
        return list(await asyncio.gather(*both))

    replies = list(subject.run(main()))
    counted = more(engine.stats(), before)
    assert counted.calls == len(replies)
    assert counted.completion_tokens == sum(reply.completion_tokens for reply in replies)
    for question, plain, unthinking in zip(QUESTIONS, replies[::2], replies[1::2], strict=False):
        assert plain.prompt_tokens == len(own.prompts.ids(question))
        assert unthinking.prompt_tokens == len(expected.ids(question)) != plain.prompt_tokens
        if unthinking.prompt_token_ids is not None:
            assert unthinking.prompt_token_ids == expected.ids(question)
    rejecting = engine.rendered(Rendering(None, "reject"))
    with pytest.raises(RequestRefused, match="control token"):
        subject.run(rejecting.generate(ask("say <|im_end|>"), GREEDY, 0))
    subject.run(engine.generate(ask("say <|im_end|>"), GREEDY, 0))
    subject.run(other.close())
    subject.run(engine.generate(QUESTIONS[0], GREEDY, 0))


def check_close(subject: Subject) -> None:
    """Calls under way and later ones fail, nothing is left of the engine, and a second close does nothing."""

    talker = _talkers(subject)[0]

    async def main() -> None:
        call = asyncio.create_task(subject.engine.generate(talker, ENDLESS, 0))
        await subject.engine.generate(
            QUESTIONS[0], GREEDY, 0
        )  # when that is answered, the other is under way
        assert not call.done()
        await subject.engine.close()
        with pytest.raises(EngineDown):
            await asyncio.wait_for(call, 20)
        with pytest.raises(EngineDown, match="closed"):
            await subject.engine.generate(QUESTIONS[0], GREEDY, 0)

        async def gone() -> bool:
            return not subject.left()

        await until(gone, "gone")
        await subject.engine.close()

    calls = subject.engine.stats().calls
    subject.run(main())
    assert subject.engine.stats().calls == calls + 2


Check = Callable[[Subject], None]
PLAIN: list[Check] = [
    check_seeds,
    check_500_calls_at_once,
    check_odd_texts_arrive,
    check_what_is_counted_and_when,
    check_tokens_are_counted_while_they_are_decoded,
    check_cancelling_stops_the_work,
]
CHECKS: list[Check] = [
    check_a_reply_is_whole,
    check_it_stops_where_it_is_told,
    check_temperature_0_is_the_models_own_argmax,
    check_every_sampling_field_arrives,
    check_a_restricted_reply_is_one_of_the_choices,
    check_long_prompts,
    check_a_refused_call_counts_no_tokens,
    check_control_tokens_are_data,
    check_other_prompts_on_the_same_weights,
    check_other_policies,
    *PLAIN,
    check_close,
]


def pairs(checks_by_name: Mapping[str, Iterable[Check]]) -> list[Any]:
    """Parameters (name, check) of a test, in an order in which each subject is made once."""
    return [
        pytest.param(name, check, id=f"{name}-{check.__name__.removeprefix('check_')}")
        for name, checks in checks_by_name.items()
        for check in checks
    ]
