"""The ray engine on a small cluster of its own: conformance, deaths, nodes that come, and errors told in seconds."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")

from tests.engines.conformance import (  # noqa: E402
    CHECKS,
    Check,
    Subject,
    check_other_policies,
    one_at_a_time,
    pairs,
    until,
)
from tests.engines.models import Model, save_talkative  # noqa: E402
from tests.harness import distil_all, kept, make_plan, make_seeds  # noqa: E402
from veridistill.config import BuildSection, EngineSection, ModelSection  # noqa: E402
from veridistill.engines import open_engine  # noqa: E402
from veridistill.engines.base import Engine, EngineStats, Rendering  # noqa: E402
from veridistill.engines.local import LocalEngine  # noqa: E402
from veridistill.engines.ray.cluster import connect  # noqa: E402
from veridistill.engines.ray.engine import RayEngine  # noqa: E402
from veridistill.engines.ray.pool import Pool  # noqa: E402
from veridistill.engines.ray.replica import PULSE, Asked, Replica  # noqa: E402
from veridistill.engines.ray.routing import Call, Held, route  # noqa: E402
from veridistill.engines.scripted import Script, ScriptedEngine  # noqa: E402
from veridistill.errors import ConfigError, EngineDown  # noqa: E402
from veridistill.records import Completion, Message, Messages, Sampling  # noqa: E402

pytestmark = pytest.mark.ray

Run = Callable[[Awaitable[Any]], Any]
SAMPLING = Sampling(0.8, 0.95, 0, 256)
SLOW = "tokens: 20\nsigma: 0.3\nseconds_per_token: 0.001\nslots: 16\n"
ENDLESS = "tokens: 256\nsigma: 0\nseconds_per_token: 1\nslots: 16\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head node with room for two replicas and one `seat`; tests may add nodes."""
    import ray
    from ray.cluster_utils import Cluster

    head = {
        "num_cpus": 2,
        "resources": {"seat": 1},
        "include_dashboard": False,
        "object_store_memory": 100 << 20,
    }
    found = Cluster(initialize_head=True, head_node_args=head)
    connect(found.address)
    yield found
    ray.shutdown()
    found.shutdown()


def open_ray(model: Path | str = "lab", **fields: Any) -> RayEngine:
    section = EngineSection.model_validate({"kind": "ray", "replica": "scripted", "replicas": 2} | fields)
    engine = open_engine(section, ModelSection(path=str(model)))
    assert isinstance(engine, RayEngine)
    return engine


def actors() -> list[Any]:
    """The processes of the replicas under this one."""
    return [p for p in psutil.Process().children(recursive=True) if "ray::Replica" in " ".join(cmdline(p))]


def cmdline(process: Any) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


async def ready(engine: Engine, capacity: int) -> None:
    async def there() -> bool:
        return engine.capacity == capacity

    await until(there, f"at capacity {capacity}", 60)


def script(folder: Path, text: str) -> str:
    path = folder / "script.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def ask(number: int) -> Messages:
    return (Message("user", f"What is {number} plus 1?"),)


# The contract.


def subject(directory: Path, run: Run) -> Subject:
    engine = open_ray(directory, replica="local", batch_size=8, threads=1, device="cpu")
    run(ready(engine, 32))

    async def idle() -> bool:
        before = engine.stats()
        await asyncio.sleep(3 * PULSE)
        return engine.stats() == before

    return Subject(engine, run, idle, lambda: [str(p) for p in actors()], Model(directory))


@pytest.fixture(scope="module")
def subject_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Subject]]:
    def make(run: Run) -> Subject:
        return subject(save_talkative(tmp_path_factory.mktemp("talkative")), run)

    with one_at_a_time({"ray": make}) as found:
        yield found


@pytest.mark.parametrize(
    ("name", "check"), pairs({"ray": [c for c in CHECKS if c is not check_other_policies]})
)
def test_the_contract(name: str, check: Check, cluster: Any, subject_of: Callable[[str], Subject]) -> None:
    check(subject_of(name))


# Deaths.


