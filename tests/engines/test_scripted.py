"""The test double itself: its roles, rates, simulated time and log."""

import asyncio
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from veridistill import prompts
from veridistill.config import EngineSection, ModelSection
from veridistill.decide import final_text, read_verdict, split
from veridistill.engines import open_engine
from veridistill.engines.scripted import END_ID, Script, ScriptedEngine, right_answer, role_of
from veridistill.errors import ConfigError, EngineDown, RequestRefused
from veridistill.records import Completion, Message, Messages, Sampling

SAMPLING = Sampling(0.8, 0.95, 0, 4096)
QUESTION = "How many legs have seven spiders?"
VALUES = {"question": QUESTION, "answer": "Step by step. \\boxed{56}\n[/answer]\n[[Y]]", "inferred": "Legs?"}


def ask(text: str) -> Messages:
    return (Message("user", text),)


def replies(engine: ScriptedEngine, text: str, num: int) -> list[Completion]:
    async def main() -> list[Completion]:
        return [await engine.generate(ask(text), SAMPLING, seed) for seed in range(num)]

    return asyncio.run(main())


@pytest.mark.parametrize("name", prompts.NAMES)
@pytest.mark.parametrize(
    "role", ["solve_math", "solve_code", "infer", "compare", "factuality", "correctness", "simple"]
)
def test_roles_are_read_from_the_prompts(name: str, role: str) -> None:
    prompt = prompts.fill(getattr(prompts.load(name), role), **VALUES)
    assert role_of(prompt) == role.partition("_")[0]


def test_a_plain_question_is_solved() -> None:
    assert role_of("What is [answer]\n in\n[/answer]?") == "infer"  # a block is a block
    assert role_of(QUESTION) == "solve"


def test_replies_depend_on_the_request_alone(scripted: ScriptedEngine) -> None:
    assert replies(scripted, QUESTION, 50) == replies(ScriptedEngine(Script()), QUESTION, 50)
    assert len({reply.text for reply in replies(scripted, QUESTION, 50)}) > 25


@pytest.mark.parametrize("reasoning", [False, True])
def test_rates_and_correlation(reasoning: bool) -> None:
    script = Script(well_formed=0.9, right=0.5, correctness=(0.9, 0.2), invalid=0.1, reasoning=reasoning)
    engine, num = ScriptedEngine(script), 2000
    assert engine.reasons is reasoning
    solved = replies(engine, QUESTION, num)
    right = f"\\boxed{{{right_answer(QUESTION)}}}"
    formed = [c for c in solved if "boxed" in c.text and c.finish_reason == "stop"]
    good = [c for c in formed if right in c.text]
    bad = [c for c in formed if right not in c.text]
    assert len(formed) / num == pytest.approx(0.9, abs=0.03)
    assert len(good) / len(formed) == pytest.approx(0.5, abs=0.04)
    assert any(c.finish_reason == "length" for c in solved)
    template = prompts.load("compact").correctness
    for candidate, rate in ((good[0], 0.9), (bad[0], 0.2)):
        prompt = prompts.fill(template, question=QUESTION, answer=split(candidate.text).answer)
        ballots = [read_verdict(c, reasoning).ballot for c in replies(engine, prompt, num)]
        assert ballots.count("invalid") / num == pytest.approx(0.1, abs=0.03)
        assert ballots.count("yes") / num / 0.9 == pytest.approx(rate, abs=0.04)


def test_quality_passes_through_an_inferred_question() -> None:
    engine, compact = ScriptedEngine(Script(compare=(1.0, 0.0), invalid=0.0)), prompts.load("compact")
    for candidate in [
        c for c in replies(engine, QUESTION, 60) if "boxed" in c.text and c.finish_reason == "stop"
    ]:
        inferred = final_text(replies(engine, prompts.fill(compact.infer, answer=candidate.text), 1)[0])
        assert inferred is not None
        prompt = prompts.fill(compact.compare, question=QUESTION, inferred=inferred)
        ballot = read_verdict(replies(engine, prompt, 1)[0], False).ballot
        assert (ballot == "yes") == (f"{{{right_answer(QUESTION)}}}" in candidate.text)


def test_ids_and_lengths() -> None:
    for script in (Script(), Script(tokens=40)):
        for reply in replies(ScriptedEngine(script), QUESTION, 40):
            assert reply.token_ids is not None
            assert len(reply.token_ids) == reply.completion_tokens
            assert (reply.token_ids[-1] == END_ID) == (reply.finish_reason == "stop")
            assert len(reply.prompt_token_ids or ()) == reply.prompt_tokens == len(QUESTION.split())
    lengths = sorted(
        c.completion_tokens for c in replies(ScriptedEngine(Script(tokens=100, sigma=0.5)), QUESTION, 999)
    )
    assert lengths[499] == pytest.approx(100, rel=0.1)
    assert lengths[840] == pytest.approx(165, rel=0.15)  # one sigma up: e^0.5

    async def short() -> Completion:
        return await ScriptedEngine(Script(tokens=100)).generate(ask("q"), Sampling(1, 1, 0, 5), 1)

    assert (asyncio.run(short()).finish_reason, asyncio.run(short()).completion_tokens) == ("length", 5)


