"""Prompts that begin alike: what is computed once, what is kept, and that no logit knows the difference."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from veridistill.engines.local import LocalEngine, pool, slots  # noqa: E402
from veridistill.engines.local.pool import RowByRow  # noqa: E402
from veridistill.engines.local.prefixes import BLOCK, Prefixes, Stretch, blocks_of  # noqa: E402
from veridistill.engines.local.slots import Slots  # noqa: E402
from veridistill.records import Message, Sampling  # noqa: E402

ROOM = 1 << 20


def tokens(num: int, kind: int = 0) -> list[int]:
    return [(5 * i * i + 7 * i + 11 * kind) % 271 + 3 for i in range(num)]


def test_a_block_is_its_tokens_and_all_before_it() -> None:
    text = tokens(3 * BLOCK)
    assert len(blocks_of(text)) == len(blocks_of([*text, *text[: BLOCK - 1]])) == 3
    assert blocks_of(text[: 2 * BLOCK]) == blocks_of(text)[:2]
    assert len(set(blocks_of(text[:BLOCK] * 3))) == 3
    changed = [text[0] + 1, *text[1:]]
    assert not set(blocks_of(changed)) & set(blocks_of(text))


class Store:
    """Prefixes with room for a few blocks, of one layer with one head of one number."""

    def __init__(self, num_blocks: int) -> None:
        self.slots = (torch.zeros(4, 1, 64, 1), torch.zeros(4, 1, 64, 1))
        self.prefixes = Prefixes(num_blocks * BLOCK * 2 * 4)

    def save(self, *texts: list[int]) -> None:
        for row, text in enumerate(texts):
            for sign, slot in zip((1, -1), self.slots, strict=True):
                slot[row, 0, : len(text), 0] = sign * torch.tensor(text)
        self.prefixes.save(self.slots, [Stretch(row, blocks_of(text)) for row, text in enumerate(texts)])

    def holds(self, text: list[int]) -> int:
        return self.prefixes.count(blocks_of(text))


def test_what_was_saved_is_loaded_into_any_row() -> None:
    store, one, two = Store(9), tokens(50), tokens(40, 1)
    store.save(one, two)
    for slot in store.slots:
        slot.zero_()
    kept = [Stretch(3, blocks_of(one)), Stretch(1, blocks_of(two)[:1])]
    store.prefixes.load(store.slots, kept)
    for sign, slot in zip((1, -1), store.slots, strict=True):
        assert (sign * slot[3, 0, :, 0]).tolist() == one[:48] + [0] * 16
        assert (sign * slot[1, 0, :, 0]).tolist() == two[:16] + [0] * 48
        assert not slot[[0, 2]].any()


def test_the_blocks_used_longest_ago_make_way_and_ends_before_beginnings() -> None:
    one, two, three = (tokens(2 * BLOCK, kind) for kind in range(3))
    store = Store(5)
    store.save(one)
    store.save(two)
    store.save(one)  # used again
    store.save(three)
    assert [store.holds(text) for text in (one, two, three)] == [2, 1, 2]
    store.save(tokens(7 * BLOCK, 3)[: 3 * BLOCK])
    assert [store.holds(text) for text in (one, two, three)] == [0, 0, 2]


def test_a_text_longer_than_the_room_keeps_its_beginning() -> None:
    store, text = Store(2), tokens(4 * BLOCK)
    store.save(text)
    store.save(text)
    assert store.holds(text) == 2
    store.prefixes.close()
    assert store.holds(text) == 0
    store.save(text)
    assert store.holds(text) == 0


# The slots of a real tiny model.

CONFIGS: dict[str, dict[str, object]] = {
    "full": {},
    "sliding": {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 0},
    "mixed": {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1},
}


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: Any, make_tiny_model: Callable[..., Path]) -> Any:
    path = make_tiny_model(**CONFIGS[request.param])
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


@pytest.fixture
def computed(model: Any) -> Iterator[list[tuple[int, int]]]:
    """The shapes of the inputs of all passes over prompts."""
    shapes: list[tuple[int, int]] = []

    def note(_module: Any, _inputs: Any, named: dict[str, Any]) -> None:
        if named["input_ids"].shape[1] > 1:
            shapes.append(tuple(named["input_ids"].shape))

    handle = model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    yield shapes
    handle.remove()


def step(rows: Any, prompts: Sequence[Sequence[int]]) -> Any:
    last = torch.tensor([prompt[-1] for prompt in prompts])
    position = torch.tensor([len(prompt) - 1 for prompt in prompts])
    return rows.step(last, position, max(map(len, prompts)))


def alone(model: Any, prompts: Sequence[Sequence[int]]) -> Any:
    rows = RowByRow(model)
    rows.add(prompts)
    return step(rows, prompts)


QUESTION, ANSWERS = tokens(75), [tokens(20 + 9 * i, i) for i in range(1, 4)]
JUDGED = [QUESTION + answer + stage for answer in ANSWERS for stage in (tokens(19, 7), tokens(30, 8))]


@torch.inference_mode()
def test_a_tree_of_prompts_is_computed_once_and_every_logit_is_right(
    model: Any, computed: list[tuple[int, int]]
) -> None:
    prompts = [*JUDGED, *JUDGED[:2], tokens(9, 9), [5], JUDGED[0][:49]]
    rows = Slots(model, 16, ROOM)
    reused = rows.add(prompts)
    in_common = [0, 96, 64, 112, 64, 112]  # whole blocks of the question; of question and answer
    assert sorted(reused[:6]) == sorted(in_common)
    assert reused[6:9] == [len(JUDGED[0]) - 1, len(JUDGED[1]) - 1, 0]
    assert reused[10] == 48
    bodies = sum(len(prompt) - 1 for prompt in prompts)
    assert bodies - sum(reused) <= sum(n * m for n, m in computed) < 0.5 * bodies
    logits = step(rows, prompts)
    torch.testing.assert_close(logits, alone(model, prompts), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_later_prompts_find_what_earlier_rows_left(model: Any) -> None:
    rows = Slots(model, 16, ROOM)
    rows.add([tokens(33, 3), JUDGED[0], JUDGED[2]])
    rows.keep([])
    assert rows.add([JUDGED[1], JUDGED[0], JUDGED[4], tokens(20, 9)]) == [96, 112, 64, 0]
    prompts = [JUDGED[1], JUDGED[0], JUDGED[4], tokens(20, 9)]
    torch.testing.assert_close(step(rows, prompts), alone(model, prompts), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_without_room_for_anything_all_is_computed_and_right(model: Any) -> None:
    rows = Slots(model, 16, 0)
    assert rows.add(JUDGED) == [0] * 6
    torch.testing.assert_close(step(rows, JUDGED), alone(model, JUDGED), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_long_prompts_are_computed_in_pieces(
    model: Any, computed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_PREFILL_TOKENS", 40)
    rows, prompts = Slots(model, 4, ROOM), [tokens(120), tokens(12, 1), tokens(14, 2)]
    rows.add(prompts)
    assert sorted(computed) == [(1, 39), (1, 40), (1, 40), (2, 13)]
    torch.testing.assert_close(step(rows, prompts), alone(model, prompts), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_when_memory_runs_out_what_was_kept_goes_first_and_for_good(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, compute = Slots(model, 4, ROOM), Slots._compute
    rows.add(JUDGED[:1])

    def failing(self: Slots, group: Any) -> None:
        monkeypatch.setattr(Slots, "_compute", compute)
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Slots, "_compute", failing)
    with pytest.raises(torch.OutOfMemoryError):
        rows.add(JUDGED[1:2])
    rows.keep([0])
    assert rows.add(JUDGED[1:2]) == [0]
    assert rows.add(JUDGED[1:2]) == [0]
    rows.keep([0, 1])
    prompts = JUDGED[:2]
    torch.testing.assert_close(step(rows, prompts), alone(model, prompts), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_rows_move_whole_after_shorter_prompts_joined(model: Any) -> None:
    rows, prompts = Slots(model, 4, ROOM), [tokens(12, 1), tokens(90)]
    rows.add(prompts)
    rows.add([tokens(9, 2)])
    rows.keep([1])
    torch.testing.assert_close(step(rows, prompts[1:]), alone(model, prompts[1:]), rtol=1e-4, atol=1e-4)


# The engine.

TEXT = "the question is what is asked in the answer and " * 4
CALLS = [
    ((Message("user", f"{TEXT} {answer} {answer} {stage}"),), Sampling(0.8, 0.95, 0, 12), 10 * vote + answer)
    for answer in range(3)
    for stage in ("is the answer what is asked?", "what is the question?")
    for vote in range(3)
]


def test_seeded_replies_are_those_without_sharing(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def replies(concurrent: int) -> tuple[list[Any], int]:
        engine = LocalEngine.load(str(tiny_model), device="cpu", batch_size=concurrent, threads=1)
        made = await asyncio.gather(*(engine.generate(*call) for call in CALLS))
        stats = engine.stats()
        await engine.close()
        assert stats.prompt_tokens == sum(reply.prompt_tokens for reply in made)
        return list(made), stats.reused_tokens

    shared, num_shared = asyncio.run(replies(4))
    whole = sum(reply.prompt_tokens for reply in shared)
    assert 0.7 * whole < num_shared < whole - len(CALLS)
    monkeypatch.setattr(pool, "_prefix_bytes", lambda _: 0)
    apart, num_apart = asyncio.run(replies(1))
    assert num_apart == 0
    assert shared == apart
