"""A make-believe model: replies by rates, for every role of the method.

A `Script` solves, infers questions and judges. Its candidates carry a mark, a number from 0 to 1 that represents their
quality (right from 0.5); its judges read the mark in the text they are shown, so wrong candidates are rejected more
often, as a real judge would. Each reply is a function of (messages, sampling, seed). Engine and time are left to
`engine` and `clock`. Standard library only (PyYAML to read a script from a file).
"""

import hashlib
from binascii import crc32, crc_hqx
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from itertools import cycle, islice, repeat
from math import exp
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

from veridistill.errors import ConfigError, RequestRefused
from veridistill.records import Completion, Messages, Sampling, TokenIds

Reply = Callable[[Messages, Sampling, int], Completion | str]
Role = Literal["solve", "infer", "compare", "factuality", "correctness", "simple"]

END_ID = 65536
"""The end-of-turn token; words have ids below it."""

_MARK = " mark 0."
_M64 = (1 << 64) - 1
_NORMAL = NormalDist()
_TIME = ("name", "seconds_per_token", "slots", "clock")  # no reply depends on these


@dataclass(frozen=True)
class Script:
    """Rates of a make-believe model. Pairs are a judge's rates of yes for (right, wrong) candidates.

    `tokens` is the median of log-normal reply lengths with shape `sigma` (0: the words of the text).
    `seconds_per_token`, `slots` and `clock` simulate time, as in `ScriptedEngine`. `name` is the engine's fingerprint.
    """

    name: str = "scripted"
    well_formed: float = 0.95
    right: float = 0.6
    compare: tuple[float, float] = (0.98, 0.9)
    factuality: tuple[float, float] = (0.97, 0.3)
    correctness: tuple[float, float] = (0.97, 0.2)
    simple: tuple[float, float] = (0.95, 0.4)
    invalid: float = 0.02
    refused: float = 0.0
    reasoning: bool = False
    tokens: float = 0.0
    sigma: float = 0.6
    seconds_per_token: float = 0.0
    slots: int = 256
    clock: Literal["real", "virtual"] = "real"

    @classmethod
    def load(cls, path: Path) -> "Script":
        """A script from a YAML mapping of the fields above. Raises `ConfigError` naming file and field.

        Without a `name` it is named for its rates, so that no run takes one script's replies for another's.
        """
        import yaml

        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"engine.script: {path} cannot be read as YAML ({error})") from None
        if not isinstance(data, dict):
            raise ConfigError(f"engine.script: {path} must be a mapping, found {type(data).__name__}")
        known = {field.name: field.default for field in fields(cls)}
        for name, value in data.items():
            if name not in known:
                raise ConfigError(f"{path}: unknown key {name}; choose from {', '.join(known)}")
            if fault := _fault(name, value, known[name]):
                raise ConfigError(f"{path}: {name} must be {fault} (found {value!r})")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        script = cls(**values)
        if "name" in values or script._rates() == cls()._rates():
            return script
        content = repr(sorted(script._rates().items())).encode()
        return replace(script, name=f"scripted-{hashlib.blake2b(content, digest_size=8).hexdigest()}")

    def _rates(self) -> dict[str, Any]:
        """All that replies depend on."""
        return {name: value for name, value in asdict(self).items() if name not in _TIME}

    def reply(self, messages: Messages, sampling: Sampling, seed: int) -> Completion | str:
        prompt = addressed(messages)
        if self.refused and uniform(seed, 1) < self.refused:
            raise RequestRefused("the script refused this request")
        role = role_of(prompt)
        if role == "solve":
            text, reason = self._solve(prompt, seed)
        elif role == "infer":
            text, reason = f"What is asked with{_MARK}{_mark(prompt):04d} here?", "stop"
        else:
            text, reason = self._judge(role, prompt, seed, sampling.choices)
        if self.reasoning:
            text = f"<think>\nLet me see.\n</think>\n\n{text}"
        num = self._length(text, seed)
        if num > sampling.max_tokens:
            num, reason = sampling.max_tokens, "length"
        return completion_of(text, reason, prompt, num)

    def _solve(self, prompt: str, seed: int) -> tuple[str, str]:
        form = uniform(seed, 2)
        if form >= self.well_formed:
            truncated = form > (1 + self.well_formed) / 2
            return "Well, let me think about", "length" if truncated else "stop"
        right = uniform(seed, 3) < self.right
        number = (right_answer(prompt) + (0 if right else 1 + seed % 998)) % 1000
        mark = int(5000 * (uniform(seed, 4) + right))
        steps = f"Step by step, with{_MARK}{mark:04d} of care:"
        if "```python" in prompt[-600:]:
            return f"{steps}\n```python\nprint({number})\n```", "stop"
        return f"{steps} the answer is \\boxed{{{number}}}", "stop"

    def _judge(self, role: str, prompt: str, seed: int, choices: tuple[str, ...]) -> tuple[str, str]:
        if not choices and uniform(seed, 5) < self.invalid:
            return "It is hard to say.", "length" if seed & 1 else "stop"
        rates: tuple[float, float] = getattr(self, role)
        letter = "Y" if uniform(seed, 6) < rates[_mark(prompt) < 5000] else "N"
        if choices:
            return f"[[{letter}]]", "stop"
        return f"I looked at it.\n{'Accepted: ' if role == 'correctness' else ''}[[{letter}]]", "stop"

    def _length(self, text: str, seed: int) -> int:
        if not self.tokens:
            return text.count(" ") + 2
        draw = min(max(uniform(seed, 7), 1e-12), 1 - 1e-12)
        return max(1, int(self.tokens * exp(self.sigma * _NORMAL.inv_cdf(draw))))


