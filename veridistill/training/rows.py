"""From kept candidates to what the trainer reads: examples with token ids as sampled, rows with labels.

Chat templates are lossy, so the target is never rendered from text where sampled ids exist. Where an engine gave none,
the reply is tokenised again and checked by a round trip. `data.tables` stores examples; `child` trains on rows.
Token ids may be in any sequence of integers.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from veridistill.records import Candidate, Example, Message, Messages, Seed, TokenIds

IGNORED = -100
"""The label that carries no loss, in PyTorch and so in transformers and TRL."""


class Kept(NamedTuple):
    """A selected candidate, with the messages that it was sampled from."""

    seed: Seed
    candidate: Candidate
    prompt: Messages


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(
        self, ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str: ...

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> list[int]: ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]: ...

    @property
    def all_special_ids(self) -> list[int]: ...


@dataclass(slots=True)
class Curation:
    """Counts of the kept candidates: `dropped` by reason, and the examples made, some with ids made from text
    (`retokenised`) or with the stop token put back (`stops_added`).
    """

    examples: int = 0
    retokenised: int = 0
    stops_added: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Curator:
    """Makes examples. `stop_ids` are the ids that end a turn, the template's own first.

    Without a `tokenizer`, a candidate without sampled ids is dropped. `template_options` are passed to the chat
    template.
    """

    stop_ids: Sequence[int]
    tokenizer: Tokenizer | None = None
    template_options: Mapping[str, Any] = field(default_factory=dict)

    def curate(self, kept: Iterable[Kept], counts: Curation) -> Iterator[Example]:
        """An `Example` for each kept candidate that can be trained on, in their order; `counts` is kept up to date.

        Reasons to drop one: "truncated" (its finish reason is not stop), "no_ids" (neither ids nor a tokenizer),
        "round_trip" (tokenising changes its text), "markers" (its text or its prompt would become control tokens).
        """
        for item in kept:
            found = self._ids(item, counts)
            if isinstance(found, str):
                counts.dropped[found] += 1
                continue
            counts.examples += 1
            reply = Message("assistant", item.candidate.completion.text)
            yield Example(
                item.seed.seed_id, item.candidate.index, found.prompt, found.completion, (*item.prompt, reply)
            )

    def _ids(self, item: Kept, counts: Curation) -> "_Ids | str":
        completion = item.candidate.completion
        if completion.finish_reason != "stop":
            return "truncated"
        prompt, reply = completion.prompt_token_ids, completion.token_ids
        sampled = prompt is not None and reply is not None
        if not sampled and self.tokenizer is None:
            return "no_ids"
        if self.tokenizer is not None:
            prompt = prompt or _prompt_ids(self.tokenizer, item.prompt, self.template_options)
            if prompt is None:
                return "markers"
            if reply is None:
                found = _reply_ids(self.tokenizer, completion.text)
                if isinstance(found, str):
                    return found
                reply = found
        assert prompt is not None
        assert reply is not None
        counts.retokenised += not sampled
        if not reply or reply[-1] not in self.stop_ids:
            # The finish reason is stop, so an engine that leaves the stop token out did sample it.
            reply = TokenIds((*reply, self.stop_ids[0]))
            counts.stops_added += sampled
        return _Ids(prompt, reply)


class _Ids(NamedTuple):
    prompt: TokenIds
    completion: TokenIds


def _prompt_ids(tokenizer: Tokenizer, messages: Messages, options: Mapping[str, Any]) -> TokenIds | None:
    """The templated prompt; None when the text of a message would become a control token."""
    added = set(tokenizer.added_tokens_decoder)
    if any(added.intersection(tokenizer.encode(m.content, add_special_tokens=False)) for m in messages):
        return None
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return TokenIds(
        tokenizer.apply_chat_template(
            turns, **options, add_generation_prompt=True, tokenize=True, return_dict=False
        )
    )


def _reply_ids(tokenizer: Tokenizer, text: str) -> TokenIds | str:
    """The reply's ids, or the reason to drop it. Added tokens that are not special, such as `<think>`, are allowed."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    if set(tokenizer.all_special_ids).intersection(ids):
        return "markers"
    same = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == text
    return TokenIds(ids) if same else "round_trip"


class Row(NamedTuple):
    """A training row: `labels` are the `input_ids` with the prompt ignored; the trainer shifts them."""

    input_ids: list[int]
    labels: list[int]


def row(example: Example, stop_ids: Sequence[int]) -> Row:
    """The row of one example. Raises ValueError when its completion is empty or does not end a turn."""
    where = f"example {example.seed_id} candidate {example.candidate}"
    if not example.completion_ids:
        raise ValueError(f"{where} has an empty completion: there is nothing to train on")
    if example.completion_ids[-1] not in stop_ids:
        raise ValueError(
            f"{where} ends with {example.completion_ids[-1]}, not with an end of turn, {list(stop_ids)}"
        )
    prompt, completion = list(example.prompt_ids), list(example.completion_ids)
    return Row(prompt + completion, [IGNORED] * len(prompt) + completion)


@dataclass(slots=True)
class Rows:
    """Counts of `rows`: those that fit, those dropped as too long, and the label tokens of the former."""

    num_rows: int = 0
    num_dropped: int = 0
    label_tokens: int = 0


def rows(
    examples: Iterable[Example], max_length: int, stop_ids: Sequence[int], counts: Rows
) -> Iterator[Row]:
    """Rows of at most `max_length` tokens; longer ones are dropped, since a cut would lose the answer."""
    for example in examples:
        made = row(example, stop_ids)
        if len(made.input_ids) > max_length:
            counts.num_dropped += 1
            continue
        counts.num_rows += 1
        counts.label_tokens += len(example.completion_ids)
        yield made


def stop_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The ids that end a turn: the tokenizer's end of sequence first, then those of the generation config.

    `model` is anything with a `generation_config`, or None.
    """
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = configured if isinstance(configured, list) else [configured]
    return tuple(dict.fromkeys(i for i in (tokenizer.eos_token_id, *more) if i is not None))


def write_messages(examples: Iterable[Example], path: Path) -> None:
    """Write examples as chat `messages`, one JSON object a line, for people and other trainers; all or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        for example in examples:
            file.write(message_line(example))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def message_line(example: Example) -> str:
    turns = [{"role": message.role, "content": message.content} for message in example.messages]
    return json.dumps({"messages": turns, "seed_id": example.seed_id}, ensure_ascii=False) + "\n"
