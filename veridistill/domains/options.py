"""How the options of a multiple-choice question are shown: the same for seed questions and for problems of an exam."""

from collections.abc import Sequence

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def with_options(question: str, options: Sequence[str]) -> str:
    """The question, and below it each option on a line of its own: `A. ...`."""
    shown = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return f"{question}\n\n{shown}"
