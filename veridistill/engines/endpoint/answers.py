"""What an answer that is not a reply means: ask again, reduce the width, omit a field, refuse the request, or stop.

Pure functions over status, headers and body. Servers differ in their words; the rules below are by status first, then
by the words of several servers (vLLM, SGLang, llama.cpp, TGI, hosted ones). `engine` acts on the result.
"""

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

Kind = Literal["busy", "broken", "stalled", "fields", "too_long", "refused", "fatal"]
"""busy: overloaded. broken: transport or server fault. stalled: no token for too long. fields: it does not support a
field. too_long: prompt and reply exceed the context. refused: this request alone. fatal: no request will ever pass."""

LONGEST_WAIT = 60.0
"""Seconds; a Retry-After beyond it is cut to it, so that an absurd one does not stop a run."""

_QUOTA = ("insufficient_quota", "exceeded your current quota", "insufficient credits", "billing_hard_limit")
_TOO_LONG = re.compile(
    r"context.{0,3}length|context.{0,3}size|context.{0,3}window|maximum model length|max_model_len|too long"
    r"|must have less than \d+ tokens|`?max_new_tokens`? must be <=|input is too large",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"(?:context.{0,3}(?:length|size|window)|max_model_len|n_ctx)[^\d]{0,16}(\d+)", re.IGNORECASE
)
_PROMPT = re.compile(
    r"(\d+)\s+(?:tokens\s+)?(?:in|from)\s+the\s+(?:input\s+)?(?:messages|prompt)"
    r"|(?:has|contains|have)\s+(?:at least\s+)?(\d+)\s+(?:input|prompt)\s+tokens"
    r"|\b(?:input|prompt|request)\s*\((\d+)\s+tokens\)",
    re.IGNORECASE,
)
_UNKNOWN_FIELD = re.compile(
    r"unrecogni[sz]ed|unknown|unexpected|unsupported|not support|not permitted|not allowed|extra inputs|invalid",
    re.IGNORECASE,
)
_NAMED = (
    r"(?:[\"'`]|(?:supplied|parameters?|arguments?|fields?|property|properties|keys?):?\s+(?:[\w.]+,\s*)*)"
    r"{}(?![\w-])"
)
_SHORT = 600  # characters; a longer message may quote the prompt, in which any word can stand


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` quotes the server for people; `status` is 0 where there was none, or none but 200.

    `retry_after` is in seconds, None when the server named no usable time.
    `fields` are those of the request that it does not know; `context` and `prompt` are lengths in tokens that it named.
    """

    kind: Kind
    text: str
    status: int = 0
    retry_after: float | None = None
    fields: frozenset[str] = frozenset()
    context: int | None = None
    prompt: int | None = None


class BadAnswer(Exception):
    """Carries an `Answer` from the wire to the engine, which decides what it means for the run."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


def classify(status: int, headers: Mapping[str, str], body: str, sent: Mapping[str, Any]) -> Answer:
    """What an HTTP answer other than 200 means for the request `sent`."""
    said = _message(body)
    text = f"{status} {said}".strip()
    whole = body.lower()
    if status == 402 or (status == 429 and any(word in whole for word in _QUOTA)):
        return Answer("fatal", text, status)
    if status in (429, 503, 529):
        return Answer("busy", text, status, retry_after(headers))
    if status in (408, 409, 425) or status >= 500:
        return Answer("broken", text, status)
    if status not in (400, 413, 422):
        return Answer("fatal", text, status)
    if _TOO_LONG.search(said) or "context_length_exceeded" in whole:
        return Answer(
            "too_long", text, status, context=_number(_CONTEXT, said), prompt=_number(_PROMPT, said)
        )
    if unknown := unknown_fields(body, sent):
        return Answer("fields", text, status, fields=unknown)
    return Answer("refused", text, status)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait by the header Retry-After (seconds or a date, RFC 9110 §10.2.3), at most `LONGEST_WAIT`.

    None where there is none, it cannot be read, or it is not in the future. A date counts from the server's own Date
    where it gives one, since clocks differ.
    """
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            then = parsedate_to_datetime(value).timestamp()
            here = parsedate_to_datetime(headers["Date"]).timestamp() if "Date" in headers else None
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = then - (here or now or time.time())
    return min(seconds, LONGEST_WAIT) if seconds > 0 and not math.isnan(seconds) else None


def unknown_fields(body: str, sent: Mapping[str, Any]) -> frozenset[str]:
    """The fields of a request that its answer calls unknown: by structure (`param`, `loc`), or by its words."""
    named: set[str] = set()
    _collect(_json(body), named)
    said = _message(body)
    if len(said) <= _SHORT and _UNKNOWN_FIELD.search(said):
        named |= {name for name in sent if re.search(_NAMED.format(re.escape(name)), said, re.IGNORECASE)}
    return frozenset(named & (sent.keys() - {"model", "messages", "prompt", "stream"}))


def _collect(value: Any, named: set[str]) -> None:
    """Field names from OpenAI's `param` and from pydantic's `loc` of an extra field."""
    if isinstance(value, list):
        for item in value:
            _collect(item, named)
    elif isinstance(value, dict):
        if isinstance(value.get("param"), str):
            named.add(value["param"].rpartition(".")[2])
        if "extra" in str(value.get("type")) and isinstance(value.get("loc"), list):
            named.update(part for part in value["loc"] if isinstance(part, str))
        _collect(value.get("error"), named)
        _collect(value.get("detail"), named)


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(next(group for group in found.groups() if group)) if found else None


def _message(body: str) -> str:
    """What a body says to people, in one line."""
    value = _json(body)
    for _ in range(4):
        if isinstance(value, dict):
            value = next((value[k] for k in ("error", "message", "detail", "msg") if value.get(k)), "")
        elif isinstance(value, list):
            value = "; ".join(_words(item) for item in value)
    said = value if isinstance(value, str) and value else re.sub(r"<[^>]*>", " ", body)
    return " ".join(said.split())[:2000]


def _words(item: Any) -> str:
    """One entry of pydantic's list of faults."""
    if isinstance(item, dict) and "msg" in item:
        return f"{'.'.join(map(str, item.get('loc', ())))}: {item['msg']}"
    return str(item)


def _json(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
