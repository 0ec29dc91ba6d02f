"""What the site needs beside the pages: the files at the repository's root, and links that lead out of docs/.

On the forge a page links to source files (`../veridistill/lazy.py`) and README to pages (`docs/faq.md`). On the site
the first become plain text, or links to `repo_url` where one is set, and the second lose their folder. A link to a file
that is not there is a warning, which ends a strict build.
"""

import logging
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]`]|`[^`]*`)+)\]\((\.\./[^)\s]+)\)")
_OWN = re.compile(r"\]\((?:docs/)?([^):\s]+)\)")
_LIST = re.compile(r"(?m)^(?![-\s#|])(.+)\n(?=- )")
log = logging.getLogger("mkdocs.hooks.veridistill")


def on_files(files: Any, config: Any) -> Any:
    for source, name in PAGES.items():
        text = _OWN.sub(
            lambda found: f"]({PAGES.get(found[1], found[1])})", (ROOT / source).read_text("utf-8")
        )
        files.append(File.generated(config, name, content=_LIST.sub(r"\1\n\n", text)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    def link(found: re.Match[str]) -> str:
        words, target = found[1], found[2].removeprefix("../")
        if not (ROOT / target.split("#")[0]).exists():
            log.warning("%s links to %s, which is not there", page.file.src_uri, target)
        if target in PAGES:
            return f"[{words}]({PAGES[target]})"
        return f"[{words}]({config.repo_url.rstrip('/')}/blob/main/{target})" if config.repo_url else words

    return _LINK.sub(link, markdown)
