"""How options and starter code are shown in a question, for every benchmark alike.

How the answer is to be given is left to the solve template.
"""

from veridistill.domains.options import LETTERS, with_options

__all__ = ["LETTERS", "with_options", "with_starter", "without_starter"]

_STARTER = "\n\nStart from this code:\n```python\n"


def with_starter(question: str, code: str) -> str:
    """The question, and below it the code to start from, in a fenced block; or the question where there is none."""
    code = code.strip("\n").rstrip()
    return f"{question}{_STARTER}{code}\n```" if code else question


def without_starter(question: str) -> str:
    """What `with_starter` was given as the question."""
    stem, _, code = question.rpartition(_STARTER)
    return stem if code.endswith("\n```") and stem else question
