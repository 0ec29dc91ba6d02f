"""The endpoint engine against servers that misbehave by script: what is sent and kept, what follows from faults."""

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

aiohttp = pytest.importorskip("aiohttp")

from tests.engines.fault_server import Process, Served  # noqa: E402
from tests.harness import distil_all, kept, make_plan, make_seeds  # noqa: E402
from veridistill.config import EngineSection, ModelSection  # noqa: E402
from veridistill.decide import split  # noqa: E402
from veridistill.engines import open_engine  # noqa: E402
from veridistill.engines.base import Rendering  # noqa: E402
from veridistill.engines.checkpoint import Checkpoint  # noqa: E402
from veridistill.engines.endpoint import EndpointEngine  # noqa: E402
from veridistill.engines.endpoint.model import declare  # noqa: E402
from veridistill.engines.endpoint.open import TRIAL, Wanted  # noqa: E402
from veridistill.engines.scripted import Script, ScriptedEngine  # noqa: E402
from veridistill.engines.vllm.adapter import Adapter  # noqa: E402
from veridistill.errors import ConfigError, EngineDown, RequestRefused  # noqa: E402
from veridistill.records import Completion, Message, Messages, Sampling  # noqa: E402

WARM = Sampling(0.8, 0.95, 20, 64)
KEY = "sk-not-to-be-seen-4711"


def ask(text: str) -> Messages:
    return (Message("user", text),)


Serve = Callable[..., Served]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Serve]:
    """Makes fault servers in processes of their own, which may be killed."""
    processes: list[Process] = []

    def start(port: int = 0, **script: Any) -> Served:
        processes.append(Process(str(port)))
        return Served(processes[-1], script, tmp_path / f"alone{len(processes)}.jsonl")

    yield start
    for process in processes:
        process.kill()


def section(*urls: str, **options: Any) -> EngineSection:
    settings = {"kind": "endpoint", "urls": urls, "served_name": "m", "idle_timeout": 5.0, "patience": 20.0}
    return EngineSection(**(settings | {"api_key_env": "ENDPOINT_TEST_KEY"} | options))


def open_at(*servers: Served, model: ModelSection | None = None, **options: Any) -> EndpointEngine:
    """With waits that begin at 10 ms."""
    model = model or ModelSection(path="some/name/not-on-the-hub")
    engine = section(*(server.url for server in servers), **options)
    return EndpointEngine.open(
        engine, declare(model, model.path, engine.protocol), Wanted(model.path, "m"), pause=0.01
    )


async def closing(engine: EndpointEngine, *calls: tuple[str, int]) -> list[Completion | BaseException]:
    """Replies or errors of calls (text, seed) at once; then everything is closed, and no task is left."""
    async with aclosing(_Closing(engine)):
        replies = await asyncio.gather(
            *(engine.generate(ask(text), WARM, seed) for text, seed in calls), return_exceptions=True
        )
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return replies


class _Closing:
    def __init__(self, engine: EndpointEngine) -> None:
        self.aclose = engine.close


def replies_of(engine: EndpointEngine, *calls: tuple[str, int]) -> list[Completion | BaseException]:
    return asyncio.run(closing(engine, *calls))


def reply_of(engine: EndpointEngine, text: str = "hello", seed: int = 7) -> Completion:
    (reply,) = replies_of(engine, (text, seed))
    if isinstance(reply, BaseException):
        raise reply
    return reply


# What is sent, and what comes back.


