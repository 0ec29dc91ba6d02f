r"""Math: the final answer is the last balanced, non-empty `\boxed{...}`."""

import re

# `\\boxed` is what a doubly escaping writer makes of `\boxed`. Other escapes are skipped: `\{` is no brace.
_TOKEN = re.compile(
    r"""\\\\?(?:boxed|fbox)\s*+
          (?: (?P<open>\{) | (?P<bare>[-+]?\d++(?:[.,/]\d++)*+) | (?<=\s)(?P<letter>[A-Za-z])(?![A-Za-z]) )
      | \\.
      | (?P<brace>[{}])
    """,
    re.VERBOSE | re.DOTALL,
)
# Markup that sets nothing: `\boxed{\text{ }}` is as empty as `\boxed{}`.
_NOTHING = re.compile(r"(?:\\(?:text|math)[a-z]*+|\\q?quad|\\[,;:! ]|[\s{}~$])*+")


def answer_of(text: str) -> str | None:
    r"""The content of the box that starts last, of those that are closed and not empty. Linear time.

    `\fbox{}` counts as a box, and so do `\boxed 5`, `\boxed x` and the doubly escaped `\\boxed{5}`.
    """
    starts: list[int | None] = []  # of each open brace: where its box's content starts, None if it is no box
    best = (-1, "")
    for token in _TOKEN.finditer(text):
        if token["open"]:
            starts.append(token.end())
        elif bare := token["bare"] or token["letter"]:
            best = max(best, (token.start(), bare))
        elif token["brace"] == "{":
            starts.append(None)
        elif token["brace"] and starts:
            start = starts.pop()
            if start is not None and start > best[0] and not _NOTHING.fullmatch(text, start, token.start()):
                best = (start, text[start : token.start()].strip())
    return best[1] or None