async def kill_one(engine: RayEngine, calls: int) -> int:
    """SIGKILL a replica once so many calls were counted; returns how many calls it held."""

    async def enough() -> bool:
        return engine.stats().calls >= calls and all(replica.held for replica in engine._pool._replicas)

    await until(enough, "at work", 60)
    victim = engine._pool._replicas[0]
    held = len(victim.held)
    os.kill(int(str(victim.place).rpartition("process ")[2].rstrip(")")), signal.SIGKILL)
    return held


def rows(journal: Path) -> list[bytes]:
    connection = sqlite3.connect(journal)
    found = [key for (key,) in connection.execute("SELECT key FROM replies WHERE status = 'ok'")]
    connection.close()
    return found


def test_a_replica_dies_in_a_build_and_nothing_differs(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, plan, seeds = script(tmp_path, SLOW), make_plan(n=4, v=2), make_seeds(120)
    build = BuildSection(audit_share=0, order="paper", speculation="off")
    plain = ScriptedEngine(Script.load(Path(path)))
    expected, _ = asyncio.run(distil_all(plain, tmp_path / "plain.sqlite", plan, seeds, build=build))

    async def main() -> list[Any]:
        engine = await asyncio.to_thread(open_ray, script=path)
        try:
            await ready(engine, 32)
            killing = asyncio.create_task(kill_one(engine, 300))
            found, _ = await distil_all(engine, tmp_path / "ray.sqlite", plan, seeds, build=build)
            assert await killing > 0
            await ready(engine, 32)
            return found
        finally:
            await engine.close()

    assert kept(asyncio.run(main())) == kept(expected)
    asked, needed = rows(tmp_path / "ray.sqlite"), rows(tmp_path / "plain.sqlite")
    assert len(set(asked)) == len(asked)
    assert set(asked) == set(needed)
    assert capsys.readouterr().out == "", "stdout is data"


def test_what_a_dead_replica_held_is_asked_again_and_nothing_else(cluster: Any, tiny_model: Path) -> None:
    calls = [(ask(i % 40), Sampling(0.9, 1.0, 0, 40), i) for i in range(240)]

    async def all_of(engine: Engine) -> list[Completion]:
        return await asyncio.gather(*(engine.generate(*call) for call in calls))

    async def main() -> tuple[list[Completion], EngineStats]:
        engine = await asyncio.to_thread(
            open_ray, tiny_model, replica="local", batch_size=8, threads=1, device="cpu"
        )
        try:
            await ready(engine, 32)
            killing = asyncio.create_task(kill_one(engine, 1))
            replies = await all_of(engine)
            assert await killing > 0
            return replies, engine.stats()
        finally:
            await engine.close()

    replies, counted = asyncio.run(main())
    plain = LocalEngine.load(str(tiny_model), device="cpu", batch_size=8, threads=1)
    assert replies == asyncio.run(all_of(plain))
    asyncio.run(plain.close())
    # Each call once, though the dead replica had begun some of them.
    assert counted.calls == len(calls)
    assert counted.prompt_tokens == sum(reply.prompt_tokens for reply in replies)
    assert counted.completion_tokens == sum(reply.completion_tokens for reply in replies)
    assert counted.retries > 0
    assert counted.decoded_tokens >= counted.completion_tokens


def test_a_replica_that_dies_again_and_again_is_given_up(cluster: Any, tmp_path: Path) -> None:
    async def main() -> None:
        engine = await asyncio.to_thread(open_ray, script=script(tmp_path, ENDLESS), replicas=1)
        call = asyncio.create_task(engine.generate(ask(0), SAMPLING, 0))
        killed: set[int] = set()
        while not call.done():
            for process in actors():
                if process.pid not in killed and engine._pool._replicas[0].handle is not None:
                    killed.add(process.pid)
                    process.kill()
            await asyncio.sleep(0.1)
        with pytest.raises(EngineDown, match=r"every replica .* is gone; the last one: "):
            await call
        assert len(killed) == 3
        with pytest.raises(EngineDown, match="is gone"):
            await engine.generate(ask(1), SAMPLING, 1)
        await engine.close()

    asyncio.run(main())


def test_a_replica_with_another_model_ends_the_run(cluster: Any, tmp_path: Path) -> None:
    async def main() -> None:
        engine = await asyncio.to_thread(open_ray, script=script(tmp_path, ENDLESS), replicas=1)
        call = asyncio.create_task(engine.generate(ask(0), SAMPLING, 0))
        await asyncio.sleep(2 * PULSE)
        script(tmp_path, ENDLESS + "reasoning: true\n")
        actors()[0].kill()
        with pytest.raises(EngineDown, match=r"holds another model.*True.*against.*False.*model\.path"):
            await call
        await engine.close()

    asyncio.run(main())


# Replicas that come, calls that go.


def test_a_replica_joins_when_its_node_does_and_leaves_with_it(cluster: Any, tmp_path: Path) -> None:
    async def main() -> None:
        engine = await asyncio.to_thread(
            open_ray, script=script(tmp_path, SLOW), actor_cpus=0, actor_resources={"seat": 1}
        )
        assert engine.capacity == 16
        widths: list[int] = []
        await engine.generate(ask(0), SAMPLING, 0)
        engine.resized = lambda: widths.append(engine.capacity)
        node = cluster.add_node(num_cpus=0, resources={"seat": 1}, object_store_memory=100 << 20)
        await ready(engine, 32)
        replies = [asyncio.create_task(engine.generate(ask(i), SAMPLING, i)) for i in range(400)]
        await asyncio.sleep(0.1)
        assert all(replica.held for replica in engine._pool._replicas)
        cluster.remove_node(node, allow_graceful=False)
        assert len(await asyncio.gather(*replies)) == 400
        await ready(engine, 16)
        assert (widths[0], widths[-1]) == (32, 16)
        await engine.close()

    asyncio.run(main())


def test_settings_that_a_replicas_engine_never_takes_are_no_death_of_it() -> None:
    class Strict(ScriptedEngine):
        async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion:
            raise ConfigError("not so hot")

    async def main() -> None:
        replica = Replica(EngineSection(kind="scripted"), ModelSection(path="one"))
        replica._engine = Strict(Script())
        await replica.put([Asked(1, ask(0), SAMPLING, 0)], [])
        ((number, outcome),) = (await replica.take()).outcomes
        assert (number, type(outcome), str(outcome)) == (1, ConfigError, "not so hot")

    asyncio.run(main())


def test_cancelled_calls_end_inside_the_replicas(cluster: Any, tmp_path: Path) -> None:
    async def main() -> None:
        engine = await asyncio.to_thread(open_ray, script=script(tmp_path, ENDLESS), replicas=1)
        calls = [asyncio.create_task(engine.generate(ask(i), SAMPLING, i)) for i in range(5)]

        (replica,) = engine._pool._replicas

        async def confirmed() -> bool:
            return len(replica.held) == 5 and not replica.under_way

        async def ended() -> bool:
            return replica.stats.cancelled_calls == 5

        await until(confirmed, "confirmed")
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await until(ended, "ended")
        assert not replica.held
        await engine.close()
        assert engine.stats().cancelled_calls == 5

    asyncio.run(main())


# Messages.


class Wire:
    """Stands for an actor: messages are confirmed, or fail, when a test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[list[int], list[int]]] = []
        self.confirmations: list[asyncio.Future[None]] = []
        self.put = self

    def remote(self, requests: list[Asked], cancelled: list[int]) -> "asyncio.Future[None]":
        self.sent.append(([request.number for request in requests], list(cancelled)))
        self.confirmations.append(asyncio.get_running_loop().create_future())
        return self.confirmations[-1]


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def pool_of_one() -> tuple[Pool, Held, Wire]:
    pool = Pool(EngineSection(kind="ray", replica="scripted"), ModelSection(), lambda capacity: None)
    (replica,) = pool._replicas
    actor = Wire()
    replica.handle, replica.capacity = actor, 16
    return pool, replica, actor


def call_of(number: int) -> Call:
    loop = asyncio.get_running_loop()
    return Call(Asked(number, ask(number), SAMPLING, number), loop, loop.create_future())


def test_a_cancellation_waits_until_its_request_has_arrived() -> None:
    """Ray may deliver a small message before a large one that was sent earlier."""

    async def main() -> None:
        pool, _, actor = pool_of_one()
        calls = [call_of(number) for number in range(3)]
        for call in calls:
            pool.dispatch(call)
        await turns()
        pool.cancel(calls[1])
        await turns()
        assert actor.sent == [([0, 1, 2], [])]
        actor.confirmations[0].set_result(None)
        await turns()
        assert actor.sent[1:] == [([], [1])]
        actor.confirmations[1].set_result(None)
        pool.cancel(calls[2])
        await turns()
        assert actor.sent[2:] == [([], [2])]

    asyncio.run(main())


def test_a_message_that_fails_wakes_its_callers_and_no_others() -> None:
    async def main() -> None:
        pool, replica, actor = pool_of_one()
        lost, fine = call_of(0), call_of(1)
        pool.dispatch(lost)
        await turns()
        pool.dispatch(fine)
        await turns()
        actor.confirmations[0].set_exception(TypeError("cannot pickle it"))
        with pytest.raises(EngineDown, match=r"cannot take a request.*cannot pickle it"):
            await asyncio.wait_for(lost.future, 10)
        assert list(replica.held) == [1]
        assert not fine.future.done()

    asyncio.run(main())


def test_a_message_that_is_lost_ends_the_replicas_life(cluster: Any, tmp_path: Path) -> None:
    """Its calls are asked again in the next one."""
    from ray.exceptions import ActorUnavailableError

    async def main() -> None:
        engine = await asyncio.to_thread(open_ray, script=script(tmp_path, SLOW), replicas=1)
        (replica,) = engine._pool._replicas
        actor = replica.handle

        class Losing(Wire):
            take, close = actor.take, actor.close

            def remote(self, *message: Any) -> "asyncio.Future[None]":
                lost = super().remote(*message)
                lost.set_exception(ActorUnavailableError("no way through", None))
                return lost

        replica.handle = Losing()
        reply = await asyncio.wait_for(engine.generate(ask(0), SAMPLING, 0), 60)
        assert reply.finish_reason in ("stop", "length")
        assert replica.handle is not actor
        assert (engine.stats().calls, engine.stats().completion_tokens) == (1, reply.completion_tokens)
        await engine.close()

    asyncio.run(main())


def test_a_request_that_no_actor_can_read_fails_alone(cluster: Any, tmp_path: Path) -> None:
    class Unreadable(str):
        def __reduce__(self) -> Any:
            raise TypeError("not to be pickled")

    async def main() -> None:
        engine = await asyncio.to_thread(open_ray, script=script(tmp_path, SLOW), replicas=1)
        with pytest.raises(EngineDown, match="cannot take a request"):
            await asyncio.wait_for(engine.generate((Message("user", Unreadable("x")),), SAMPLING, 0), 60)
        assert (await engine.generate(ask(0), SAMPLING, 0)).completion_tokens
        await engine.close()

    asyncio.run(main())


def test_other_prompts_reach_the_same_replicas(cluster: Any, tiny_model: Path) -> None:
    async def main() -> None:
        engine = await asyncio.to_thread(
            open_ray, tiny_model, replica="local", batch_size=8, threads=1, device="cpu", replicas=1
        )
        off = await asyncio.to_thread(engine.rendered, Rendering(enable_thinking=False))
        plain = LocalEngine.load(str(tiny_model), device="cpu", enable_thinking=False)
        assert (off.fingerprint, off.reasons) == (plain.fingerprint, False)
        assert off.fingerprint != engine.fingerprint
        greedy = Sampling(0.0, 1.0, 0, 8)
        assert await off.generate(ask(0), greedy, 0) == await plain.generate(ask(0), greedy, 0)
        assert (await engine.generate(ask(0), greedy, 0)).prompt_tokens != (
            await off.generate(ask(0), greedy, 0)
        ).prompt_tokens
        assert len(actors()) == 1
        await plain.close()
        await engine.close()

    asyncio.run(main())


# Routing.


def held(number: int, calls: int, capacity: int = 100) -> Held:
    return Held(number, capacity=capacity, held=dict.fromkeys(range(calls)))  # type: ignore[arg-type]


def test_requests_of_one_question_go_to_one_replica() -> None:
    replicas = [held(number, 0) for number in range(8)]
    question = "a question with its answer " * 20
    homes = {route((Message("user", question + stage),), replicas).number for stage in ("one", "two")}
    assert len(homes) == 1
    spread = [route(ask(i), replicas).number for i in range(800)]
    assert min(spread.count(number) for number in range(8)) > 50
    fewer = [route(ask(i), replicas[:-1]).number for i in range(800)]
    assert [a for a in spread if a != 7] == [b for a, b in zip(spread, fewer, strict=True) if a != 7]


@pytest.mark.parametrize(
    ("at_home", "elsewhere", "stays"),
    [(0, 0, True), (25, 0, True), (26, 0, False), (99, 90, True), (100, 100, True)],
)
def test_a_busy_home_spills_to_the_idlest(at_home: int, elsewhere: int, stays: bool) -> None:
    home = route(ask(0), [held(0, 0), held(1, 0)]).number
    loads = [elsewhere, elsewhere]
    loads[home] = at_home
    chosen = route(ask(0), [held(number, load) for number, load in enumerate(loads)]).number
    assert (chosen == home) == stays or at_home == elsewhere == 100


# Errors.

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "resources": (
        {"actor_resources": {"unicorn": 2}},
        r"asks for CPU 1, unicorn 2 fits on no node .*CPU 2 .*unicorn 0",
    ),
    "gpus": ({"replica": "vllm"}, r"asks for CPU 1, GPU 1 fits on no node .*GPU 0"),
    "model": (
        {"replica": "local", "model": "/no/such/model"},
        r"model\.path: /no/such/model is not a directory",
    ),
    "model elsewhere": (
        {"replica": "local", "model": "/no/such/model", "address": "auto"},
        r"model\.path: /no/such/model is not a directory",
    ),
    "script": ({"script": "/no/such.yaml"}, r"engine\.script: /no/such\.yaml cannot be read"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_bad_settings_are_config_errors(cluster: Any, name: str) -> None:
    fields, message = FAULTS[name]
    with pytest.raises(ConfigError, match=message):
        open_ray(**fields)
    _, alive = psutil.wait_procs(actors(), timeout=10)
    assert not alive


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:10001"])
def test_a_cluster_that_is_not_there(address: str) -> None:
    program = (
        "from veridistill.config import EngineSection, ModelSection; from veridistill.engines import open_engine\n"
        f"open_engine(EngineSection(kind='ray', replica='scripted', address='{address}'), ModelSection())"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (
        f"ConfigError: engine.address: {'no Ray cluster at ' * (address[0] == '1')}{address}" in found.stderr
    )


# The command.


def test_the_command_is_interrupted_and_goes_on(tmp_path: Path) -> None:
    """On a Ray that it starts itself; nothing of it is left behind."""
    path, out = script(tmp_path, SLOW), tmp_path / "run"
    options = ["engine.kind=ray", "engine.replica=scripted", "engine.replicas=2", f"engine.script={path}"]
    command = [sys.executable, "-m", "veridistill", "build", "lab", "--limit", "60", "--out", str(out)]
    command += [word for option in options for word in ("-o", option)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    journal = out / "journal.sqlite"
    while first.poll() is None and not (journal.is_file() and len(_rows_of(journal)) >= 100):
        time.sleep(0.05)
    children = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=60)
    assert first.returncode == 130, told
    psutil.wait_procs(children, timeout=20)
    assert not [child for child in children if child.is_running()]
    before = _rows_of(journal)
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    after = _rows_of(journal)
    assert after[: len(before)] == before
    assert len(set(after)) == len(after) > len(before)


def _rows_of(journal: Path) -> list[bytes]:
    try:
        return rows(journal)
    except sqlite3.Error:
        return []
