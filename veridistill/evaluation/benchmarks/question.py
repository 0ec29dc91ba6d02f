"""How starter code and tests are shown in a question, for every benchmark alike; `domains.options` shows options.

How the answer is to be given is left to the solve template.
"""

from collections.abc import Sequence

_STARTER = "\n\nStart from this code:\n```python\n"
_TESTS = "\n\nYour code should pass these tests:\n```python\n"


def with_starter(question: str, code: str) -> str:
    """The question, and below it the code to start from, in a fenced block; or the question where there is none."""
    code = code.strip("\n").rstrip()
    return f"{question}{_STARTER}{code}\n```" if code else question


def with_tests(question: str, tests: Sequence[str]) -> str:
    """The question, and below it its tests in a fenced block."""
    return question + _TESTS + "\n".join(tests) + "\n```"


def without_code(question: str) -> str:
    """What `with_starter` or `with_tests` was given as the question."""
    for heading in (_STARTER, _TESTS):
        stem, _, code = question.rpartition(heading)
        if stem and code.endswith("\n```"):
            return stem
    return question