def test_every_sampling_field_is_sent_and_the_reply_is_kept(serve: Serve) -> None:
    served = serve(context=4096)
    engine = open_at(served, served)
    assert (engine.protocol, engine.reasons, engine.stop_ids) == ("chat", False, ())
    reply = reply_of(engine, "a <|im_end|> b")
    assert reply == Completion("yes it is so", "stop", 4, 4)
    (request,) = served.got()
    neutral = {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    sampling = {"temperature": 0.8, "top_p": 0.95, "top_k": 20, "max_tokens": 64, "seed": 7}
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    messages = {"messages": [{"role": "user", "content": "a <\u200d|im_end|> b"}]}
    assert request["body"] == {"model": "m", **neutral, **sampling, **stream, **messages}
    assert request["authorization"] is None
    stats = engine.stats()
    assert (stats.calls, stats.prompt_tokens, stats.completion_tokens, stats.control_tokens) == (1, 4, 4, 1)


def test_no_limit_of_top_k_is_one_that_every_server_knows_and_unseeded_sends_no_seed(serve: Serve) -> None:
    served = serve()
    engine = open_at(served, seeded=False, model=ModelSection(path="x", enable_thinking=False))

    async def main() -> None:
        await engine.generate(ask("hello"), Sampling(0.6, 1.0, 0, 8), 3)
        await engine.close()

    asyncio.run(main())
    body = served.got()[0]["body"]
    assert body["top_k"] == -1
    assert "seed" not in body
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


RESTRICTED = Sampling(0.6, 0.95, 0, 24, ("[[Y]]", "[[N]]"))


def restricted_calls(engine: EndpointEngine, num: int = 1) -> list[Completion]:
    async def main() -> list[Completion]:
        replies = [await engine.generate(ask("hello"), RESTRICTED, seed) for seed in range(num)]
        await engine.close()
        return replies

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("owner", "sent"),
    [
        ("vllm", {"structured_outputs": {"choice": ["[[Y]]", "[[N]]"]}}),
        ("sglang", {"regex": r"\[\[Y\]\]|\[\[N\]\]"}),
        ("us", {}),
    ],
)
def test_a_server_is_told_of_choices_in_its_own_words_or_not_at_all(
    serve: Serve, owner: str, sent: dict[str, Any]
) -> None:
    served = serve(owner=owner)
    restricted_calls(open_at(served))
    free = serve(owner=owner)
    reply_of(open_at(free))
    bodies = [one.got()[0]["body"] for one in (served, free)]
    assert {name: bodies[0][name] for name in bodies[0].keys() - bodies[1].keys()} == sent


@pytest.mark.parametrize(
    "script",
    [{"unknown": ["structured_outputs"]}, {"restricting": 400}, {"restricting": 500}],
)
def test_a_server_that_cannot_restrict_replies_is_asked_freely_from_then_on(
    serve: Serve, script: dict[str, Any]
) -> None:
    served = serve(owner="vllm", **script)
    replies = restricted_calls(open_at(served), num=3)
    assert [reply.text for reply in replies] == ["yes it is so"] * 3
    assert ["structured_outputs" in request["body"] for request in served.got()] == [True] + 3 * [False]


def test_a_busy_server_is_still_told_of_the_choices(serve: Serve) -> None:
    served = serve(owner="vllm", rules=[{"match": "hello", "attempts": [1], "status": 503}])
    restricted_calls(open_at(served))
    assert ["structured_outputs" in request["body"] for request in served.got()] == [True, True]


def test_ids_are_sent_and_kept_where_there_is_a_tokenizer(serve: Serve, tiny_model: Path) -> None:
    model = ModelSection(path=str(tiny_model), dtype="float32")
    prompts = declare(model, model.path, "auto").prompts
    assert prompts is not None
    end = prompts.tokenizer.eos_token_id
    said = [*prompts.tokenizer.encode("it is so", add_special_tokens=False), end]
    served = serve(ids=said, owner="vllm", context=900)
    engine = open_at(served, model=model)
    assert (engine.protocol, engine.stop_ids, engine.reasons) == ("completions", (end,), True)
    reply = reply_of(engine, "hello <|im_end|>")
    ids = prompts.ids(ask("hello <|im_end|>"))
    assert reply == Completion("it is so", "stop", len(ids), len(said), tuple(said), ids)
    body = served.got()[0]["body"]
    assert (tuple(body["prompt"]), body["stop_token_ids"]) == (ids, [end])
    assert (body["return_token_ids"], body["skip_special_tokens"], body["stream_interval"]) == (
        True,
        False,
        16,
    )


def test_max_tokens_is_cut_to_the_context_and_a_prompt_that_fills_it_is_not_sent(
    serve: Serve, tiny_model: Path
) -> None:
    served = serve(ids=[1], context=64)
    engine = open_at(served, model=ModelSection(path=str(tiny_model)))
    fine, refused = replies_of(engine, ("hello", 1), ("hello " * 60, 1))
    assert isinstance(fine, Completion)
    assert isinstance(refused, RequestRefused)
    (request,) = served.got()
    assert request["body"]["max_tokens"] == 64 - len(request["body"]["prompt"]) < WARM.max_tokens


