"""HTTP to one OpenAI-compatible server: its address, one streamed request. `pool` chooses servers, `engine` retries.

`exchange` returns a complete `Reply` or raises `BadAnswer` with what the server said. The API key is sent in a
header and is in no message.
"""

import asyncio
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from veridistill.engines.endpoint.answers import Answer, BadAnswer, classify
from veridistill.engines.endpoint.reply import Events, Reply, broken
from veridistill.errors import ConfigError, missing_extra

if TYPE_CHECKING:
    import aiohttp

_CONNECT = 10.0  # seconds until a server that takes no connection counts as unreachable
_KEEP_ALIVE = 4.0  # seconds; uvicorn closes idle connections after 5, and a request on a closed one fails
_LONGEST_ERROR = 1 << 16  # bytes of an error's body that are read
_REST = 5.0  # seconds a server has for its counts and the end of the response, once the reply is whole
_STATUS_KEPT = 300


def base_url(url: str) -> str:
    """`http://host:8000` and `http://host:8000/v1/` as `http://host:8000/v1`. Raises `ConfigError` for no address."""
    parts = urlsplit(url.strip())
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"engine.urls: {url!r} is not an http address; give one such as http://127.0.0.1:8000/v1"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"engine.urls: the address of {parts.hostname} must not contain a user, password, query or fragment; "
            "give a key by the environment variable that engine.api_key_env names"
        )
    path = re.sub(r"/(chat/completions|completions|models)$", "", parts.path.rstrip("/"))
    versioned = any(re.fullmatch(r"v\d\w*", part) for part in path.split("/"))
    return f"{parts.scheme}://{parts.netloc}{path}" + ("" if versioned else "/v1")


@dataclass(frozen=True, slots=True)
class Key:
    """The API key of the environment variable `variable`; empty where it is not set. Never shown."""

    variable: str
    secret: str = field(repr=False)

    @classmethod
    def of(cls, variable: str) -> "Key":
        """Raises `ConfigError` for a key that no header can carry, without saying it."""
        secret = os.environ.get(variable, "").strip()
        if not secret.isascii() or not secret.isprintable():
            raise ConfigError(
                f"the environment variable {variable} holds no usable API key: not printable ASCII"
            )
        return cls(variable, secret)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    def hidden(self, text: str) -> str:
        """A server's words without the key, which some repeat."""
        return text.replace(self.secret, "***") if self.secret else text


def open_session(key: Key) -> "aiohttp.ClientSession":
    """A session without cookies, proxies or connection limits: the pool limits the number of calls."""
    try:
        import aiohttp
    except ImportError:
        raise missing_extra("engine.kind=endpoint", "endpoint") from None
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=key.headers(),
    )


async def exchange(
    session: "aiohttp.ClientSession",
    url: str,
    body: Mapping[str, Any],
    idle_timeout: float,
    key: Key,
    moved: Callable[[int], object] = lambda num: None,
) -> Reply:
    """POST a request and read its reply; `moved` is called with the number of tokens as they come.

    Raises `BadAnswer` for everything else, also when no token came for `idle_timeout` seconds: bytes that are no
    tokens do not count. Cancelling closes the connection, which ends the request in the server.
    """
    import aiohttp

    reply = Reply()
    try:
        async with asyncio.timeout(idle_timeout) as idle:
            async with session.post(url, json=body, allow_redirects=False) as response:
                if response.status != 200:
                    raise BadAnswer(await _refusal(response, body))
                await _read(response, reply, idle, idle_timeout, moved)
    except TimeoutError as error:
        if not reply.whole and isinstance(error, aiohttp.ClientError):
            raise broken(f"no connection within {_CONNECT:g} s") from None
        if not reply.whole:
            raise BadAnswer(Answer("stalled", f"no token for {idle_timeout:g} s")) from None
    except (aiohttp.ClientError, OSError) as error:
        if not reply.whole:
            raise broken(key.hidden(f"{type(error).__name__}: {error}".removesuffix(": "))) from None
    except RuntimeError:  # how aiohttp calls a read whose session was closed meanwhile
        if not session.closed:
            raise
        if not reply.whole:
            raise broken("the session was closed") from None
    except BadAnswer as bad:
        raise BadAnswer(_hidden(bad.answer, key)) from None
    reply.check()
    return reply


async def _read(
    response: "aiohttp.ClientResponse",
    reply: Reply,
    idle: asyncio.Timeout,
    idle_timeout: float,
    moved: Callable[[int], object],
) -> None:
    if "json" in response.content_type:  # the server does not stream
        _whole(await response.read(), reply)
        moved(reply.num_tokens)
        return
    if "html" in response.content_type:
        raise broken(f"status 200 with a page of HTML: {(await _text(response))[:_STATUS_KEPT]}")
    loop, events, whole = asyncio.get_running_loop(), Events(), False
    async for piece in response.content.iter_any():
        for data in events.feed(piece):
            if num := reply.take(data):
                moved(num)
                if not whole:
                    idle.reschedule(loop.time() + idle_timeout)
        if reply.whole and not whole:
            whole = True
            idle.reschedule(loop.time() + _REST)  # once: comments may drip for ever
    for data in events.end():
        if num := reply.take(data):
            moved(num)


def _whole(data: bytes, reply: Reply) -> None:
    """A reply in one piece."""
    reply.take(data)
    reply.done = True


async def _refusal(response: "aiohttp.ClientResponse", body: Mapping[str, Any]) -> Answer:
    if 300 <= response.status < 400:
        where = response.headers.get("Location", "nowhere")[:_STATUS_KEPT]
        what = (
            f"{response.status}, a redirect to {where}, which is not followed: key and prompts would go there"
        )
        return Answer("fatal", what, response.status)
    return classify(response.status, response.headers, await _text(response), body)


async def _text(response: "aiohttp.ClientResponse") -> str:
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > _LONGEST_ERROR:
            response.close()
            break
    return bytes(data[:_LONGEST_ERROR]).decode("utf-8", "replace")


def _hidden(answer: Answer, key: Key) -> Answer:
    return replace(answer, text=key.hidden(answer.text)[:_STATUS_KEPT])


async def get_json(
    session: "aiohttp.ClientSession", url: str, timeout: float, key: Key, body: object | None = None
) -> Any:
    """What a GET (a POST, with a body) answers as JSON. Raises `BadAnswer`, a `ClientError` or `TimeoutError`."""
    method = "GET" if body is None else "POST"
    async with (
        asyncio.timeout(timeout),
        session.request(method, url, json=body, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise BadAnswer(_hidden(await _refusal(response, {}), key))
        try:
            return json.loads(await response.read())
        except (ValueError, RecursionError):
            raise broken("status 200, but not JSON") from None
