"""A real headless Chromium for tests of pages, and what it must never see.

`VERIDISTILL_CHROMIUM` names the program if it is not /usr/bin/chromium. A test that needs it fails without it, since it
is only run when asked for (`pytest -m chromium`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def program() -> str:
    path = os.environ.get("VERIDISTILL_CHROMIUM", "/usr/bin/chromium")
    assert Path(path).is_file(), (
        f"{path}: no Chromium here; install it (Debian: apt-get install chromium) or name it in VERIDISTILL_CHROMIUM"
    )
    return path


@dataclass
class Watched:
    """A page, and everything that it tried beside being shown."""

    page: Any
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        return not (self.requests or self.messages or self.errors or self.dialogs)


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, ended at the end of the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program(), args=list(OPTIONS))
        try:
            yield started
        finally:
            started.close()


def watched(context: Any, own: str) -> Watched:
    """A new page; requests to anything but the address `own` are noted, and so is all that is said on the console."""
    found = Watched(context.new_page())
    page = found.page
    page.on(
        "request",
        lambda request: None if request.url.split("#")[0] == own else found.requests.append(request.url),
    )
    page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.errors.append(str(error)))

    def dismiss(dialog: Any) -> None:
        found.dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    return found