@pytest.mark.parametrize(
    ("chat_only", "protocol", "expected"),
    [
        (False, "auto", "completions"),
        (True, "auto", "chat"),
        (False, "chat", "chat"),
        (True, "completions", None),
    ],
)
def test_the_protocol_is_settled_at_the_start(
    serve: Serve, tiny_model: Path, chat_only: bool, protocol: str, expected: str | None
) -> None:
    served = serve(chat_only=chat_only)
    model = ModelSection(path=str(tiny_model))
    if expected is None:
        with pytest.raises(ConfigError, match="404"):
            open_at(served, model=model, protocol=protocol)
    else:
        engine = open_at(served, model=model, protocol=protocol)
        assert engine.protocol == expected
        assert reply_of(engine).text == "yes it is so"
        assert served.got()[0]["path"].endswith(
            "chat/completions" if expected == "chat" else "v1/completions"
        )


REASONED = "<think>\nlet me see\n</think>\n\nit is 4"
DELTAS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "vLLM": (
        [{"reasoning": "\nlet me"}, {"reasoning": " see\n"}, {"content": "\n\nit is"}, {"content": " 4"}],
        REASONED,
    ),
    "elsewhere": ([{"reasoning_content": "let me see"}, {"content": "it is 4"}], REASONED),
    "both names": (
        [{"reasoning_content": "let me see", "reasoning": "let me see"}, {"content": "it is 4"}],
        REASONED,
    ),
    "one delta": ([{"reasoning": "let me see", "content": "it is 4"}], REASONED),
    "inline": ([{"content": "<think>\nlet me see\n</think>\n\nit is 4"}], REASONED),
    "opened by the prompt": ([{"content": "let me see</think>it is 4"}], "let me see</think>it is 4"),
    "cut off": ([{"reasoning": "let me"}, {"reasoning": " see", "content": None}], "<think>\nlet me see"),
    "opened again": ([{"content": "it is"}, {"reasoning": "is it?"}], "it is<think>\nis it?"),
    "none": ([{"role": "assistant", "content": ""}, {"content": "it is 4"}], "it is 4"),
    "nothing": ([{"content": ""}], ""),
    "half a surrogate": ([{"content": "\ud83d"}], "\ud83d"),
}


@pytest.mark.parametrize("case", DELTAS)
def test_reasoning_is_rejoined_and_closed_only_where_the_reply_went_on(serve: Serve, case: str) -> None:
    deltas, text = DELTAS[case]
    reply = reply_of(open_at(serve(rules=[{"match": "hello", "deltas": deltas}])))
    assert reply.text == text
    parts = split(reply.text)
    assert parts.closed == (case not in ("cut off", "opened again"))
    if text == REASONED:
        assert (parts.reasoning, parts.answer) == ("let me see", "it is 4")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"finish": None}, Completion("yes it is so", "unknown", 4, 4)),
        ({"finish": "content_filter"}, Completion("yes it is so", "content_filter", 4, 4)),
        ({"finish": "length"}, Completion("yes it is so", "length", 4, 4, context=0)),
        ({"usage": None}, Completion("yes it is so", "stop", 0, 4)),
        ({"done": None}, Completion("yes it is so", "stop", 4, 4)),
        ({"whole": True}, Completion("yes it is so", "stop", 4, 4)),
        ({"reset": "late"}, Completion("yes it is so", "stop", 0, 4)),
    ],
)
def test_replies_that_are_odd_but_whole_are_kept(
    serve: Serve, rule: dict[str, Any], expected: Completion
) -> None:
    served = serve(rules=[rule | {"match": "hello"}])
    assert reply_of(open_at(served)) == expected
    assert len(served.got()) == 1