def test_functions_refusals_and_stats() -> None:
    engine = ScriptedEngine(lambda messages, sampling, seed: f"{messages[-1].content} {seed}")
    assert replies(engine, "hello", 2)[1].text == "hello 1"
    assert (engine.stats().calls, engine.stats().prompt_tokens, engine.stats().completion_tokens) == (2, 2, 6)
    with pytest.raises(RequestRefused):
        replies(ScriptedEngine(Script(refused=1.0)), "hello", 1)
    asyncio.run(engine.close())
    with pytest.raises(EngineDown):
        replies(engine, "hello", 1)


def test_virtual_time_serves_slots_in_order() -> None:
    engine = ScriptedEngine(
        lambda m, s, seed: Completion("x", "stop", 1, 10), seconds_per_token=1, slots=4, clock="virtual"
    )

    async def main() -> None:
        await asyncio.gather(*(engine.generate(ask("q"), SAMPLING, i) for i in range(10)))
        assert engine.now == 30
        assert engine.busy_seconds == 100
        await asyncio.gather(*(engine.generate(ask("q"), SAMPLING, i) for i in range(4)))
        assert engine.now == 40

    asyncio.run(main())


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_shuffling_changes_the_order_alone(clock: str) -> None:
    async def order(shuffle: int) -> tuple[list[int], list[Completion]]:
        engine = ScriptedEngine(Script(), shuffle=shuffle, clock=clock, slots=8)  # type: ignore[arg-type]
        done: list[int] = []

        async def one(seed: int) -> Completion:
            reply = await engine.generate(ask(QUESTION), SAMPLING, seed)
            done.append(seed)
            return reply

        return done, list(await asyncio.gather(*(one(seed) for seed in range(16))))

    (first, same), (second, again) = asyncio.run(order(1)), asyncio.run(order(2))
    assert same == again
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_cancelling_frees_the_slot_and_counts(clock: str) -> None:
    rate = 0.02 if clock == "real" else 1.0

    def reply(messages: Messages, sampling: Sampling, seed: int) -> Completion:
        return Completion("x", "stop", 1, 100 if seed else 10)

    async def main() -> None:
        engine = ScriptedEngine(reply, seconds_per_token=rate, slots=2, clock=clock)  # type: ignore[arg-type]
        short, *long = [asyncio.create_task(engine.generate(ask("q"), SAMPLING, seed)) for seed in range(4)]
        await short
        for task in long:
            task.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        stats = engine.stats()
        assert stats.cancelled_calls == 3
        # The first long one ran beside the short one; by the real clock both went on until they were cancelled.
        assert stats.cancelled_tokens == 10 if clock == "virtual" else 10 <= stats.cancelled_tokens < 200
        await engine.generate(ask("q"), SAMPLING, 0)

    asyncio.run(main())


def test_virtual_time_waits_for_other_threads() -> None:
    asked, enough = count(1), asyncio.Event()

    def busy() -> bool:
        if next(asked) == 100:
            enough.set()
        return not released

    released: list[bool] = []
    engine = ScriptedEngine(Script(), seconds_per_token=1, clock="virtual", busy=busy)

    async def main() -> None:
        call = asyncio.create_task(engine.generate(ask("q"), SAMPLING, 0))
        await enough.wait()
        assert not call.done()
        released.append(True)
        await call

    asyncio.run(main())


def test_the_log_survives_a_kill(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from veridistill.engines.scripted import ScriptedEngine\n"
        "from veridistill.records import Message, Sampling\n"
        "engine = ScriptedEngine(log=pathlib.Path(sys.argv[1]))\n"
        "async def main():\n"
        "    for seed in range(7): await engine.generate((Message('user', 'q'),), Sampling(1, 1, 0, 9), seed)\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", program, str(log)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    assert log.read_text(encoding="ascii").split() == [str(seed) for seed in range(7)]


def test_scripts_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text("right: 0.25\ncorrectness: [0.9, 0.1]\nslots: 8\nreasoning: true\n", encoding="utf-8")
    script = Script.load(path)
    assert script == Script(script.name, right=0.25, correctness=(0.9, 0.1), slots=8, reasoning=True)
    engine = open_engine(EngineSection(kind="scripted", script=str(path)), ModelSection())
    assert (engine.capacity, engine.reasons) == (8, True)


def test_a_script_from_a_file_is_named_for_its_replies(tmp_path: Path) -> None:
    def name(text: str) -> str:
        (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
        return Script.load(tmp_path / "s.yaml").name

    assert name("slots: 3\nclock: virtual\nseconds_per_token: 1") == Script().name
    assert name("right: 0.1") == name("right: 0.1\nslots: 3") != name("right: 0.2")
    assert name("right: 0.1\nname: mine") == "mine"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("rihgt: 1", "unknown key rihgt"),
        ("right: 1.5", r"right must be between 0 and 1 \(found 1.5\)"),
        ("right: yes", "right must be a number"),
        ("simple: 0.5", "a pair of rates"),
        ("slots: 0", "from 1 up"),
        ("clock: lunar", "real or virtual"),
        ("- 1", "must be a mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_wrong_scripts(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=match):
        Script.load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Script.load(tmp_path / "missing.yaml")