def addressed(messages: Messages) -> str:
    """The last judge's prompt: a request for the verdict alone follows it. Without one, the last message."""
    shown = (message.content for message in reversed(messages) if role_of(message.content) != "solve")
    return next(shown, messages[-1].content)


def role_of(prompt: str) -> Role:
    """Who is addressed, from the blocks of a judge's prompt and its last line. Solvers are shown no block."""
    head, fence, tail = prompt.rpartition("\n[/")
    if not fence or not ("[answer]\n" in head or "[inferred]\n" in head):
        return "solve"
    last = tail.rpartition("\n")[2]
    if "[[Y]]" not in last:
        return "infer"
    if tail.startswith("inferred]"):
        return "compare"
    if "Accepted:" in last:
        return "correctness"
    return "factuality" if "error" in last else "simple"


def right_answer(question: str) -> int:
    """The number that a script's right candidates give for a question: a hash of its first line, 0 to 999."""
    return crc32(question.partition("\n")[0].encode("utf-8", "replace")) % 1000


def uniform(seed: int, salt: int) -> float:
    """A number in [0, 1) as a hash of two integers (splitmix64's mixer)."""
    x = (seed * 0x9E3779B97F4A7C15 + salt * 0xD1342543DE82EF95) & _M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _M64
    return ((x ^ (x >> 31)) >> 11) * 2.0**-53


def _mark(prompt: str) -> int:
    """The quality, 0 to 9999, of the candidate that a prompt shows; right from 5000. Without a mark, 0."""
    at = prompt.rfind(_MARK)
    digits = prompt[at + len(_MARK) : at + len(_MARK) + 4] if at >= 0 else ""
    return int(digits) if digits.isdecimal() else 0


def completion_of(text: str, reason: str, prompt: str, num: int) -> Completion:
    prompt_ids, words = word_ids(prompt), word_ids(text) or (0,)
    end = (END_ID,) if reason == "stop" else ()
    ids = TokenIds((*islice(cycle(words), num - len(end)), *end))
    return Completion(text, reason, len(prompt_ids), num, ids, prompt_ids)


@lru_cache(maxsize=1024)
def word_ids(text: str) -> TokenIds:
    return TokenIds(map(crc_hqx, text.encode("utf-8", "replace").split(), repeat(0)))


def _fault(name: str, value: Any, default: Any) -> str | None:
    """What a script's field must be, if `value` is not that."""
    rates = value if isinstance(default, tuple) else [value]
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if name == "name":
        return None if isinstance(value, str) and value else "a text that is not empty"
    if isinstance(default, str):
        return None if value in ("real", "virtual") else "real or virtual"
    if not isinstance(rates, list | tuple) or len(rates) != (2 if isinstance(default, tuple) else 1):
        return "a pair of rates, for right and for wrong candidates"
    if any(isinstance(rate, bool) or not isinstance(rate, int | float) for rate in rates):
        return "a number"
    if name == "slots":
        return None if isinstance(value, int) and value >= 1 else "a whole number from 1 up"
    if name in ("tokens", "sigma", "seconds_per_token"):
        return None if value >= 0 else "0 or more"
    return None if all(0 <= rate <= 1 for rate in rates) else "between 0 and 1"