def test_a_whole_reply_is_not_waited_on_while_comments_drip(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veridistill.engines.endpoint.wire._REST", 0.3)
    engine = open_at(serve(rules=[{"match": "hello", "linger": 0.05}]))

    async def main() -> Completion:
        async with aclosing(_Closing(engine)), asyncio.timeout(10):
            return await engine.generate(ask("hello"), WARM, 7)

    assert asyncio.run(main()) == Completion("yes it is so", "stop", 4, 4)


# How much room there is.


def test_the_context_that_ends_a_reply_or_leaves_no_room_for_one_is_told(serve: Serve) -> None:
    served = serve(
        context=40,
        rules=[
            {"match": "cut", "finish": "length"},
            {
                "match": "long",
                "status": 400,
                "says": "maximum context length is 40 tokens; 99 tokens in the prompt",
            },
            {"match": "vague", "status": 400, "says": "your input is too long"},
        ],
    )
    engine = open_at(served, serve(context=90))
    assert engine.context_length == 40, "the shortest: any call may go there"
    engine = open_at(served)
    cut, whole, long, vague = replies_of(engine, ("cut", 1), ("whole", 2), ("long", 3), ("vague", 4))
    assert isinstance(cut, Completion)
    assert isinstance(whole, Completion)
    assert (cut.context, whole.context) == (40, None)
    for refused in (long, vague):
        assert isinstance(refused, RequestRefused)
        assert refused.context == 40


def test_a_server_that_does_not_say_how_long_its_context_is(serve: Serve) -> None:
    said = {"status": 400, "says": "your input is too long"}
    engine = open_at(serve(rules=[said | {"match": "long"}, {"match": "cut", "finish": "length"}]))
    assert engine.context_length is None
    refused, cut, marked = replies_of(engine, ("long", 1), ("cut", 2), ("fine", 3))
    assert isinstance(refused, RequestRefused)
    assert isinstance(cut, Completion)
    assert isinstance(marked, Completion)
    assert (refused.context, cut.context, marked.context) == (0, 0, None)


def test_a_reply_that_max_tokens_ended_is_not_cut_by_the_context(serve: Serve) -> None:
    engine = open_at(
        serve(context=4096, rules=[{"match": "hello", "finish": "length", "count": WARM.max_tokens}])
    )
    assert reply_of(engine).context is None


def test_another_role_of_the_same_model_sends_its_own_template_arguments(serve: Serve) -> None:
    served = serve()
    engine = open_at(served)
    off = engine.rendered(Rendering(enable_thinking=False))
    named = ModelSection(path="some/name/not-on-the-hub", enable_thinking=False)
    assert off.fingerprint == declare(named, named.path, "auto").fingerprint != engine.fingerprint

    async def main() -> None:
        await asyncio.gather(engine.generate(ask("one"), WARM, 1), off.generate(ask("two"), WARM, 2))
        await engine.close()

    asyncio.run(main())
    assert "chat_template_kwargs" not in served.got("one")[0]["body"]
    assert served.got("two")[0]["body"]["chat_template_kwargs"] == {"enable_thinking": False}
    assert (engine.stats().calls, off.stats().calls) == (2, 0), "counted once, by the engine"


# Faults.

ONCE: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "429, later": {"status": 429, "headers": {"Retry-After": "0.02"}},
    "429, never mind": {"status": 429, "headers": {"Retry-After": "-5"}},
    "429, garbage": {"status": 429, "headers": {"Retry-After": "soon, I hope"}},
    "503": {"status": 503},
    "500": {"status": 500, "body": "<html>oh dear</html>"},
    "502": {"status": 502, "body": ""},
    "504": {"status": 504},
    "reset before": {"reset": "before"},
    "reset mid-body": {"reset": "mid", "after": 2},
    "HTML with 200": {"html": True},
    "no choices": {"choices": []},
    "no choices at all": {"choices": None},
    "aborted": {"finish": "abort"},
    "broken off": {"after": 2},
    "broken off at once": {"after": 0},
    "stalled": {"after": 1, "stall": 60},
    "stalled at once": {"after": 0, "stall": 60},
    "no headers": {"hang": 60},
    "dripping": {"after": 1, "drip": 0.05},
    "an error inside": {"after": 2, "say": 'data: {"error": {"message": "dead", "code": 500}}'},
    "garbage inside": {"after": 2, "say": "data: {not JSON"},
}


@pytest.mark.parametrize("case", ONCE)
def test_a_fault_of_transport_is_asked_again(serve: Serve, case: str) -> None:
    served = serve(rules=[ONCE[case] | {"match": "hello", "attempts": [1, 2]}])
    engine = open_at(served, idle_timeout=0.3)
    assert reply_of(engine) == Completion("yes it is so", "stop", 4, 4)
    requests = served.got()
    assert [request["attempt"] for request in requests] == [1, 2, 3]
    assert all(request["body"] == requests[0]["body"] for request in requests)
    assert engine.stats().completion_tokens == 4


