"""The viewer's pages: addresses, and what each shows. `guard` has checked who asks; only labels are written here."""

import sqlite3
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlencode

from veridistill.data.rundir import RunDir
from veridistill.errors import ConfigError
from veridistill.view import labelling, problem, queries, question, rounds, sample, search
from veridistill.view.guard import LABEL, Keys
from veridistill.view.index import find, reading, state
from veridistill.view.indexing import Indexer
from veridistill.view.pages import page, static
from veridistill.view.rounds import Source

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LONGEST_BODY = 16_384
SHOWN_AT_ONCE = 150_000
"""Characters of a question's candidates and replies up to which all of them are on the page."""


class Missing(Exception):
    """There is no such page."""


class _Place(NamedTuple):
    """A list of a round with the index of it."""

    source: Source
    connection: sqlite3.Connection


class Site:
    """Answers requests. Each one opens what it reads, and closes it again."""

    def __init__(self, run: RunDir, keys: Keys, indexer: Indexer) -> None:
        self._run, self._keys, self._indexer = run, keys, indexer
        self._labels = run.path / labelling.FILE

    def application(self) -> "Starlette":
        from starlette.applications import Starlette
        from starlette.routing import Route

        pages: dict[str, Callable[[Request], Response]] = {
            "/": self.first,
            "/static/{name}": self.static,
            "/{number:int}/questions": self.questions,
            "/{number:int}/question": self.question,
            "/{number:int}/exam": self.exam,
            "/{number:int}/problem": self.problem,
            "/{number:int}/label": self.label,
        }
        routes = [Route(path, self._safe(answer)) for path, answer in pages.items()]
        return Starlette(routes=[*routes, Route(LABEL, self.put, methods=["POST"])])

    def first(self, request: "Request") -> "Response":
        from starlette.responses import RedirectResponse

        return RedirectResponse(f"/{self._latest}/questions", 303)

    def static(self, request: "Request") -> "Response":
        from starlette.responses import Response

        found = static(request.path_params["name"])
        if found is None:
            raise Missing
        return Response(found.text, media_type=found.kind)

    def questions(self, request: "Request") -> "Response":
        return self._list(request, rounds.questions(self._run, self._number(request)), "questions.html.j2")

    def exam(self, request: "Request") -> "Response":
        source = rounds.exam(self._run, self._number(request))
        if source is None:
            return self._page(request, "message.html.j2", title="Exam", text=_NO_EXAM, at="exam")
        return self._list(request, source, "exam.html.j2")

    def question(self, request: "Request") -> "Response":
        with self._open(rounds.questions(self._run, self._number(request))) as at:
            item = find(at.connection, request.query_params.get("id", ""))
            if item is None:
                raise Missing
            asked = queries.query("questions", request.query_params)
            shown = question.read(self._run, at.source, item, self._indexer.seeds)
            around = search.neighbours(at.connection, asked.filter, item.no)
        return self._page(
            request, "question.html.j2", title="Question", at="questions", item=item, shown=shown, asked=asked,
            around=around, open=_opened(shown, request.query_params.get("c")),
            labels=self._of_round(request), live=at.source.live,
        )  # fmt: skip

    def problem(self, request: "Request") -> "Response":
        source = rounds.exam(self._run, self._number(request))
        if source is None:
            raise Missing
        with self._open(source) as at:
            item = find(at.connection, request.query_params.get("id", ""))
            if item is None:
                raise Missing
            asked = queries.query("exam", request.query_params)
            shown = problem.read(at.source, item)
            around = search.neighbours(at.connection, asked.filter, item.no)
        return self._page(
            request, "problem.html.j2", title="Problem", at="exam", item=item, shown=shown, asked=asked, around=around
        )  # fmt: skip

    def label(self, request: "Request") -> "Response":
        """The next candidate to label: with its question, and without what the judges said of it."""
        with self._open(rounds.questions(self._run, self._number(request))) as at:
            drawn = sample.sample(at.connection, self._of_round(request))
            shown, index = None, None
            if drawn.next is not None:
                _, item, index = drawn.next
                shown = question.read(self._run, at.source, item, self._indexer.seeds)
        candidate = (
            next((one for one in shown.candidates if one.fate.index == index), None) if shown else None
        )
        return self._page(
            request, "label.html.j2", title="Label", at="label", drawn=drawn, shown=shown, candidate=candidate,
            file=self._labels, live=at.source.live,
        )  # fmt: skip

    async def put(self, request: "Request") -> "Response":
        """Write one label; then back to the page that it came from."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import PlainTextResponse, RedirectResponse

        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_BODY:
                return PlainTextResponse("A label is shorter.", 413)
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        word, number, candidate = form.get("word"), form.get("round", ""), form.get("candidate", "")
        if not _same(form.get("key", ""), self._keys.form):
            return PlainTextResponse("This page is of an earlier start of the viewer; load it again.", 403)
        if word not in labelling.WORDS or not number.isdecimal() or not candidate.isdecimal():
            return PlainTextResponse("A label needs round, id, candidate, and right, wrong or unsure.", 400)
        # An id may hold characters that a form would change.
        where = (int(number), unquote(form.get("id", "")), int(candidate))
        try:
            there = await run_in_threadpool(self._exists, *where)
        except (FileNotFoundError, sqlite3.Error):
            return PlainTextResponse(_CHANGED, 503)
        if not there:
            return PlainTextResponse("The run has no such candidate.", 404)
        try:
            await run_in_threadpool(labelling.put, self._labels, *where, word)
        except OSError as error:
            return PlainTextResponse(f"{self._labels}: cannot be written ({error.strerror})", 500)
        return RedirectResponse(_back(form, *where), 303)

    def _list(self, request: "Request", source: Source, template: str) -> "Response":
        asked = queries.query(source.kind, request.query_params)
        with self._open(source) as at:
            found = search.page(at.connection, asked.filter, asked.start, asked.direction)
            facets = search.facets(at.connection)
            entries = search.count(at.connection, asked.filter.facets)
            progress = _progress(at.connection, source)
        return self._page(
            request, template, title=source.kind.capitalize(), at=source.kind, page=found, asked=asked,
            selects=queries.selects(asked, facets), entries=entries, progress=progress, live=source.live,
        )  # fmt: skip

    def _page(self, request: "Request", template: str, status: int = 200, **context: Any) -> "Response":
        from starlette.responses import HTMLResponse

        number = request.path_params.get("number", self._latest)
        text = page(
            template, run=self._run.path.absolute().name or str(self._run.path), number=number,
            numbers=rounds.numbers(self._run), key=self._keys.form, error=self._indexer.error, **context,
        )  # fmt: skip
        return HTMLResponse(text, status)

    def _safe(self, answer: "Callable[[Request], Response]") -> "Callable[[Request], Response]":
        """A page instead of an error that says nothing about the viewer itself."""

        def answered(request: "Request") -> "Response":
            try:
                return answer(request)
            except Missing:
                return self._page(request, "message.html.j2", 404, title="Not found", text=_MISSING, at="")
            except (question.Changed, FileNotFoundError, sqlite3.Error):
                return self._page(request, "message.html.j2", 503, title="One moment", text=_CHANGED, at="")
            except ConfigError as error:
                return self._page(
                    request, "message.html.j2", 500, title="Cannot be read", text=str(error), at=""
                )

        return answered

    @contextmanager
    def _open(self, source: Source) -> Any:
        with reading(self._indexer.path(source)) as connection:
            yield _Place(source, connection)

    def _exists(self, number: int, key: str, candidate: int) -> bool:
        if number not in rounds.numbers(self._run):
            return False
        with self._open(rounds.questions(self._run, number)) as at:
            item = find(at.connection, key)
        return item is not None and any(one[0] == candidate for one in item.note)

    def _of_round(self, request: "Request") -> dict[tuple[str, int], bool | None]:
        return labelling.of_round(labelling.read(self._labels), self._number(request))

    def _number(self, request: "Request") -> int:
        number = request.path_params["number"]
        if number not in rounds.numbers(self._run):
            raise Missing
        return int(number)

    @property
    def _latest(self) -> int:
        return rounds.numbers(self._run)[-1]


_NO_EXAM = "No exam of this round is graded yet. An exam appears when all of its problems are."
_MISSING = "The run has no such page. What is still being indexed appears in a moment."
_CHANGED = (
    "The run's files are being read anew, since they were just written. Load the page again in a moment."
)


def _same(given: str, known: str) -> bool:
    import secrets

    return secrets.compare_digest(given.encode("utf-8", "replace"), known.encode())


def _progress(connection: sqlite3.Connection, source: Source) -> tuple[int, int] | None:
    """Entries that are indexed, of how many; None once all are."""
    if source.live or state(connection, "complete"):
        return None
    return state(connection, "done"), state(connection, "total")


def _opened(shown: question.Question, chosen: str | None) -> set[int]:
    """The candidates that are shown with their votes: all, or where they are long one."""
    size = sum(
        len(one.parts.answer)
        + len(one.parts.reasoning or "")
        + sum(len(r.text) for v in one.votes for r in v.replies)
        for one in shown.candidates
    )
    indices = [one.fate.index for one in shown.candidates]
    if size <= SHOWN_AT_ONCE:
        return set(indices)
    kept = [one.fate.index for one in shown.candidates if one.fate.kept]
    return (
        {int(chosen)}
        if chosen and chosen.isdecimal() and int(chosen) in indices
        else set((kept or indices)[:1])
    )


def _back(form: dict[str, str], number: int, key: str, candidate: int) -> str:
    """Only to pages of the viewer: the queue, or the question with the candidate."""
    if form.get("from") == "queue":
        return f"/{number}/label"
    asked = queries.query(
        "questions", {n: v[0] for n, v in parse_qs(form.get("list", "").lstrip("?")).items()}
    )
    more = urlencode({"id": key, "c": candidate})
    rest = asked.address().lstrip("?")
    return f"/{number}/question?{more}{'&' + rest if rest else ''}#c{candidate}"
