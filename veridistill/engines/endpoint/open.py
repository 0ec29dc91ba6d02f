"""Checks before the first call: is every server up, does it serve the model, does it accept what is sent.

All URLs are asked at once, so a wrong one is one clear `ConfigError` within seconds. A trial request of a few tokens
settles what a listing does not say: the key, the protocol, the fields.
"""

import asyncio
import os
import re
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from veridistill.engines.endpoint.answers import Answer, BadAnswer
from veridistill.engines.endpoint.body import Call, Form, drop
from veridistill.engines.endpoint.pool import Server
from veridistill.engines.endpoint.wire import Key, exchange, get_json
from veridistill.errors import ConfigError
from veridistill.records import Message, Sampling

if TYPE_CHECKING:
    import aiohttp

TRIAL = (Message("user", "Reply with the word yes."),)
"""A request that no server has a reason to refuse: it proves a server, and revives one."""
TRIAL_SAMPLING = Sampling(1.0, 1.0, 0, 16)
TRIAL_TIMEOUT = 20.0
_LISTING_TIMEOUT = 15.0
_OTHER_FILES = 256
_TRIES = 12  # a server may name the fields that it does not know one at a time


def allow_files(num_connections: int) -> None:
    """Raise this process's soft limit of open files, often 1,024, to what the connections need.

    Where the hard limit is lower, `engine.max_width` must be: raises `ConfigError`.
    """
    needed = num_connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"engine.max_width: {num_connections} connections need {needed} open files, this machine allows {hard}; "
            "lower engine.max_width, or raise the limit (ulimit -n)"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The model that servers are asked for: by the `name` that the user gave it there, or by its `directory`.

    Of a model that a run has trained (`is_trained`) a name proves nothing, since servers go on with the weights that
    they were started with: such a model is wanted by its directory alone, and a server has to list that.
    """

    directory: str
    name: str | None = None

    @property
    def is_trained(self) -> bool:
        return self.name is None and is_round(self.directory)

    def entry(self, models: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """The model among those that a server lists: by its name, or by the directory as `id` or `root` (vLLM)."""
        if self.name is not None:
            return next((model for model in models if model.get("id") == self.name), None)
        named = [model for model in models if model.get("id") == self.directory]
        rooted = [model for model in models if _same_path(model.get("root"), self.directory)]
        return next(iter(named + rooted), None)


def is_round(path: object) -> bool:
    """Whether a path is that of a model which a run has trained: `RUN/rounds/N/model`."""
    return isinstance(path, str) and re.search(r"(^|/)rounds/\d+/model/?$", path) is not None


def _same_path(path: object, directory: str) -> bool:
    return isinstance(path, str) and "/" in path and os.path.realpath(path) == os.path.realpath(directory)


async def listed(
    session: "aiohttp.ClientSession", servers: Sequence[Server], wanted: Wanted, key: Key
) -> dict[Server, str]:
    """Find the model among those that each server lists; returns the servers that serve other weights, and what.

    A server without a listing is trusted, but not for a trained model. A server that lists a model of
    another round is one that serves other weights now. Raises one `ConfigError` for all servers that are unreachable,
    refuse the key or list something else.
    """
    found = await asyncio.gather(*(_listed(session, server, wanted, key) for server in servers))
    _raise_all([one for one in found if isinstance(one, str)])
    return {s: one.lists for s, one in zip(servers, found, strict=True) if isinstance(one, _OtherWeights)}


def unserved(wanted: Wanted, others: Mapping[Server, str]) -> str:
    """The message for a call that no server can answer with the right weights."""
    seen = "; ".join(f"{server.url}: {lists}" for server, lists in others.items())
    if wanted.is_trained:
        advice = (
            f"Serve this directory under its path, for example by `vllm serve {wanted.directory}`, or by the option for"
            " the model's name of another server, and name that server in engine.urls"
        )
    else:
        advice = "What the journal holds of it is used, but this call is not there: serve that model again"
    return (
        f"no server of engine.urls shows that it serves {wanted.name or wanted.directory} ({seen}). {advice}; "
        "then run the same command again"
    )


async def settle(
    session: "aiohttp.ClientSession",
    servers: Sequence[Server],
    form: Form,
    calls: Mapping[str, Call],
    key: Key,
) -> str:
    """The first protocol of `calls` whose trial request every server takes. Raises `ConfigError` when there is none."""
    for protocol, call in calls.items():
        faults = await asyncio.gather(*(_tried(session, server, form, call, key) for server in servers))
        if not any(faults):
            return protocol
    _raise_all(faults)
    raise AssertionError("no protocol was tried")


def _raise_all(faults: Sequence[str | None]) -> None:
    if messages := [fault for fault in faults if fault]:
        raise ConfigError("\n".join(messages))


@dataclass(frozen=True, slots=True)
class _OtherWeights:
    lists: str


async def _listed(
    session: "aiohttp.ClientSession", server: Server, wanted: Wanted, key: Key
) -> _OtherWeights | str | None:
    """What is wrong with a server, or None for one that serves the model."""
    models = await listing(session, server, key)
    if isinstance(models, str):
        return models
    if models is None:
        return _OtherWeights("it has no listing of models") if wanted.is_trained else None
    if (model := wanted.entry(models)) is not None:
        server.model, server.owner = str(model.get("id")), str(model.get("owned_by", ""))
        server.context = context_length(model) or server.context
        return None
    if wanted.is_trained or any(is_round(model.get("id")) or is_round(model.get("root")) for model in models):
        names = ", ".join(str(model.get("id")) for model in models) or "nothing"
        return _OtherWeights(f"it lists {names}")
    return f"{server.url} serves no model {wanted.name or wanted.directory!r}; {_names(models)}"


async def listing(
    session: "aiohttp.ClientSession", server: Server, key: Key
) -> list[dict[str, Any]] | str | None:
    """The models that a server lists, None where it has no listing, or what is wrong with it."""
    import aiohttp

    try:
        return _models(await get_json(session, f"{server.url}/models", _LISTING_TIMEOUT, key))
    except BadAnswer as bad:
        if bad.answer.status in (404, 405, 501):
            return None
        if bad.answer.status in (401, 403):
            return hopeless(server, bad.answer, key)
        return f"{server.url}/models answered {bad.answer.text}; is this an OpenAI-compatible server, and is it up?"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        what = key.hidden(str(error)) or type(error).__name__
        return f"{server.url} cannot be reached ({what}); start the server, or correct engine.urls"


def _names(models: Sequence[Mapping[str, Any]]) -> str:
    names = [str(model.get("id")) for model in models]
    if not names:
        return "it lists none: load a model there"
    if len(names) == 1:
        return f"it lists {names[0]}: if that is the model that model.path means, set engine.served_name={names[0]}"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"it lists {', '.join(names[:10])}{more}: set engine.served_name to one of them"


def _models(listing: Any) -> list[dict[str, Any]]:
    data = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(data, list):
        raise BadAnswer(Answer("broken", "status 200, but not a list of models"))
    return [model for model in data if isinstance(model, dict)]


def context_length(model: Mapping[str, Any]) -> int | None:
    """Of a listed model: `max_model_len` (vLLM, SGLang), `context_length` (hosts), `meta.n_ctx` (llama.cpp)."""
    meta = model.get("meta")
    inner = meta.get("n_ctx") if isinstance(meta, dict) else None
    for value in (model.get("max_model_len"), model.get("context_length"), inner):
        if type(value) is int and value > 0:
            return value
    return None


async def _tried(
    session: "aiohttp.ClientSession", server: Server, form: Form, call: Call, key: Key
) -> str | None:
    """What is wrong with a server, or None. A server that is only busy or slow passes: the run can handle that."""
    answer = Answer("broken", "nothing")
    broken = 0
    for _ in range(_TRIES):
        body = form.body(server, call)
        try:
            reply = await exchange(session, form.url(server, call), body, TRIAL_TIMEOUT, key)
        except BadAnswer as bad:
            answer = bad.answer
        else:
            if call.prompt_ids is not None and reply.prompt_tokens != len(call.prompt_ids):
                return (
                    f"{server.url} read {reply.prompt_tokens} tokens in a prompt of {len(call.prompt_ids)} token ids; "
                    "it does not take ids as they are: set engine.protocol=chat"
                )
            return None
        if answer.kind in ("busy", "stalled"):
            return None
        broken += answer.kind == "broken"
        if answer.kind == "fields":
            drop(server, answer, body)
        elif answer.kind != "broken" or broken > 1:
            break
    return hopeless(server, answer, key)


def hopeless(server: Server, answer: Answer, key: Key) -> str:
    """The message for an answer after which no request to this server makes sense."""
    if answer.status in (401, 403):
        what = "the key in" if key.secret else "no key, for there is none in"
        return (
            f"{server.url} answered {answer.text} to {what} the environment variable {key.variable}; "
            "set it to the server's key, or name another variable by engine.api_key_env"
        )
    advice = {
        402: "the account has no credit left",
        404: "correct engine.urls, engine.served_name or engine.protocol",
        429: "the quota is used up; raise it, or wait until it is renewed",
    }.get(answer.status, "see the server's own log")
    return f"{server.url} answered {answer.text}; {advice}"