REFUSED = {
    "vLLM": "This model's maximum context length is 8 tokens. However, your prompt contains 9 input tokens",
    "SGLang": "The input (99 tokens) is longer than the model's context length (8 tokens).",
    "llama.cpp": "request (9 tokens) exceeds the available context size (8 tokens), try increasing it",
    "TGI": "`inputs` must have less than 8 tokens. Given: 9",
    "a host": "prompt is too long: 210000 tokens > 200000 maximum",
    "a filter": "we would rather not",
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_is_for_that_request_alone(serve: Serve, case: str, status: int) -> None:
    served = serve(rules=[{"match": "poison", "status": status, "says": REFUSED[case]}])
    refused, fine = replies_of(open_at(served), ("poison", 1), ("hello", 1))
    assert isinstance(refused, RequestRefused)
    assert REFUSED[case].partition(".")[0] in str(refused)
    assert isinstance(fine, Completion)
    assert len(served.got("poison")) == 1


@pytest.mark.parametrize(
    "says",
    [
        "maximum context length is 50 tokens. However, you requested 74 tokens (10 in the messages, 64 in the "
        "completion)",
        "request (10 tokens) exceeds the available context size (50 tokens), try increasing it",
        "'max_tokens' is too large: 64. This model's maximum context length is 50 tokens and your request has 10 input "
        "tokens",
        "exceeds the model's maximum context length of 50 tokens. You requested a total of 74 tokens: 10 tokens from "
        "the input messages and 64 tokens for the completion.",
    ],
)
def test_too_many_tokens_asked_for_are_cut_to_what_the_server_says_there_is_room_for(
    serve: Serve, says: str
) -> None:
    served = serve(rules=[{"match": "hello", "attempts": [1], "status": 400, "says": says}])
    assert reply_of(open_at(served)).text == "yes it is so"
    assert [request["body"]["max_tokens"] for request in served.got()] == [64, 40]


def test_fields_that_a_server_does_not_know_are_left_out_where_nothing_is_lost(serve: Serve) -> None:
    unknown = ["min_p", "repetition_penalty", "stream_options", "seed", "top_k"]
    served = serve(unknown=unknown)
    engine = open_at(served)

    async def main() -> None:
        assert (await engine.generate(ask("hello"), Sampling(0.8, 0.95, 0, 8), 1)).text == "yes it is so"
        with pytest.raises(ConfigError, match=r"top_k=20.*set top_k to -1 \(top_k: 0\)"):
            await engine.generate(ask("again"), WARM, 1)
        await engine.close()

    asyncio.run(main())
    (request,) = served.got()
    assert not set(unknown) & set(request["body"])
    assert request["body"]["frequency_penalty"] == 0.0


def test_max_tokens_has_another_name_at_some_servers(serve: Serve) -> None:
    served = serve(unknown=["max_tokens"])
    reply_of(open_at(served))
    body = served.got()[-1]["body"]
    assert (body["max_completion_tokens"], "max_tokens" in body) == (64, False)


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ({"status": 401}, "401"),
        ({"status": 403}, "403"),
        ({"status": 404, "says": "The model `m` does not exist."}, "404 The model"),
        ({"status": 402}, "402"),
        ({"status": 429, "body": '{"error": {"code": "insufficient_quota", "message": "no"}}'}, "quota"),
        ({"status": 307, "headers": {"Location": "http://elsewhere/"}}, "redirect to http://elsewhere/"),
    ],
)
def test_hopeless_answers_stop_the_run_at_once(serve: Serve, rule: dict[str, Any], match: str) -> None:
    served = serve(rules=[{"match": "later", "after": 1, "stall": 60}, rule | {"match": "hello"}])

    async def main(first: tuple[str, ...], expected: type[Exception]) -> None:
        engine = open_at(served)
        async with aclosing(_Closing(engine)):
            for text in first:
                await engine.generate(ask(text), WARM, 1)
            with pytest.raises(expected, match=match):
                await asyncio.gather(*(engine.generate(ask(text), WARM, 1) for text in ("later", "hello")))
            with pytest.raises(expected, match=match):
                await engine.generate(ask("more"), WARM, 1)

    asyncio.run(main((), ConfigError))
    asyncio.run(main(("fine",), EngineDown))
    assert len(served.got("hello")) == 2
    assert not served.got("more")


def test_a_poison_request_is_given_up_and_the_others_are_answered(serve: Serve) -> None:
    served = serve(rules=[{"match": "poison", "status": 500, "says": "boom"}], every=0.01)
    calls = [("poison", 1), *((f"fine {i}", i) for i in range(120))]
    refused, *fine = replies_of(open_at(served, retries=3, max_width=4), *calls)
    assert isinstance(refused, RequestRefused)
    assert "500 boom" in str(refused)
    assert all(isinstance(reply, Completion) for reply in fine)
    assert 4 <= len(served.got("poison")) <= 8


