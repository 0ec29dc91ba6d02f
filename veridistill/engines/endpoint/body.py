"""What is sent for one call: every sampling field, always, since servers have their own defaults.

A field that a server does not support is omitted, but only if that has no effect: the field does not change the
distribution, or has its neutral value. Otherwise it is a configuration error.
"""

import re
from dataclasses import dataclass
from typing import Any

from veridistill.engines.endpoint.answers import Answer
from veridistill.engines.endpoint.pool import Server
from veridistill.errors import ConfigError
from veridistill.records import Messages, Sampling

NEUTRAL: dict[str, float] = {
    "top_k": -1,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repeat_penalty": 1.0,
}
"""Values that do not change the distribution. -1 means no limit on every server that supports top_k; 0 only on some."""

RESTRICTED_BY = {"vllm": "structured_outputs", "sglang": "regex"}
"""The field by which a server is told that a reply must be one of a few, by the owner that its listing names."""

FREE = frozenset(
    {
        *("seed", "stop_token_ids", "skip_special_tokens", "add_special_tokens"),
        *("return_token_ids", "stream_options", "stream_interval"),
        *RESTRICTED_BY.values(),
    }
)
"""Fields that may be left out: none of them changes what is sampled from, except those that restrict replies, which
engines may ignore."""

_OWN: dict[str, dict[str, Any]] = {
    "vllm": {
        "stream_interval": 16
    },  # tokens an event: one for each would keep this process busy at 10,000 a second
    "llamacpp": {"repeat_penalty": 1.0},  # its name for repetition_penalty
}
"""Fields of one kind of server alone, by the owner that its listing names."""


@dataclass(slots=True)
class Call:
    """One call. `prompt_ids` is the prompt rendered here, None where the server renders it; `seed` None is unseeded.

    `template` are arguments for the chat template of a server that renders the prompt. `limit` cuts max_tokens,
    learned from a server that refused more.
    """

    messages: Messages
    prompt_ids: tuple[int, ...] | None
    sampling: Sampling
    seed: int | None
    template: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """What all calls share: the model's name, unless a server lists another, and the ids that end a turn.

    Without `end_ids` there is no tokenizer here, and no ids are asked for.
    """

    model: str
    end_ids: tuple[int, ...] = ()

    def url(self, server: Server, call: Call) -> str:
        return server.url + ("/chat/completions" if call.prompt_ids is None else "/completions")

    def body(self, server: Server, call: Call) -> dict[str, Any]:
        """The request's JSON. Raises `ConfigError` where the server does not know a field that matters."""
        body = self._fields(server, call)
        for name in server.dropped & body.keys():
            value = body.pop(name)
            if name == "max_tokens":
                body["max_completion_tokens"] = value
            elif not droppable(name, value):
                raise _matters(server, name, value, "it does not support the field")
        return body

    def _fields(self, server: Server, call: Call) -> dict[str, Any]:
        sampling = call.sampling
        body: dict[str, Any] = {
            "model": server.model or self.model,
            **{name: value for name, value in NEUTRAL.items() if name != "repeat_penalty"},
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or NEUTRAL["top_k"],
            "max_tokens": max_tokens(server, call),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if call.seed is not None:
            body["seed"] = call.seed
        if self.end_ids:
            body["return_token_ids"] = True
        body |= _OWN.get(server.owner, {}) | _restriction(server, sampling.choices)
        if call.prompt_ids is not None:
            body |= {"prompt": list(call.prompt_ids), "stop_token_ids": list(self.end_ids)}
            return body | {"skip_special_tokens": False, "add_special_tokens": False}
        body["messages"] = [message._asdict() for message in call.messages]
        return body | ({"chat_template_kwargs": dict(call.template)} if call.template else {})


def _restriction(server: Server, choices: tuple[str, ...]) -> dict[str, Any]:
    """In the words of a server that says what it is; other servers might refuse a field that they do not know."""
    if not choices or (name := RESTRICTED_BY.get(server.owner)) is None:
        return {}
    return {
        name: {"choice": list(choices)} if name == "structured_outputs" else "|".join(map(re.escape, choices))
    }


def unrestricted(server: Server, answer: Answer, body: dict[str, Any]) -> bool:
    """Whether a bad answer may come from the restriction of the reply; if so, this server is sent none from now on."""
    sent = body.keys() & set(RESTRICTED_BY.values())
    if answer.status in (400, 422, 500, 501):
        server.dropped |= sent
    return bool(sent) and sent <= server.dropped


def max_tokens(server: Server, call: Call) -> int:
    """As many as asked for, but no more than the context has room for; 0 and less where the prompt fills it."""
    wanted = min(call.sampling.max_tokens, call.limit or call.sampling.max_tokens)
    if server.context is None:
        return wanted
    prompt = len(call.prompt_ids) if call.prompt_ids is not None else 1
    return min(wanted, server.context - prompt)


def drop(server: Server, answer: Answer, body: dict[str, Any]) -> None:
    """Leave out from now on what the server does not know. Raises `ConfigError` for a field that matters."""
    for name in sorted(answer.fields):
        if name != "max_tokens" and not droppable(name, body[name]):
            raise _matters(server, name, body[name], answer.text)
    server.dropped |= answer.fields


def droppable(name: str, value: Any) -> bool:
    return name in FREE or (name in NEUTRAL and value == NEUTRAL[name])


def _matters(server: Server, name: str, value: Any, said: str) -> ConfigError:
    advice = f"set {name} to {NEUTRAL[name]:g} (top_k: 0)" if name in NEUTRAL else f"change {name}"
    return ConfigError(
        f"{server.url} refuses {name}={value!r} ({said}), and leaving it out would change what is sampled; "
        f"{advice} in the sections that use it (generate, judge, evaluation), or use another server"
    )
