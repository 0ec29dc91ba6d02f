"""The data that flows through a run: frozen records, standard library only, no behaviour beyond identity.

`Seed` has no answer field, and no other type that training reads has one: labels cannot leak into training
because no type carries them there. Only `Problem`, which evaluation alone reads, has a reference.
"""

import hashlib
import json
import unicodedata
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from json.encoder import encode_basestring_ascii as _json
from typing import Literal, NamedTuple

Ballot = Literal["yes", "no", "invalid"]
FollowUp = Literal["constrained", "free", "off"]
"""How a judge's reply without a verdict is followed up: by a request for the mark alone, the reply to which is
restricted to the two marks (where the engine can do that, and the judge need not reason first) or not; or not at all.
"""
Outcome = Literal["accepted", "rejected", "malformed", "unjudged", "skipped"]
Domain = Literal["math", "science", "code"]
Kind = Literal["integer", "math", "quantity", "choice", "exact", "code"]
Path = tuple[str | int, ...]
GradeOutcome = Literal[
    "pass",
    "wrong",
    "no_answer",
    "refused",
    "runtime_error",
    "timeout",
    "memory",
    "output_limit",
    "sandbox_error",
    "grader_error",
    "unreadable_reference",
]
"""How an exam's sample ended; programs (kind code) have further outcomes.

"unreadable_reference" is a fault of the problem: all attempts at it have this outcome, in every exam.
"""
JUDGING: frozenset[str] = frozenset(
    {"infer", "compare", "factuality", "reference", "correctness", "simple", "verdict"}
)
"""The roles that a judge plays. `reference` asks for a solution of its own before it sees the answer, `verdict` for the
mark alone, after a reply that ended without one."""
UNGRADED: frozenset[str] = frozenset({"sandbox_error", "grader_error", "unreadable_reference"})
"""Faults of the grading or of the problem, not of the answer: such a sample is neither right nor wrong."""


class Message(NamedTuple):
    """One chat turn."""

    role: str
    content: str


Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Seed:
    """An unlabeled question. `source` says where it came from ("questions.jsonl:17")."""

    seed_id: str
    question: str
    domain: Domain = "math"
    source: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample one reply. Every field is always sent, since servers have their own defaults.

    `top_k` 0 means no limit; `temperature` 0 means greedy; `max_tokens` counts completion tokens. `choices`: the texts
    that the reply is restricted to; empty means any text. An engine that cannot restrict its replies ignores them.
    """

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    choices: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def _ends(run_seed: int, model: str, role: str, sampling: Sampling) -> tuple[str, str]:
    """The parts of a request's JSON that a run's calls share, before and after its path and messages."""
    s = sampling
    fields = (
        float(s.temperature),
        float(s.top_p),
        s.top_k,
        s.max_tokens,
        *([s.choices] if s.choices else []),
    )
    numbers = json.dumps(fields)
    return f"[[{run_seed}, {_json(model)}, {_json(role)}, ", f"], {numbers}]"


@dataclass(frozen=True)
class Request:
    """One model call with its identity.

    `path` places the call in the run: (seed_id, candidate, stage, vote, reask) or (benchmark, problem_id, sample).
    Two votes with the same prompt have different paths and so different keys and seeds: a cache that
    collapsed them would make unanimity automatic.
    """

    run_seed: int
    model: str
    role: str
    path: Path
    messages: Messages
    sampling: Sampling

    @cached_property
    def key(self) -> bytes:
        """16 bytes that identify the call: BLAKE2b over every field above, as JSON (`choices` only if there are any).

        The JSON of [[run_seed, model, role, path, messages], sampling] is put together here, in half the time that
        `json.dumps` takes for it: this is computed for every call.
        """
        path = ", ".join([_json(part) if isinstance(part, str) else str(part) for part in self.path])
        messages = ", ".join([f"[{_json(role)}, {_json(content)}]" for role, content in self.messages])
        head, tail = _ends(self.run_seed, self.model, self.role, self.sampling)
        text = f"{head}[{path}], [{messages}]{tail}"
        return hashlib.blake2b(text.encode("ascii"), digest_size=16).digest()

    @property
    def seed(self) -> int:
        """31 bits of the key: what seeds the engine's sampler for this call."""
        return int.from_bytes(self.key[:4], "big") & 0x7FFF_FFFF