def test_a_poison_request_that_is_alone_is_given_up_as_well(serve: Serve) -> None:
    """The server is probed, answers, and so the faults were the request's own."""
    served = serve(rules=[{"match": "poison", "reset": "before"}])
    (refused,) = replies_of(open_at(served, retries=4), ("poison", 1))
    assert isinstance(refused, RequestRefused)
    assert 5 <= len(served.got("poison")) <= 9


def test_a_server_that_answers_nothing_but_trials_is_down(serve: Serve) -> None:
    served = serve(rules=[{"match": "question", "status": 500, "says": "boom"}])
    calls = [(f"question {i}", i) for i in range(40)]
    replies = replies_of(open_at(served, retries=0), *calls)
    assert any(isinstance(reply, EngineDown) and "in a row" in str(reply) for reply in replies)
    assert sum(isinstance(reply, RequestRefused) for reply in replies) <= 16


@pytest.mark.parametrize("rule", [{"hang": 60}, {"status": 503}, {"status": 500}, {"after": 0, "drip": 0.02}])
def test_no_token_for_too_long_is_the_end(serve: Serve, rule: dict[str, Any]) -> None:
    """The trial at the start passes; then nothing does any more."""
    served = serve(
        rules=[rule | {"match": "hello"}, rule | {"match": TRIAL[0].content, "attempts": list(range(2, 99))}]
    )
    replies = replies_of(open_at(served, patience=1.0, idle_timeout=0.4), ("hello", 1), ("hello", 2))
    for reply in replies:
        assert isinstance(reply, EngineDown)
        assert served.url in str(reply)
        assert str(rule.get("status", "no token for")) in str(reply)


# Width.


def test_the_width_doubles_while_all_is_well_and_never_passes_its_limit(serve: Serve) -> None:
    served = serve(every=0.005)
    engine = open_at(served, max_width=96)
    seen = []
    engine.resized = lambda: seen.append(engine.capacity)
    replies = replies_of(engine, *((f"question {i}", i) for i in range(500)))
    assert all(isinstance(reply, Completion) for reply in replies)
    assert engine.capacity == max(seen) == 96
    running = [request["running"] for request in served.got()]
    assert 32 < max(running) <= 96


def test_push_back_halves_the_width_and_loses_nothing(serve: Serve) -> None:
    served = serve(slots=6, every=0.002)
    engine = open_at(served)
    replies = replies_of(engine, *((f"question {i}", i) for i in range(200)))
    assert all(isinstance(reply, Completion) for reply in replies)
    assert engine.capacity < 16
    late = served.got()[-100:]
    assert sum(request["attempt"] > 1 for request in late) < 80


def test_votes_of_one_candidate_go_to_one_server_and_all_servers_have_work(serve: Serve) -> None:
    served = [serve(), serve(), serve()]
    engine = open_at(*served)
    prompts = [f"[question]\n{i}\n[/question] {'x' * 300}" for i in range(30)]

    async def main() -> None:
        async with aclosing(_Closing(engine)):
            for instruction in ("is it so?", "is it not?", "why?"):  # a round fits into one server's width
                calls = (engine.generate(ask(prompt + instruction), WARM, 1) for prompt in prompts)
                await asyncio.gather(*calls)

    asyncio.run(main())
    shares = [{r["body"]["messages"][0]["content"][:300] for r in server.got()} for server in served]
    assert sum(map(len, shares)) == 30
    assert all(shares)


# Several servers.


def test_a_faulty_server_is_left_for_another_one(serve: Serve) -> None:
    bad, good = serve(rules=[{"match": "question", "status": 500}]), serve()
    replies = replies_of(open_at(bad, good, retries=2), *((f"question {i}", i) for i in range(60)))
    assert all(isinstance(reply, Completion) for reply in replies)
    assert len(good.got()) == 60


def test_a_server_killed_in_the_run_loses_nothing(alone: Serve) -> None:
    served = [alone(every=0.02), alone(every=0.02)]
    engine = open_at(*served, max_width=24)

    async def main() -> list[Completion]:
        async with aclosing(_Closing(engine)):
            calls = [asyncio.create_task(engine.generate(ask(f"question {i}"), WARM, i)) for i in range(300)]
            while sum(call.done() for call in calls) < 60:
                await asyncio.sleep(0.01)
            served[0].process.process.kill()
            return await asyncio.gather(*calls)

    replies = asyncio.run(main())
    assert [reply.text for reply in replies] == ["yes it is so"] * 300
    assert engine.stats().completion_tokens == 1200
    assert len(served[1].got()) > 200


