"""Tasks side by side whose results are taken in the order in which they were started."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Crew(Generic[R]):
    """`open` counts the tasks that run, `tasks` those whose results were not taken yet, oldest first."""

    def __init__(self) -> None:
        self.tasks: deque[asyncio.Task[R]] = deque()
        self.open = 0
        self._changed = asyncio.Event()
        self._failed: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, R]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._done)
        self.tasks.append(task)
        self.open += 1

    def _done(self, task: asyncio.Task[R]) -> None:
        self.open -= 1
        if not task.cancelled() and task.exception() is not None:
            self._failed = self._failed or task.exception()
        self._changed.set()

    async def change(self) -> None:
        """Wait until a task has ended; raises the first error of any."""
        await self._changed.wait()
        self._changed.clear()
        if self._failed is not None:
            raise self._failed

    def finished(self) -> Iterator[R]:
        while self.tasks and self.tasks[0].done():
            yield self.tasks.popleft().result()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
