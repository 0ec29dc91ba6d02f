"""Mathematics that needs algebra, compared by workers that run `mathcheck`; they also check references.

Replies are cached, since the samples of one problem tend to agree. That a worker exceeds its limits is informative
about the question; that it could not be started, was killed or got no processor time is not (`NoReply`).
"""

from veridistill.grading.workers import Failure, Reply, Workers
from veridistill.records import Grade

_REMEMBERED = 20_000
_OURS: frozenset[Failure] = frozenset({"killed", "stalled", "unstartable"})


class NoReply(Exception):
    """No worker could answer, through no fault of the question; the message says why."""


class Algebra:
    """`num_workers` processes, by default one per core, started when they are first needed.

    `num_compared` counts the comparisons that were made.
    """

    def __init__(self, num_workers: int | None = None) -> None:
        self.num_compared = 0
        self._workers = Workers("veridistill.grading.mathcheck", num_workers)
        self._known: dict[tuple[str, ...], Reply] = {}

    async def close(self) -> None:
        await self._workers.close()

    async def compare(self, answer: str, reference: str) -> Grade:
        """The grade of an answer that cannot be graded as text. Raises `NoReply`."""
        self.num_compared += (answer, reference) not in self._known
        reply = await self._asked(answer, reference)
        value = reply.value
        if reply.failure:
            return Grade("wrong", error=f"not compared: {reply.detail}")
        if value.get("unreadable") == "answer":
            return Grade("wrong", error="the answer cannot be read as mathematics")
        if value.get("unreadable"):
            return Grade(
                "wrong", error="not compared: the reference cannot be read in the form of the answer"
            )
        if value.get("error"):
            return Grade("wrong", error=f"not compared: {value['error']}")
        return Grade("pass" if value["same"] else "wrong")

    async def fault(self, reference: str) -> str:
        """Why a reference cannot be read as mathematics; empty when it can. Raises `NoReply`."""
        reply = await self._asked(reference)
        if reply.failure or reply.value.get("error"):
            return f"the reference {reference!r} was not read: {reply.detail or reply.value['error']}"
        return "" if reply.value["readable"] else f"the reference {reference!r} cannot be read as mathematics"

    async def _asked(self, *question: str) -> Reply:
        if question not in self._known:
            reply = await self._workers.ask(question)
            if reply.failure in _OURS:
                raise NoReply(reply.detail)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[question] = reply
        return self._known[question]