def test_a_server_that_comes_back_is_used_again(alone: Serve) -> None:
    """Its outage counts against no request, even where no fault is forgiven."""
    served = alone()
    engine = open_at(served, retries=0)
    served.process.kill()
    port = int(served.process.address.rpartition(":")[2])

    async def main() -> Completion:
        async with aclosing(_Closing(engine)):
            call = asyncio.create_task(engine.generate(ask("hello"), WARM, 1))
            while engine._pool.servers[0].in_service:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(alone, port=port)
            return await call

    assert asyncio.run(main()).text == "yes it is so"


# Cancelling and closing.


def test_cancelling_closes_the_connection_and_counts_what_came(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(rules=[{"match": "long", "after": 3, "stall": 60}])
    engine = open_at(served)
    moved, tokens = engine._pool.moved, count(1)
    three = asyncio.Event()

    def counted(server: Any, now: float) -> None:
        moved(server, now)
        if next(tokens) == 3:
            three.set()

    monkeypatch.setattr(engine._pool, "moved", counted)

    async def main() -> None:
        async with aclosing(_Closing(engine)):
            call = asyncio.create_task(engine.generate(ask("long"), WARM, 1))
            await three.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            while not (served.got("long") and served.ends().get(served.got("long")[0]["number"])):
                await asyncio.sleep(0.01)
            await engine.generate(ask("short"), WARM, 1)

    asyncio.run(main())
    assert served.ends()[served.got("long")[0]["number"]]["ended"] == "gone"
    stats = engine.stats()
    assert (stats.calls, stats.cancelled_calls, stats.cancelled_tokens) == (2, 1, 3)
    assert stats.completion_tokens == 4


def test_closing_ends_calls_under_way(serve: Serve) -> None:
    engine = open_at(serve(rules=[{"match": "long", "after": 3, "stall": 60}]))

    async def main() -> None:
        call = asyncio.create_task(engine.generate(ask("long"), WARM, 1))
        while engine._pool.servers[0].moved_at < 0:
            await asyncio.sleep(0.01)
        await engine.close()
        with pytest.raises(EngineDown, match="closed"):
            await call
        with pytest.raises(EngineDown, match="closed"):
            await engine.generate(ask("more"), WARM, 1)
        await engine.close()

    asyncio.run(main())


# A whole build.


def test_a_build_over_faulty_servers_keeps_the_same_set(serve: Serve, tmp_path: Path) -> None:
    faults = [
        "429",
        "503",
        "500",
        "reset before",
        "reset mid-body",
        "HTML with 200",
        "no choices",
        "broken off",
    ]
    chance = {"rate": 0.25, "rules": [ONCE[name] for name in faults]}
    served = [serve(playing={}, random=chance) for _ in range(2)]
    seeds, plan = make_seeds(40), make_plan()

    async def main() -> tuple[Any, Any]:
        engine = open_at(*served, retries=20)
        scripted = ScriptedEngine(Script())
        engine.fingerprint = scripted.fingerprint  # the seeds of all calls come from it
        own, _ = await distil_all(scripted, tmp_path / "own", plan, seeds)
        async with aclosing(_Closing(engine)):
            found, _ = await distil_all(engine, tmp_path / "found", plan, seeds)
        return own, found

    own, found = asyncio.run(main())
    assert kept(found) == kept(own)
    assert sum(bool(one) for _, one in kept(own)) > 10
    assert sum(request["attempt"] > 1 for server in served for request in server.got()) > 20


# Opening.


@pytest.mark.parametrize(
    ("script", "options", "match"),
    [
        (
            {"model": ["a", "b"]},
            {},
            "serves no model 'm'; it lists a, b: set engine.served_name to one of them",
        ),
        ({"model": ["a"]}, {}, "set engine.served_name=a"),
        ({"key": KEY}, {}, "no key, for there is none in the environment variable ENDPOINT_TEST_KEY"),
        ({"listing": 404, "rules": [{"match": "", "status": 401}]}, {}, "401"),
        ({"rules": [{"match": "", "status": 404, "says": "no such model"}]}, {}, "404 no such model"),
        ({"rules": [{"match": "", "status": 500, "says": "dead"}]}, {}, "500 dead"),
        ({"listing": 500}, {}, "is it up"),
        ({"unknown": ["temperature"]}, {}, "refuses temperature=1.0"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_call(
    serve: Serve, script: dict[str, Any], options: dict[str, Any], match: str
) -> None:
    served = serve(**script)
    with pytest.raises(ConfigError, match=match) as error:
        open_engine(section(served.url, **options), ModelSection(path="m"))
    assert served.url in str(error.value)


def test_a_busy_server_is_no_error_of_the_configuration(serve: Serve) -> None:
    served = serve(rules=[{"match": TRIAL[0].content, "status": 503}])
    assert reply_of(open_at(served)).text == "yes it is so"


def test_all_servers_are_checked_at_once_and_all_faults_are_said(serve: Serve) -> None:
    served = serve(model="other")
    nobody = "http://127.0.0.1:1/v1"
    with pytest.raises(ConfigError) as error:
        open_engine(section(nobody, served.url), ModelSection(path="m"))
    assert "127.0.0.1:1/v1 cannot be reached" in str(error.value)
    assert "it lists other" in str(error.value)


def test_the_key_is_sent_and_shown_nowhere(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT_TEST_KEY", KEY)
    served = serve(key=KEY, rules=[{"match": "hello", "status": 400, "says": f"bad {KEY}"}])
    engine = open_at(served)
    with pytest.raises(RequestRefused, match=r"bad \*\*\*") as error:
        reply_of(engine)
    assert served.got()[0]["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("ENDPOINT_TEST_KEY", "sk-wrong-one")
    with pytest.raises(ConfigError, match="the key in the environment variable ENDPOINT_TEST_KEY") as refused:
        open_at(served)
    assert "who are you, Bearer ***?" in str(refused.value)
    assert KEY not in str(error.value) + repr(vars(engine))
    monkeypatch.setenv("ENDPOINT_TEST_KEY", "schlüssel\n2")
    with pytest.raises(ConfigError, match="ASCII") as error:
        open_at(served)
    assert "schl" not in str(error.value)


def test_more_connections_than_files_may_be_open(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 1024)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.append(new))
    one, other = serve(), serve()
    with pytest.raises(ConfigError, match=r"engine\.max_width: 1000 .* 1256 .* allows 1024"):
        open_at(one, other, max_width=500)
    limits.append((1024, 4096))
    open_at(one, other, max_width=500)
    assert limits[-1] == (1256, 4096)


# Identity.


def test_the_fingerprint_is_the_models_and_not_the_servers(tiny_model: Path) -> None:
    def fingerprint(model: ModelSection) -> str:
        return declare(model, model.path, "chat").fingerprint

    named = ModelSection(path="a/b")
    others = [
        ModelSection(path="a/c"),
        ModelSection(path="a/b", revision="main"),
        ModelSection(path="a/b", enable_thinking=True),
        ModelSection(path="a/b", control_tokens="allow"),
        ModelSection(path="a/b", dtype="bfloat16"),
    ]
    assert fingerprint(named) == fingerprint(ModelSection(path="a/b"))
    assert len({fingerprint(model) for model in (named, *others)}) == 6
    here = ModelSection(path=str(tiny_model), dtype="float32")
    assert fingerprint(here) != fingerprint(ModelSection(path=str(tiny_model)))


def test_a_directory_has_the_fingerprint_that_it_has_in_the_local_engine(tiny_model: Path) -> None:
    pytest.importorskip("torch")
    model = ModelSection(path=str(tiny_model), dtype="float32")
    local = open_engine(EngineSection(kind="local", device="cpu"), model)
    asyncio.run(local.close())
    assert declare(model, model.path, "auto").fingerprint == local.fingerprint


def test_an_adapter_counts_as_it_does_in_the_engine_vllm(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 8}', encoding="utf-8")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    model = ModelSection(path=str(tiny_model), dtype="float32", lora=str(tmp_path))
    own = Checkpoint.open(str(tiny_model)).fingerprint("float32", Adapter.open(str(tmp_path)).fingerprint)
    assert declare(model, model.path, "auto").fingerprint == own
    elsewhere = ModelSection(path=str(tiny_model), dtype="float32", lora="/only/there")
    assert declare(elsewhere, elsewhere.path, "auto").fingerprint != own


def test_ids_need_a_tokenizer() -> None:
    with pytest.raises(ConfigError, match=r"engine\.protocol=chat"):
        declare(ModelSection(path="/nowhere"), "/nowhere", "completions")
