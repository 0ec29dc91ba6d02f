"""The viewer in a real browser: keys, labels, hostile text, and reading without JavaScript."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.view import runs
from tests.view.test_site import HOSTILE
from veridistill.data.rundir import RunDir
from veridistill.view import serve as serving

pytestmark = pytest.mark.chromium
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def served(run: RunDir) -> Iterator[str]:
    """The address of a viewer that runs in a thread."""
    import uvicorn

    started: list[str] = []
    ready = threading.Event()
    servers: list[Any] = []

    class Kept(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn, "Server", Kept)
        thread = threading.Thread(
            target=serving.serve, args=(run, 0, lambda address: (started.append(address), ready.set()))
        )
        thread.start()
        assert ready.wait(60)
        try:
            yield started[0]
        finally:
            servers[0].should_exit = True
            thread.join()


@contextmanager
def browser(tmp_path: Path, **options: Any) -> Iterator[Any]:
    """A page, which keeps what was said on the console and what was asked of the network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path="/usr/bin/chromium", args=FLAGS, **options
        )
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("dialog", lambda dialog: page.said.append(dialog.message))
        page.on("request", lambda request: page.asked.append(request.url))
        yield page
        context.close()


def opened(page: Any, address: str) -> str:
    """The viewer in the browser, once its index is complete; the address without the token."""
    page.goto(address)
    base = address.partition("/?")[0]
    page.wait_for_url(f"{base}/1/questions")
    while "are indexed so far" in page.content() or page.locator(".entry").count() == 0:
        page.reload()
    return base


def test_keys_move_open_search_and_turn_pages(tmp_path: Path) -> None:
    with served(runs.make(tmp_path / "run", 60)) as address, browser(tmp_path) as page:
        base = opened(page, address)
        for key in ("j", "j", "j", "k"):
            page.keyboard.press(key)
        assert "basket1?" in page.locator(".entry.current").inner_text()
        page.keyboard.press("Enter")
        page.wait_for_url("**/1/question?id=q1")
        page.keyboard.press("n")
        page.wait_for_url("**/1/question?id=q2")
        page.keyboard.press("p")
        page.wait_for_url("**/1/question?id=q1")
        page.goto(f"{base}/1/questions")
        page.keyboard.press("n")
        page.wait_for_url("**/1/questions?after=50")
        page.keyboard.press("/")
        page.keyboard.type("njrwu")  # in a field, keys are letters
        assert page.locator("input[type=search]").input_value() == "njrwu"
        page.locator("input[type=search]").fill("needle7")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=needle7**")
        assert page.locator(".entry").count() == 1
        page.keyboard.press("?")
        assert page.locator("#keys").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.locator("#keys").is_visible()
        page.keyboard.press("?")
        assert not page.locator("#keys").is_visible()
        assert page.said == []
        assert all(url.startswith((base, "data:")) for url in page.asked)


def test_labels_by_key_and_by_button(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 30)
    with served(run) as address, browser(tmp_path) as page:
        base = opened(page, address)
        page.goto(f"{base}/1/label")
        for number, key in enumerate("rwur", 1):
            with page.expect_navigation():
                page.keyboard.press(key)
            assert len(runs.labels(run)) == number
        assert [one["correct"] for one in runs.labels(run)] == [True, False, None, True]
        assert len({(one["id"], one["candidate"]) for one in runs.labels(run)}) == 4
        page.goto(f"{base}/1/question?id=q3")
        page.keyboard.press("j")
        page.keyboard.press("j")
        with page.expect_navigation():
            page.keyboard.press("w")
        assert runs.labels(run)[-1] == {"id": "q3", "candidate": 1, "correct": False, "round": 1}
        assert page.locator("#c1 button[aria-pressed=true]").inner_text().startswith("wrong")
        with page.expect_navigation():
            page.locator("#c0 button.right").click()
        assert runs.labels(run)[-1] == {"id": "q3", "candidate": 0, "correct": True, "round": 1}
        assert page.said == []


def test_hostile_text_does_nothing(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 2)
    seed = runs.Seed(f"{HOSTILE} id", f"{HOSTILE} question", "math", HOSTILE)
    found = [runs.judged(seed, 0, f"<think>{HOSTILE}</think>{HOSTILE} answer", None)]
    runs.write_round(run, 1, [(seed, found)])
    runs.journal(run, runs.replies(found))
    with served(run) as address, browser(tmp_path) as page:
        base = opened(page, address)
        page.locator(".entry a").first.click()
        page.wait_for_url("**/1/question?**")
        for details in page.locator("details").all():
            details.evaluate("one => one.open = true")
        assert "onerror=alert(1)" in page.locator("main").inner_text()
        assert page.locator("main img, main script, main iframe, main a[href^=javascript]").count() == 0
        with page.expect_navigation():
            page.locator("button.unsure").first.click()
        page.goto(f"{base}/1/label")
        assert "owned" not in page.title()
        assert page.said == []
        assert all(url.startswith((base, "data:")) for url in page.asked)
    assert runs.labels(run)[0]["id"] == seed.seed_id


def test_all_can_be_read_and_labelled_without_javascript(tmp_path: Path) -> None:
    run = runs.make(tmp_path / "run", 60)
    with served(run) as address, browser(tmp_path, java_script_enabled=False) as page:
        base = opened(page, address)
        page.locator("a[rel=next]").click()
        page.wait_for_url("**after=50")
        page.locator("select[name=kept]").select_option("no")
        page.locator(".filters button").click()
        page.wait_for_url("**kept=no**")
        page.locator(".entry a").nth(1).click()
        page.wait_for_url("**id=q5**")
        assert page.locator("details.reasoning .text").first.is_hidden()
        page.locator("details.reasoning summary").first.click()
        assert page.locator("details.reasoning .text").first.inner_text() == "idle"
        page.locator("#c0 button.wrong").click()
        page.wait_for_url("**#c0")
        page.locator("a.keys").click()
        assert page.locator("#keys").is_visible()
        page.goto(f"{base}/1/exam?flip=won")
        page.locator(".entry a").click()
        assert "after pear0" in page.locator("main").inner_text()
    assert runs.labels(run) == [{"id": "q5", "candidate": 0, "correct": False, "round": 1}]


@pytest.mark.parametrize("width", [400, 800, 1440])
def test_nothing_is_wider_than_the_window(tmp_path: Path, width: int) -> None:
    run = runs.make(tmp_path / "run", 3)
    seed = runs.Seed("w" * 300, "Wide" * 200 + f"$${'x+' * 200}x$$", "math", "s" * 300)
    text = "\n```python\n" + "x = " + "1 + " * 200 + "1\n```\n" + "y" * 900
    found = [runs.judged(seed, 0, f"<think>{text}</think>{text}", None)]
    runs.write_round(run, 1, [(seed, found)])
    size = {"width": width, "height": 800}
    with served(run) as address, browser(tmp_path, viewport=size) as page:
        base = opened(page, address)
        for path in ("questions", f"question?id={seed.seed_id}", "exam", "problem?id=quiz/p0", "label"):
            page.goto(f"{base}/1/{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
