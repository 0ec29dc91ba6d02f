"""The report in a real browser: hostile texts do nothing, it is wide enough for a phone, and its filters work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.chromium import Watched, browser, watched
from tests.report.test_page import RESULTS, contents, example, poisoned
from tests.report.test_render import HOSTILE
from veridistill.report import page
from veridistill.report.gather import Contents
from veridistill.report.views import CandidateView, ExampleView

pytestmark = pytest.mark.chromium

REMOTE = [
    '<img src="http://127.0.0.1:9/x.png"><script src="http://127.0.0.1:9/x.js"></script>',
    '<link rel=stylesheet href="http://127.0.0.1:9/x.css"><style>@import url(http://127.0.0.1:9/y.css)</style>',
    '<meta http-equiv="refresh" content="0;url=http://127.0.0.1:9/"><base href="http://127.0.0.1:9/">',
    "</div></details></section></main><script>document.title='owned'</script><body onload=alert(1)>",
    "```html\n<script>document.title='owned'</script>\n```\n$\\text{</math><script>document.title='owned'</script>}$",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


def opened(chromium: Any, path: Path, width: int = 800, **context: Any) -> Watched:
    found = watched(chromium.new_context(viewport={"width": width, "height": 900}, **context), path.as_uri())
    found.page.goto(path.as_uri())
    return found


def open_all(found: Watched) -> None:
    found.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")


@pytest.mark.parametrize("text", [*HOSTILE, *REMOTE, "\n".join(HOSTILE + REMOTE)])
def test_hostile_texts_do_nothing(chromium: Any, tmp_path: Path, text: str) -> None:
    view = example(text, outcome=text, rejected_by=text)
    path = page.write(tmp_path, contents(text, poisoned(RESULTS, text), examples=[view]))
    found = opened(chromium, path)
    open_all(found)
    found.page.locator("#filter").get_by_label("Search").fill("a")
    found.page.wait_for_timeout(100)
    assert found.quiet, (found.requests, found.messages, found.errors, found.dialogs)
    assert found.page.evaluate("document.querySelectorAll('script').length") == 1
    assert found.page.evaluate("document.querySelectorAll('img,iframe,object,embed,link,base').length") == 0
    assert found.page.evaluate("[...document.querySelectorAll('a')].every(one => one.hash && !one.host)")
    assert found.page.title().startswith("veridistill: ")
    found.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1440])
def test_nothing_is_wider_than_the_page(chromium: Any, tmp_path: Path, width: int, scheme: str) -> None:
    long = "x" * 500 + " $" + "a+" * 300 + "b$ \n```python\n" + "y" * 400 + "\n```\n" + r"\(\hspace{5em}z\)"
    found = opened(chromium, page.write(tmp_path, contents(long)), width, color_scheme=scheme)
    open_all(found)
    assert found.page.evaluate("document.documentElement.scrollWidth") == width
    assert found.page.screenshot(full_page=True)
    assert found.quiet, found.messages
    found.page.context.close()


def test_examples_are_filtered_and_searched(chromium: Any, tmp_path: Path) -> None:
    kept = CandidateView(0, "accepted", None, True, "a", "the pens cost 5")
    views = [
        ExampleView("0", "first", "math", (kept,)),
        ExampleView(
            "1", "second", "code", (CandidateView(0, "rejected", "factuality", False, "a", "no pens"),)
        ),
        ExampleView("2", "third", "math", (CandidateView(0, "malformed", "truncated", False, "a", "cut"),)),
    ]
    found = opened(chromium, page.write(tmp_path, Contents(RESULTS, views)))

    def shown() -> list[str]:
        texts = found.page.locator(".example:visible .question").all_text_contents()
        assert found.page.locator("#filter output").text_content() == f"{len(texts)} of 3"
        return texts

    assert shown() == ["first", "second", "third"]
    found.page.locator("#filter").get_by_label("Search").fill("PENS")
    assert shown() == ["first", "second"]
    found.page.locator("#filter").get_by_label("domain").select_option("domain-math")
    assert shown() == ["first"]
    found.page.locator("#filter").get_by_label("Search").fill("")
    assert shown() == ["first", "third"]
    found.page.locator("#filter").get_by_label("ended by").select_option("by-truncated")
    assert shown() == ["third"]
    found.page.locator("#filter").get_by_label("outcome").select_option("kept")
    assert shown() == []
    assert found.quiet
    found.page.context.close()


def test_it_can_be_read_without_scripts(chromium: Any, tmp_path: Path) -> None:
    path = page.write(tmp_path, contents())
    context = chromium.new_context(java_script_enabled=False)
    found = watched(context, path.as_uri())
    found.page.goto(path.as_uri())
    assert not found.page.locator("#filter").is_visible()
    found.page.locator("#examples ~ .example summary").first.click()
    assert found.page.locator("#examples ~ .example .candidate").first.is_visible()
    context.close()


def test_on_paper_the_first_examples_are_open(chromium: Any, tmp_path: Path) -> None:
    views = [example(f"question {number}") for number in range(40)]
    found = opened(chromium, page.write(tmp_path, contents(examples=views)))
    assert not found.page.locator("#examples ~ .example .candidate").first.is_visible()
    found.page.emulate_media(media="print")
    visible = [one.is_visible() for one in found.page.locator("#examples ~ .example .candidate").all()]
    assert visible == [True] * 3 + [False] * 37
    listed = [one.is_visible() for one in found.page.locator("#examples ~ .example").all()]
    assert listed == [True] * 30 + [False] * 10
    assert found.page.pdf(format="A4").startswith(b"%PDF")
    found.page.context.close()
