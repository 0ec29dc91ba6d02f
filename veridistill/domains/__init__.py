"""What differs between domains: the solve template, and where the final answer is in the text after the reasoning.

`decide` says whether a candidate is malformed; `grading` compares answers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from veridistill.domains import code, math, science
from veridistill.prompts import PromptSet
from veridistill.records import Domain


@dataclass(frozen=True, slots=True)
class DomainRules:
    """`solve` picks the template to sample candidates from; `answer_of` finds a final answer, or None."""

    solve: Callable[[PromptSet], str]
    answer_of: Callable[[str], str | None]


DOMAINS: dict[Domain, DomainRules] = {
    "math": DomainRules(lambda prompts: prompts.solve_math, math.answer_of),
    "science": DomainRules(lambda prompts: prompts.solve_science, science.answer_of),
    "code": DomainRules(lambda prompts: prompts.solve_code, code.answer_of),
}