class TokenIds(array):  # type: ignore[type-arg]  # array takes no [int] before Python 3.12
    """Token ids as 32-bit integers, 4 bytes each where a Python integer takes 36. Never changed once made.

    Made from numbers, or from the bytes of such an array. Equal to a tuple or list of the same numbers, and hashed as
    that tuple.
    """

    __slots__ = ()

    def __new__(cls, ids: Iterable[int] | bytes = ()) -> "TokenIds":
        return super().__new__(cls, "i", ids)  # type: ignore[return-value]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, tuple | list):
            return len(self) == len(other) and all(map(int.__eq__, self, other))
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply as it was sampled: `text` is raw, reasoning and tags included, without the end-of-turn token.

    `token_ids` are the sampled ids, end-of-turn token included when it was sampled; None where an engine cannot give
    them, and in replies that came through an `Ask`: the ids are in the journal, and only training rows need them.
    `finish_reason` is the engine's own word; only a reply with "stop" may give a verdict or an answer. `context` is the
    context length, in tokens, that ended a reply before `max_tokens` did, or left no room for one; 0 if a server does
    not say how long its context is, None if the context was no limit.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    token_ids: TokenIds | None = field(default=None, repr=False)
    prompt_token_ids: TokenIds | None = field(default=None, repr=False)
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sampled solution. `answer` is the text after the last `</think>`: all that judges see."""

    seed_id: str
    index: int
    answer: str
    completion: Completion


@dataclass(frozen=True, slots=True)
class Vote:
    """One judge's ballot. `reason` says why it is invalid, or is empty."""

    stage: str
    index: int
    ballot: Ballot
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.ballot == "yes"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a candidate. `rejected_by` is the stage that ended it, or the defect of a malformed one."""

    seed_id: str
    candidate: int
    outcome: Outcome
    rejected_by: str | None = None
    votes: tuple[Vote, ...] = ()

    @property
    def passed(self) -> bool:
        return self.outcome == "accepted"


@dataclass(frozen=True, slots=True)
class Example:
    """A kept candidate as a training row: ids as sampled, and the same as chat messages for people to read."""

    seed_id: str
    candidate: int
    prompt_ids: TokenIds
    completion_ids: TokenIds
    messages: Messages


@dataclass(frozen=True, slots=True)
class Problem:
    """An exam question with its reference. Evaluation alone reads this type.

    `question` is what is asked, options and starter code included; `options` are those of a multiple-choice question in
    the order shown, `reference` the right one's letter. `tests` are those of a program (kind code): JSON, or
    `@path:offset:length` of the record in a local file, which is read when it is needed.
    """

    problem_id: str
    benchmark: str
    kind: Kind
    question: str
    reference: str
    domain: Domain = "math"
    options: tuple[str, ...] = ()
    tests: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Grade:
    """What a grader found: the outcome, the final answer (None when there is none) and what went wrong."""

    outcome: GradeOutcome
    answer: str | None = None
    error: str = ""

    @property
    def correct(self) -> bool | None:
        return None if self.outcome in UNGRADED else self.outcome == "pass"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One graded sample. `correct` is None when grading failed; `error` then says how.

    `response` is the reply's whole text, so that it can be graded again.
    """

    problem_id: str
    benchmark: str
    index: int
    answer: str | None
    outcome: GradeOutcome
    error: str = ""
    finish_reason: str = "stop"
    completion_tokens: int = 0
    response: str = field(default="", repr=False)

    @property
    def correct(self) -> bool | None:
        return None if self.outcome in UNGRADED else self.outcome == "pass"


def without_surrogates(text: str) -> str:
    """The text, with lone surrogates replaced by U+FFFD, since no file or database accepts them."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def normalise(text: str) -> str:
    """Text as compared for duplicates: NFC, case-folded, full-width forms narrow, runs of white space as one space.

    Not NFKC, which turns 2¹⁰ into 210, 10₂ into 102 and ℝ into R: other questions. Case folding resolves ligatures.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", "".join(map(_narrow, text)))
    folded = text.casefold()
    return " ".join((folded if folded.isascii() else unicodedata.normalize("NFC", folded)).split())


def _narrow(character: str) -> str:
    """A full-width or half-width form as the character of usual width."""
    kind, _, code = unicodedata.decomposition(character).partition(" ")
    return chr(int(code, 16)) if kind in ("<wide>", "<narrow>") else character


def seed_id(question: str) -> str:
    """16 hex digits of the normalised question: the same question has the same id in every file."""
    return hashlib.blake2b(normalise(question).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
