"""Fenced code as spans of five classes, coloured by the page's style sheet. What pygments cannot read stays plain."""

from functools import cache
from html import escape
from typing import Any

LONGEST = 20_000
"""Characters of code that are coloured: lexers are regular expressions, and a longer block is shown plain."""

_LANGUAGES = {
    "bash": "bash", "c": "c", "c++": "cpp", "cpp": "cpp", "cs": "csharp", "csharp": "csharp", "go": "go",
    "haskell": "haskell", "java": "java", "javascript": "javascript", "js": "javascript", "json": "json",
    "julia": "julia", "kotlin": "kotlin", "lua": "lua", "py": "python", "python": "python", "python3": "python",
    "r": "r", "ruby": "ruby", "rust": "rust", "sh": "bash", "shell": "bash", "sql": "sql", "swift": "swift",
    "ts": "typescript", "typescript": "typescript", "yaml": "yaml",
}  # fmt: skip


def highlighted(code: str, language: str) -> str:
    """The code as HTML: escaped text in spans with a class, nothing else."""
    name = _LANGUAGES.get(language.lower())
    if name is None or len(code) > LONGEST:
        return escape(code)
    try:
        tokens = list(_lexer(name).get_tokens(code))
    except Exception:  # a lexer that fails says nothing about the code
        return escape(code)
    if "".join(text for _, text in tokens) != code:
        return escape(code)
    parts: list[str] = []
    kind, run = "", ""
    for token, text in [*tokens, (None, "")]:
        own = kind if text.isspace() else _kind(token)
        if own != kind or token is None:
            parts.append(f'<span class="{kind}">{escape(run)}</span>' if kind else escape(run))
            kind, run = own, ""
        run += text
    return "".join(parts)


@cache
def _lexer(name: str) -> Any:
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]

    return get_lexer_by_name(name, stripnl=False, ensurenl=False)


def _kind(token: Any) -> str:
    from pygments.token import Comment, Keyword, Name, Number, Operator, String  # type: ignore[import-untyped]

    kinds = (
        (Comment, "hc"), (Keyword, "hk"), (Operator.Word, "hk"), (String, "hs"), (Number, "hn"),
        (Name.Function, "hf"), (Name.Class, "hf"), (Name.Builtin, "hf"),
    )  # fmt: skip
    return next((name for whole, name in kinds if token is not None and token in whole), "")
