"""Identities: every part of a request counts, and equal questions have equal ids."""

import copy
import dataclasses
import hashlib
import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veridistill.records import (
    Completion,
    Example,
    Message,
    Request,
    Sampling,
    Seed,
    TokenIds,
    Verdict,
    Vote,
    normalise,
    seed_id,
)

SAMPLING = Sampling(0.8, 0.95, 0, 100)
REQUEST = Request(0, "model", "simple", ("seed", 0, "simple", 0, 0), (Message("user", "Is it?"),), SAMPLING)

CHANGES: list[dict[str, Any]] = [
    {"run_seed": 1},
    {"model": "other"},
    {"role": "correctness"},
    {"path": ("other", 0, "simple", 0, 0)},
    {"path": ("seed", 1, "simple", 0, 0)},
    {"path": ("seed", 0, "other", 0, 0)},
    {"path": ("seed", 0, "simple", 1, 0)},
    {"path": ("seed", 0, "simple", 0, 1)},
    {"path": ("seed", 0, "simple", 0)},
    {"path": ("seed", "0", "simple", 0, 0)},
    {"messages": (Message("user", "Is it"),)},
    {"messages": (Message("system", "Is it?"),)},
    {"messages": (Message("user", "Is it?"), Message("user", ""))},
    {"messages": ()},
    {"sampling": replace(SAMPLING, temperature=0.7)},
    {"sampling": replace(SAMPLING, top_p=0.9)},
    {"sampling": replace(SAMPLING, top_k=20)},
    {"sampling": replace(SAMPLING, max_tokens=101)},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_part_of_a_request_is_in_its_key(change: dict[str, Any]) -> None:
    changed = replace(REQUEST, **change)
    assert changed.key != REQUEST.key
    assert changed.seed != REQUEST.seed


def test_all_fields_of_a_request_are_covered() -> None:
    assert {name for change in CHANGES for name in change} == {f.name for f in dataclasses.fields(Request)}


def test_keys_are_the_same_on_every_day_and_machine() -> None:
    assert REQUEST.key == replace(REQUEST).key
    assert len(REQUEST.key) == 16
    assert REQUEST.key.hex() == "e86a75cbf4738ca5438751b7aeb95713"
    assert (
        replace(REQUEST, sampling=Sampling(1, 1, 0, 5)).key
        == replace(REQUEST, sampling=Sampling(1.0, 1.0, 0, 5)).key
    )


@given(
    st.integers(0, 2**40),
    st.text(),
    st.lists(st.one_of(st.text(), st.integers())).map(tuple),
    st.lists(st.builds(Message, st.text(), st.text(st.characters()))).map(tuple),
    st.builds(
        Sampling,
        st.floats(0, 9),
        st.floats(0.1, 1),
        st.integers(0, 99),
        st.integers(1, 9**9),
        st.sampled_from([(), ("[[Y]]", "[[N]]"), ("a",)]),
    ),
)
def test_a_key_is_a_hash_of_the_json_of_its_fields(
    number: int, text: str, path: Any, messages: Any, sampling: Sampling
) -> None:
    request = Request(number, text, text, path, messages, sampling)
    fields = dataclasses.astuple(sampling) if sampling.choices else dataclasses.astuple(sampling)[:-1]
    whole = json.dumps([[number, text, text, path, messages], fields])
    assert request.key == hashlib.blake2b(whole.encode(), digest_size=16).digest()


def test_many_keys_are_distinct_and_seeds_have_31_bits() -> None:
    made = [replace(REQUEST, path=("seed", c, "simple", v, 0)) for c in range(40) for v in range(40)]
    assert len({request.key for request in made}) == 1600
    assert len({request.seed for request in made}) > 1590
    assert all(0 <= request.seed < 2**31 for request in made)


def test_any_text_has_a_key() -> None:
    odd = [Message("user", text) for text in ("\ud800", "\u2028", '"\\', "解", "\0")]
    assert len({replace(REQUEST, messages=(message,)).key for message in odd}) == len(odd)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2?", "  what  IS\n2? "),
        ("ﬁve", "five"),
        ("Straße", "STRASSE"),
        ("a\u00a0b", "a b"),
        ("a\u2003b\u3000", "a b"),
        ("caf\u00e9", "cafe\u0301"),
        ("\u0390", "\u03aa\u0301"),  # equal only when composed again after folding
        ("5 Å", "5 \u212b"),
        ("ｗhat is ２＋３？", "What is 2+3?"),
        ("ｶﾞ", "ガ"),
    ],
)
def test_equal_questions_have_one_id(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert seed_id(one) == seed_id(other)


@pytest.mark.parametrize("other", ["What is 2", "What is 3?", "Whatis 2?", "", "\ud800"])
def test_different_questions_have_different_ids(other: str) -> None:
    assert seed_id(other) != seed_id("What is 2?")
    assert len(seed_id(other)) == 16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2¹⁰?", "What is 210?"),
        ("x²", "x2"),
        ("What is 10₂ in decimal?", "What is 102 in decimal?"),
        ("What is 2½ + 1?", "What is 21/2 + 1?"),
        ("What is 1½?", "What is 11⁄2?"),
        ("Is ℝ closed?", "Is R closed?"),
        ("Find 𝐱 from x.", "Find x from x."),
        ("① + 1", "1 + 1"),
        ("Ⅳ", "IV"),
        ("5 ㎎", "5 mg"),
    ],
)
def test_what_compatibility_forms_would_merge_stays_apart(one: str, other: str) -> None:
    assert seed_id(one) != seed_id(other)


def test_token_ids_are_compared_hashed_and_pickled_as_their_numbers() -> None:
    ids = TokenIds((1, 2, 2**31 - 1))
    assert ids == (1, 2, 2**31 - 1) == ids == [1, 2, 2**31 - 1]
    assert ids != (1, 2) != ids
    assert ids != TokenIds((1, 2))
    assert hash(ids) == hash((1, 2, 2**31 - 1))
    assert pickle.loads(pickle.dumps(ids)) == copy.deepcopy(ids) == TokenIds(ids.tobytes()) == ids
    assert type(pickle.loads(pickle.dumps(ids))) is TokenIds
    assert memoryview(ids).nbytes == 12
    one, other = (Completion("a", "stop", 1, 3, TokenIds(ids)) for _ in range(2))
    assert len({one, other, replace(one, token_ids=TokenIds((1,)))}) == 2
    with pytest.raises(OverflowError):
        TokenIds((2**31,))


def test_no_type_of_training_has_an_answer() -> None:
    assert [f.name for f in dataclasses.fields(Seed)] == ["seed_id", "question", "domain", "source"]
    for kind in (Seed, Example, Request):
        assert not {"answer", "reference", "label", "solution"} & {f.name for f in dataclasses.fields(kind)}


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        REQUEST.model = "other"  # type: ignore[misc]


@pytest.mark.parametrize("ballot", ["yes", "no", "invalid"])
def test_a_vote_passes_when_it_is_yes(ballot: Any) -> None:
    assert Vote("simple", 0, ballot).passed == (ballot == "yes")


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "malformed", "unjudged", "skipped"])
def test_a_verdict_passes_when_it_accepts(outcome: Any) -> None:
    assert Verdict("seed", 0, outcome).passed == (outcome == "accepted")
