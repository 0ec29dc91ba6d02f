"""Who may ask the viewer: a browser that was given the token, at this machine's own address, from the viewer's pages.

A page elsewhere can neither read the viewer (its address is checked, so that no other name can be made to mean it) nor
make it write (the one request that does must come from a page of the viewer, and with the token of that page).
"""

import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Headers = dict[str, str]

LABEL = "/label"
_SECURITY = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:;"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer, with which a browser hides the origin of a form as well.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_CLOSED = (
    "This viewer is open to the browser that was given its address with the token alone."
    " Open the address that `veridistill view` printed."
)


class Keys:
    """Random for each start: the token of the printed address, the cookie it is exchanged for, and that of forms."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token, self.cookie, self.form = (secrets.token_urlsafe(32) for _ in range(3))

    @property
    def cookie_name(self) -> str:
        """Cookies are not kept apart by port, so the name is."""
        return f"veridistill-{self.port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"

    @property
    def address(self) -> str:
        return f"http://{self.hosts[0]}/?token={self.token}"


class Guard:
    """An ASGI application in front of another one."""

    def __init__(self, site: Any, keys: Keys) -> None:
        self._site, self._keys = site, keys

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._site(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def secured(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _SECURITY.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._site(scope, receive, secured)
        else:
            await _answer(secured, *refusal)

    def _refusal(self, scope: Any) -> tuple[int, str, Headers] | None:
        """Status, text and headers of an answer that the site does not give itself."""
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        host, method, path = headers.get("host", ""), scope["method"], scope["path"]
        if host not in self._keys.hosts:
            return 400, f"Unknown host; the viewer is at {self._keys.hosts[0]}.", {}
        if method not in ("GET", "HEAD") and (method, path) != ("POST", LABEL):
            return 405, "This can only be read.", {"allow": "GET, HEAD"}
        if method != "POST" and path == LABEL:
            return 405, "Labels are posted.", {"allow": "POST"}
        if (origin := headers.get("origin")) not in (None, f"http://{host}") or (
            method == "POST" and not origin
        ):
            return 403, "Asked from another site's page.", {}
        if (
            method == "GET"
            and path == "/"
            and (given := parse_qs(scope["query_string"].decode("latin-1")).get("token"))
        ):
            return self._enter(given[0])
        if not _same(self._cookie(headers.get("cookie", "")), self._keys.cookie):
            return 403, _CLOSED, {}
        return None

    def _enter(self, token: str) -> tuple[int, str, Headers]:
        """The token is taken out of the address, and a cookie put in its place."""
        if not _same(token, self._keys.token):
            return 403, _CLOSED, {}
        cookie = f"{self._keys.cookie_name}={self._keys.cookie}; Path=/; HttpOnly; SameSite=Strict"
        return 303, "", {"location": "/", "set-cookie": cookie}

    def _cookie(self, header: str) -> str:
        try:
            found = SimpleCookie(header).get(self._keys.cookie_name)
        except CookieError:
            return ""
        return found.value if found else ""


def _same(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), known.encode())


async def _answer(send: Any, status: int, text: str, headers: Headers) -> None:
    body = text.encode()
    given = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), **headers}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
