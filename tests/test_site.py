"""The documentation builds as a site without a warning and loads nothing from elsewhere; README and citation hold."""

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from veridistill.cli import app
from veridistill.config import Config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"(?<!`)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(?ms)^```.*?^```$")
_FIELD = re.compile(r"\b(" + "|".join(Config.model_fields) + r")\.(?!jsonl|sqlite)(\w+)(?:\.(\w+))?(?==|`)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


class Loaded(HTMLParser):
    """What a page loads when it is opened: scripts, style sheets, images, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video") and found.get("src"):
            self.sources.append(found["src"] or "")
        if tag == "link" and found.get("rel") not in ("canonical", "next", "prev"):
            self.sources.append(found.get("href") or "")


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.sources
        for source in loaded.sources:
            assert not re.match(r"(?i)(https?:)?//", source), f"{page.name} loads {source}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_the_site_has_readme_and_notebook(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="faq.html"' in start
    assert 'href="contributing.html"' in start
    assert 'src="figures/report.png"' in start
    assert (site / "figures" / "report.png").stat().st_size < 150_000
    assert (site / "notebook.ipynb").exists()
    assert 'href="notebook.ipynb"' in (site / "python.html").read_text(encoding="utf-8")
    assert not (site / "hooks.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_work_where_the_page_lies(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in _LINK.findall(text):
        if not re.match(r"[a-z]+://|#", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.stem in ("README", "faq", "tutorial")], ids=lambda p: p.stem
)
def test_fields_that_a_page_names_exist(page: Path) -> None:
    found = _FIELD.findall(page.read_text(encoding="utf-8"))
    assert found
    for section, field, inner in found:
        fields = Config.model_fields[section].annotation.model_fields
        assert field in fields, f"{page.name}: {section}.{field}"
        if inner and section == "judge":
            assert inner in Config.model_fields[field].annotation.model_fields, (
                f"{page.name}: {section}.{field}.{inner}"
            )


def commands(text: str) -> list[list[str]]:
    """The command lines in a page's fenced blocks, as words, without comments."""
    lines = [line for block in _FENCE.findall(text) for line in block.replace("\\\n", " ").split("\n")]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("veridistill ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_a_page_exist_with_their_options(page: Path) -> None:
    known = get_command(app)
    for words in commands(page.read_text(encoding="utf-8")):
        command = known
        while hasattr(command, "commands") and words:
            if words[0].startswith("-"):
                break
            command = command.commands[words.pop(0)]
        options = {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words:
            name = word.split("=")[0]
            assert name in options or not re.match(r"--?[a-z]", name), f"{page.name}: {command.name} {word}"


def test_readme_is_short_and_so_is_contributing() -> None:
    assert README.count("\n") <= 120
    assert (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").count("\n") <= 60


# The keys of the Citation File Format 1.2.0, of those that a program of a project like this may have.
SOFTWARE = {"abstract", "authors", "cff-version", "date-released", "doi", "identifiers", "keywords", "license",
    "message", "preferred-citation", "references", "repository-code", "title", "type", "url", "version"}  # fmt: skip
REFERENCE = {"abstract", "authors", "date-published", "doi", "identifiers", "journal", "month", "notes", "title",
    "type", "url", "year"}  # fmt: skip


def test_the_citation_has_known_keys_and_names_the_paper() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"authors", "cff-version", "message", "title"} <= set(found) <= SOFTWARE
    assert found["cff-version"] == "1.2.0"
    assert f'version = "{found["version"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for paper in found["references"]:
        assert {"authors", "title", "type"} <= set(paper) <= REFERENCE
        assert all(set(author) <= {"family-names", "given-names", "orcid"} for author in paper["authors"])
        assert all(set(one) == {"type", "value", "description"} for one in paper["identifiers"])
    assert found["references"][0]["url"] in README
