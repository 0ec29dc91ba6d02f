"""Code: the final answer is the last closed, non-empty fenced block."""

import re

_FENCE = re.compile(r"(?P<indent>[ \t]*+)(?P<mark>`{3,}+|~{3,}+)(?P<info>.*)")


def answer_of(text: str) -> str | None:
    """The lines of the last block that is opened, closed and not blank, as in CommonMark.

    A block is closed by a line of at least as many of the marks that opened it and nothing else. The indent
    of the opening fence is taken off its lines, for blocks in lists.
    """
    found = None
    opening: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        fence = _FENCE.fullmatch(line)
        if opening is None:
            if fence and "`" not in fence["info"]:
                opening, lines = fence, []
        elif fence and _closes(fence, opening):
            found = "\n".join(lines) if "".join(lines).strip() else found
            opening = None
        else:
            lines.append(line.removeprefix(opening["indent"]))
    return found


def _closes(fence: re.Match[str], opening: re.Match[str]) -> bool:
    return (
        fence["mark"].startswith(opening["mark"])
        and not fence["info"].strip()
        and len(fence["indent"]) <= len(opening["indent"]) + 3
    )
