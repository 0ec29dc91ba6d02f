"""Running programs in a sandbox with small limits."""

import asyncio

from veridistill.grading.sandbox import Limits, Run, opened
from veridistill.grading.sandbox.backends import Backend

QUICK = Limits(cpu=2, idle=1, memory=1 << 30, output=1 << 20, threads=64)


def runs(
    way: Backend, code: str, *inputs: str, entry: str | None = None, limits: Limits = QUICK
) -> list[Run]:
    async def all_of_them() -> list[Run]:
        async with opened(way, limits) as box:
            await box.load(code, entry)
            return [await box.run(given.encode()) for given in inputs or ("",)]

    return asyncio.run(all_of_them())


def run(way: Backend, code: str, given: str = "", entry: str | None = None, limits: Limits = QUICK) -> Run:
    return runs(way, code, given, entry=entry, limits=limits)[0]
