"""Rows of a Parquet table by their place: only the row groups that hold them are read."""

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from veridistill.data.parquet import Table
from veridistill.errors import ConfigError

R = TypeVar("R")


def rows(table: Table[R], path: Path, start: int, count: int, without: Collection[str] = ()) -> list[R]:
    """The rows from `start` on, fewer than `count` at the end; columns in `without` are not read.

    Raises `ConfigError` for a file that is no such table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [name for name in table.columns if name not in without]
    found: list[R] = []
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            first = 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                low, high = max(start, first), min(start + count, first + size)
                if low < high:
                    part = file.read_row_group(group, columns=names, use_threads=False).slice(
                        low - first, high - low
                    )
                    found += [table.make(**row) for row in part.to_pylist()]
                first += size
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ConfigError(
            f"{path}: not a readable {table.name} table ({str(error).splitlines()[0]})"
        ) from None
    return found
