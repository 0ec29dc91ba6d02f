"""The notebook of the docs does the whole job on the lab, and the SQL of `docs/tables.md` runs on what it leaves."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK = DOCS / "notebook.ipynb"
QUERIES = re.findall(r"```sql\n(.*?)```", (DOCS / "tables.md").read_text(encoding="utf-8"), re.DOTALL)

nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel")
nbclient = pytest.importorskip("nbclient")
duckdb = pytest.importorskip("duckdb")
pytest.importorskip("ipykernel")
pytestmark = pytest.mark.filterwarnings("ignore:Proactor event loop", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def cells(folder: Path) -> dict[str, Any]:
    """The executed cells by id."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return {cell.id: cell for cell in notebook.cells}


def result(cell: Any) -> str:
    return str(next(o.data["text/plain"] for o in cell.outputs if o.output_type == "execute_result"))


def test_the_committed_notebook_has_no_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_notebook_runs_the_whole_job(cells: dict[str, Any]) -> None:
    assert re.match(r"Result\('runs/demo': complete, gain [+-]\d", result(cells["run"]))
    gain = ast.literal_eval(result(cells["gain"]))
    assert gain["low"] <= gain["mean"] <= gain["high"]
    assert "accepted" in result(cells["table"])
    assert "yes" in result(cells["sql"])


def test_progress_in_a_notebook_is_a_few_plain_lines(cells: dict[str, Any]) -> None:
    said = "".join(o.text for o in cells["run"].outputs if o.output_type == "stream")
    assert "build: 60/60 questions" in said
    assert "\x1b" not in said
    assert "\r" not in said
    assert len(said.splitlines()) < 40


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("query", QUERIES, ids=[f"query-{n}" for n, _ in enumerate(QUERIES, 1)])
def test_the_docs_sql_runs_as_it_stands(query: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert duckdb.sql(query).fetchall()


def test_the_docs_have_sql() -> None:
    assert len(QUERIES) >= 5
