"""Every column of every table is described, and `docs/tables.md` has what the program says."""

from pathlib import Path

import pytest

from veridistill.data import tables
from veridistill.data.meanings import MEANINGS, TABLES, kind_in_words, reference
from veridistill.data.parquet import Table

DOCS = Path(__file__).parents[2] / "docs" / "tables.md"


def test_every_table_is_described() -> None:
    known = [one for one in vars(tables).values() if isinstance(one, Table)]
    assert {table.name for table in known} == set(TABLES) == set(MEANINGS)


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_described_in_its_place(name: str) -> None:
    assert list(MEANINGS[name].columns) == list(TABLES[name].columns)


def test_the_page_has_the_columns_as_the_program_has_them() -> None:
    assert DOCS.read_text(encoding="utf-8").endswith(reference())


@pytest.mark.parametrize(
    ("kind", "words"),
    [("int32", "int32"), ("string?", "string or null"), ("list<int32>", "list of int32")],
)
def test_types_are_said_in_words(kind: str, words: str) -> None:
    assert kind_in_words(kind) == words
