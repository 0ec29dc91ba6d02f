"""How replies of the lab's model are written, whatever the world: reasoning, verdicts, prompts, and digits compared.

Marks: `,` ends a step that agrees, `!` says that two parts differ and ends the work; `.` represents a digit that only
one of two numbers has.
"""

from functools import cache
from itertools import zip_longest

from veridistill import prompts
from veridistill.decide import split
from veridistill.lab.worlds.world import Stage, T, World

JUNK = ("Solution", ":", "The answer is as follows.", "I do not know.", "Thought process:", "\\boxed{}", "?")
"""Answers that say nothing."""
JUNK_WORK = "?\n"


def think(work: str, visible: str) -> str:
    """A reply in Qwen3's form; `work` is empty or ends with a newline."""
    return f"<think>\n{work or chr(10)}</think>\n\n{visible}"


def verdict(work: str, accepted: bool, prefix: str = "") -> str:
    return think(work, f"{prefix}[[{'Y' if accepted else 'N'}]]")


def checked(work: str, prefix: str = "") -> str:
    """The verdict that the work implies: no step of it differs."""
    return verdict(work, "!" not in work and work != JUNK_WORK, prefix)


def prompt(name: str, **values: str) -> str:
    """The compact prompt of that name with its values filled in."""
    return prompts.fill(getattr(_compact(), name), **values)


@cache
def _compact() -> prompts.PromptSet:
    return prompts.load("compact")


def digits_up(number: int, num: int) -> list[int]:
    """The digits from the units up, padded with zeros to at least `num`."""
    return [int(d) for d in str(number)[::-1].ljust(num, "0")]


def pairs(left: str, right: str) -> str:
    """Digit pairs of two numbers: `=` if equal, `,` if equal and last, `!` at the first difference."""
    work = ""
    for first, second in zip_longest(left, right, fillvalue="."):
        if first != second:
            return work + f"{first}{second}!"
        work += f"{first}{second}="
    return work[:-1] + ","


def division(dividend: str, a: int) -> str:
    """dividend ÷ a from the top: each step is the remainder, the next digit, `=`, the quotient's digit."""
    steps, rest = [], 0
    for digit in map(int, dividend):
        steps.append(f"{rest}{digit}={(10 * rest + digit) // a},")
        rest = (10 * rest + digit) % a
    return "".join(steps)


def product(a: int, x: int) -> str:
    """a · x from the units up: each step is the digit of x, `:`, and a · digit + carry in two digits."""
    steps, carry = [], 0
    for digit in digits_up(x, 1):
        value = a * digit + carry
        carry = value // 10
        steps.append(f"{digit}:{value:02},")
    return "".join(steps)


def passes(world: World[T], stage: Stage, task: T, answer: str) -> bool:
    """Whether a stage of the cascade passes an answer when its judge works as the world teaches it."""
    judge = world.judge
    if stage == "cycle_consistency":
        reply = judge.compare(task, split(judge.infer(answer)).answer)
    else:
        reply = (judge.factuality if stage == "factuality" else judge.correctness)(task, answer)
    return split(reply).answer.endswith("[[Y]]")
