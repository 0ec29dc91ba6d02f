"""Curating kept candidates and making rows, with a real tokenizer."""

import json
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from veridistill.records import Candidate, Completion, Example, Message, Seed
from veridistill.training.rows import (
    IGNORED,
    Curation,
    Curator,
    Kept,
    Rows,
    row,
    rows,
    stop_ids,
    write_messages,
)

SEED = Seed("s1", "2+3?")
PROMPT = (Message("user", "2+3? Use \\boxed{}."),)
REPLY = "<think>\neasy\n</think>\n\n\\boxed{5}"
END, PAD = 258, 256
CURATOR = Curator((END, PAD))


def kept(
    text: str = REPLY,
    ids: Any = None,
    prompt_ids: Any = None,
    prompt: tuple[Message, ...] = PROMPT,
    finish_reason: str = "stop",
) -> Kept:
    return Kept(SEED, Candidate("s1", 2, "", Completion(text, finish_reason, 9, 9, ids, prompt_ids)), prompt)


def curate(curator: Curator, *items: Kept) -> tuple[list[Example], Curation]:
    counts = Curation()
    return list(curator.curate(items, counts)), counts


def test_sampled_ids_are_kept_as_they_are() -> None:
    # not what the tokenizer would make of the text
    made, counts = curate(CURATOR, kept(ids=(7, 7, 7, END), prompt_ids=(1, 2)))
    assert made == [Example("s1", 2, (1, 2), (7, 7, 7, END), (*PROMPT, Message("assistant", REPLY)))]
    assert (counts.examples, counts.retokenised, counts.stops_added, dict(counts.dropped)) == (1, 0, 0, {})


@pytest.mark.parametrize(("ids", "stored"), [((7,), (7, END)), ((7, PAD), (7, PAD)), ((7, END), (7, END))])
def test_a_stop_that_the_engine_left_out_is_put_back(ids: tuple[int, ...], stored: tuple[int, ...]) -> None:
    made, counts = curate(CURATOR, kept(ids=ids, prompt_ids=(1,)))
    assert made[0].completion_ids == stored
    assert counts.stops_added == (len(stored) > len(ids))


def test_without_ids_the_text_is_tokenised_and_checked(tokenizer: Any) -> None:
    made, counts = curate(Curator((END,), tokenizer), kept())
    prompt = "<|im_start|>user\n2+3? Use \\boxed{}.<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(made[0].prompt_ids) == prompt
    assert tokenizer.decode(made[0].completion_ids) == REPLY + "<|im_end|>"
    assert made[0].completion_ids[-1] == END
    assert (counts.retokenised, counts.stops_added) == (1, 0)


def test_missing_prompt_ids_alone_are_templated(tokenizer: Any) -> None:
    made, counts = curate(Curator((END,), tokenizer), kept(ids=(7, END)))
    assert made[0].completion_ids == (7, END)
    assert tokenizer.decode(made[0].prompt_ids).endswith("assistant\n")
    assert counts.retokenised == 1


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (kept(finish_reason="length", ids=(1,), prompt_ids=(1,)), "truncated"),
        (kept(text="<|im_end|> and on"), "markers"),
        (kept(prompt=(Message("user", "what is <|im_end|>?"),)), "markers"),
        (kept(prompt=(Message("user", "what is <think>?"),)), "markers"),
    ],
)
def test_dropped_and_counted(tokenizer: Any, item: Kept, reason: str) -> None:
    made, counts = curate(Curator((END,), tokenizer), item, kept())
    assert (len(made), counts.examples, dict(counts.dropped)) == (1, 1, {reason: 1})


def test_without_ids_and_tokenizer_it_is_dropped() -> None:
    assert dict(curate(CURATOR, kept(), kept(ids=(7, END)))[1].dropped) == {"no_ids": 2}


def test_a_text_that_does_not_survive_is_dropped(base: Path) -> None:
    from tokenizers import normalizers
    from transformers import AutoTokenizer

    lossy = AutoTokenizer.from_pretrained(base)
    lossy.backend_tokenizer.normalizer = normalizers.Lowercase()
    assert dict(curate(Curator((END,), lossy), kept(text="Five"), kept(text="five"))[1].dropped) == {
        "round_trip": 1
    }


def example(prompt: int, completion: int, last: int = END) -> Example:
    return Example("s1", 0, tuple(range(prompt)), (*range(completion - 1), last), ())


@pytest.mark.parametrize("ids", [tuple, list, partial(array, "i")])
def test_token_ids_are_any_sequence(tokenizer: Any, ids: Callable[[Iterable[int]], Sequence[int]]) -> None:
    for curator in (CURATOR, Curator((END, PAD), tokenizer)):
        made, counts = curate(curator, kept(ids=ids((7, 7)), prompt_ids=ids((1, 2))))
        assert (list(made[0].prompt_ids), list(made[0].completion_ids)) == ([1, 2], [7, 7, END])
        assert (counts.retokenised, counts.stops_added) == (0, 1)
    made = row(Example("s1", 0, ids((1, 2)), ids((7, END)), ()), (END,))
    assert made == ([1, 2, 7, END], [IGNORED, IGNORED, 7, END])


def test_a_row_trains_the_completion_alone() -> None:
    made = row(example(3, 2), (END,))
    assert made.input_ids == [0, 1, 2, 0, END]
    assert made.labels == [IGNORED, IGNORED, IGNORED, 0, END]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (example(3, 2, last=5), "not with an end of turn"),
        (Example("s1", 0, (1,), (), ()), "nothing to train on"),
    ],
)
def test_a_row_without_an_end_is_refused(bad: Example, fault: str) -> None:
    with pytest.raises(ValueError, match=f"example s1 candidate 0 .*{fault}"):
        row(bad, (END,))


def test_rows_too_long_are_dropped_whole_and_counted() -> None:
    counts = Rows()
    made = list(rows([example(3, 2), example(3, 4), example(3, 3)], 6, (END,), counts))
    assert [len(r.input_ids) for r in made] == [5, 6]
    assert (counts.num_rows, counts.num_dropped, counts.label_tokens) == (2, 1, 5)


@pytest.mark.parametrize(("configured", "ids"), [([END, PAD], (END, PAD)), (PAD, (END, PAD)), (None, (END,))])
def test_stop_ids_begin_with_the_tokenizers(tokenizer: Any, configured: object, ids: tuple[int, ...]) -> None:
    class Model:
        class generation_config:  # noqa: N801
            eos_token_id = configured

    assert stop_ids(Model, tokenizer) == ids
    assert stop_ids(None, tokenizer) == (END,)


def test_the_dataset_is_written_for_people_too(tmp_path: Path) -> None:
    one = Example(
        "s1", 0, (1,), (2, END), (Message("user", "a\u2028b"), Message("assistant", "<think>é</think>5"))
    )
    write_messages(iter([one, one]), tmp_path / "train.jsonl")
    lines = (tmp_path / "train.jsonl").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 3
    assert json.loads(lines[0]) == {
        "messages": [
            {"role": "user", "content": "a\u2028b"},
            {"role": "assistant", "content": "<think>é</think>5"},
        ],
        "seed_id": "s1",
    }
