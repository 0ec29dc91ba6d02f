"""Assembles a streamed reply: server-sent events to JSON, JSON to text, ids and counts.

Servers give reasoning inline, as `reasoning` or as `reasoning_content`; here it always ends up as the model wrote it,
`<think>` and `</think>` included, closed only if the reply went on after it. `decide` reads the reply.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from veridistill.decide import THINK_CLOSE, THINK_OPEN
from veridistill.engines.chat import Prompts
from veridistill.engines.endpoint.answers import Answer, BadAnswer, classify
from veridistill.records import Completion, TokenIds

_ENDED = ("abort", "error", "cancelled")  # not the model's doing: a server that is shut down says so
_LONGEST_EVENT = 64 << 20  # bytes; what is longer is no event
_MOST = 1 << 31  # ids and counts are below; the journal's ids are 32 bits


class Events:
    """Bytes of a stream, in any pieces, to the data of its events (WHATWG server-sent events; data lines alone)."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > _LONGEST_EVENT:
            raise broken("an event of more than 64 MiB")
        for line in lines:
            yield from self._line(line.rstrip(b"\r"))

    def end(self) -> Iterator[bytes]:
        """What was left without an empty line after it."""
        yield from self._line(self._rest.rstrip(b"\r"))
        yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[bytes]:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            yield b"\n".join(self._data)
            self._data = []


class Reply:
    """What came so far. `done`: the stream said that it is at its end. `num_tokens`: tokens seen, or pieces of text."""

    def __init__(self) -> None:
        self.done = False
        self.num_tokens = 0
        self.finish_reason: str | None = None
        self.prompt_ids: tuple[int, ...] | None = None
        self._choices = 0
        self._parts: list[tuple[Literal["reasoning", "content"], str]] = []
        self._ids: list[int] = []
        self._gaps = False  # text came without ids
        self._usage: dict[str, Any] = {}

    def take(self, data: bytes) -> int:
        """Add an event; returns how many tokens moved. Raises `BadAnswer` for what is no event of a completion."""
        if data.strip() == b"[DONE]":
            self.done = True
            return 0
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise broken(f"an event that is not JSON: {data[:80]!r}") from None
        if not isinstance(event, dict):
            raise broken(f"an event that is not an object: {data[:80]!r}")
        if event.get("error"):
            raise BadAnswer(_error(event["error"]))
        return self.add(event)

    def add(self, event: dict[str, Any]) -> int:
        self._usage = event["usage"] if isinstance(event.get("usage"), dict) else self._usage
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return 0
        self._choices += 1
        choice = choices[0]
        self.prompt_ids = (
            _ids(choice, "prompt_token_ids") or _ids(event, "prompt_token_ids") or self.prompt_ids
        )
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        ids, pieces = _ids(choice, "token_ids"), self._text(choice)
        self._ids += ids
        self._gaps |= bool(pieces and not ids)
        moved = len(ids) or pieces
        self.num_tokens += moved
        return moved

    def _text(self, choice: dict[str, Any]) -> int:
        said = choice.get("delta") or choice.get("message") or choice
        if not isinstance(said, dict):
            return 0
        reasoning = said.get("reasoning_content") or said.get("reasoning")
        content = said.get("content") or said.get("text")
        before = len(self._parts)
        if isinstance(reasoning, str):
            self._parts.append(("reasoning", reasoning))
        if isinstance(content, str):
            self._parts.append(("content", content))
        return min(len(self._parts) - before, 1)

    @property
    def whole(self) -> bool:
        """Whether the reply is complete: the stream ended, or gave a finish reason."""
        return self.done or self.finish_reason is not None

    def check(self) -> None:
        """Raises `BadAnswer` for a reply that broke off, that the server ended by itself, or that has no choice."""
        if not self._choices:
            raise broken("an answer without choices")
        if not self.whole:
            raise broken("the stream broke off before its end")
        if self.finish_reason in _ENDED:
            raise broken(f"the server ended the reply with finish reason {self.finish_reason}")

    def token_ids(self) -> tuple[int, ...] | None:
        """The sampled ids, if all of them are here by the server's own count, or else came with every text."""
        if self._usage.get("completion_tokens") is None:
            whole = not self._gaps
        else:
            whole = self._counted("completion_tokens") == len(self._ids)
        return tuple(self._ids) if self._ids and whole else None

    @property
    def counts(self) -> bool:
        """Whether the server says how many tokens it sampled."""
        return self._counted("completion_tokens") is not None

    @property
    def prompt_tokens(self) -> int:
        counted = self._counted("prompt_tokens")
        return len(self.prompt_ids or ()) if counted is None else counted

    def _counted(self, name: str) -> int | None:
        """The server's own count; None where it gives none that can be one."""
        value = self._usage.get(name)
        return value if type(value) is int and 0 <= value < _MOST else None

    @property
    def text(self) -> str:
        """Reasoning rejoined: it is closed where content follows, and opened again where it comes after content."""
        joined, kind = "", "content"
        for part, text in self._merged():
            if part == "reasoning":
                joined += f"{THINK_OPEN}\n" + text.strip("\n")
            else:
                joined += f"\n{THINK_CLOSE}\n\n" + text.lstrip("\n") if kind == "reasoning" else text
            kind = part
        return joined

    @property
    def reasoning_apart(self) -> bool:
        return any(part == "reasoning" for part, _ in self._parts)

    def _merged(self) -> Iterator[tuple[str, str]]:
        """Neighbouring pieces of one kind as one."""
        start = 0
        for i in range(1, len(self._parts) + 1):
            if i == len(self._parts) or self._parts[i][0] != self._parts[start][0]:
                yield self._parts[start][0], "".join(text for _, text in self._parts[start:i])
                start = i

    def completion(
        self, prompts: Prompts | None, end_ids: Sequence[int], prompt_ids: tuple[int, ...] | None
    ) -> Completion:
        """The record. With a tokenizer and all ids the text is decoded here, so that it is what was sampled.

        Without a tokenizer no ids are kept: they could not be decoded, and which of them end a turn is not known.
        """
        ids = self.token_ids() if prompts is not None else None
        text = self.text
        if prompts is not None and ids is not None:
            text = prompts.text(ids[:-1] if ids[-1] in end_ids else ids)
        elif prompts is not None:
            for end in end_ids:
                text = text.removesuffix(prompts.text((end,)))
        counted = self._counted("completion_tokens")
        return Completion(
            text=text,
            finish_reason=str(self.finish_reason or "unknown"),
            prompt_tokens=self.prompt_tokens or len(prompt_ids or ()),
            completion_tokens=self.num_tokens if counted is None else counted,
            token_ids=_array(ids),
            prompt_token_ids=None if ids is None else _array(prompt_ids or self.prompt_ids),
        )


def _array(ids: tuple[int, ...] | None) -> TokenIds | None:
    return None if ids is None else TokenIds(ids)


def broken(what: str) -> BadAnswer:
    return BadAnswer(Answer("broken", what))


def _error(error: Any) -> Answer:
    """An error inside a stream has its status in `code`; without one it counts as a server error (500)."""
    code = error.get("code") if isinstance(error, dict) else None
    return classify(
        code if isinstance(code, int) and code >= 400 else 500, {}, json.dumps({"error": error}), {}
    )


def _ids(source: dict[str, Any], name: str) -> tuple[int, ...]:
    value = source.get(name)
    if isinstance(value, list) and all(type(item) is int and 0 <= item < _MOST for item in value):
        return tuple(value)
    return ()
