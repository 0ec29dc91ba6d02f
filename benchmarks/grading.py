"""How fast answers in mathematics are graded, how many need a worker, and that hostile ones stop nothing.

    python benchmarks/grading.py --json FILE                 # 10,000 answers
    python benchmarks/grading.py --quick                     # 300

The answers are generated here, each with its correct grade: mostly integers, then fractions, LaTeX that only looks
different, LaTeX that needs algebra, lists, units, replies without an answer, and 1.5 % hostile ones. Hardly two are
equal, so almost nothing is graded from a cache. `slow` counts those that ended at a limit of processor time.
"""

import argparse
import asyncio
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridistill.grading.graders import Graders
from veridistill.records import Grade, Problem

OPEN = 512
"""Responses in work at once, as in an evaluation."""


@dataclass(frozen=True, slots=True)
class Case:
    """A boxed answer, its reference and whether it is right; `raw` is the complete reply, if given."""

    answer: str
    reference: str
    right: bool
    raw: str | None = None

    @property
    def response(self) -> str:
        if self.raw is not None:
            return self.raw
        return f"<think>Some reasoning, \\boxed{{0}} perhaps.</think>So the answer is $\\boxed{{{self.answer}}}$."


def integer(number: int, rng: random.Random) -> Case:
    right = rng.random() < 0.6
    looks = rng.choice(("{}", "{}.", "{:,}", r"\text{{{}}}", "x = {}", "0{}", "{}.0"))
    return Case(looks.format(number if right else number + rng.randint(1, 9)), str(number), right)


def fraction(number: int, rng: random.Random) -> Case:
    right = rng.random() < 0.6
    top = 2 * number + 1
    answer = rng.choice((rf"\dfrac{{{top}}}{{2}}", f"{top}/2", f"{number}.5", rf"\frac{{{2 * top}}}{{4}}"))
    return Case(answer, rf"\frac{{{top if right else top + 2}}}{{2}}", right)


def cosmetic(number: int, rng: random.Random) -> Case:
    answer = rng.choice((r"\left( {n}, \dfrac{{\pi}}{{2}} \right)", r"{n}\sqrt3 + \pi", r"x^{{2}} + {n}"))
    reference = {"\\l": r"({n},\frac{{\pi}}{{2}})", "{n": r"{n}\sqrt{{3}}+\pi", "x^": r"x^{{2}}+{n}"}[
        answer[:2]
    ]
    return Case(answer.format(n=number), reference.format(n=number), True)


def algebra(number: int, rng: random.Random) -> Case:
    right, m = rng.random() < 0.5, rng.randint(2, 30)
    other = number if right else number + 1
    answer, reference = rng.choice(
        (
            (rf"\sqrt{{{number * number * m}}}", rf"{other}\sqrt{{{m}}}"),
            (rf"\frac{{{number}}}{{\sqrt{{{m}}}}}", rf"\frac{{{other}\sqrt{{{m}}}}}{{{m}}}"),
            (rf"\frac{{{number}}}{{{m}}}\pi", rf"\frac{{{other}\pi}}{{{m}}}"),
            (f"(x+{number})^2", f"x^2+{2 * other}x+{other * other}"),
            (rf"{number} + {m}\sqrt{{7}}", rf"{m}\sqrt{{7}} + {other}"),
            (rf"\log_2 {m} + {number}", rf"{other} + \frac{{\ln {m}}}{{\ln 2}}"),
            (f"y = {m}x + {number}", f"{m}x - y + {other} = 0"),
            (
                rf"(-\infty, {number}) \cup ({number + m}, \infty)",
                rf"({number + m},\infty) \cup (-\infty,{other})",
            ),
        )
    )
    return Case(answer, reference, right)


def several(number: int, rng: random.Random) -> Case:
    m, right = rng.randint(2, 30), rng.random() < 0.6
    brackets = rng.choice(("()", "[)", ("\\{", "\\}"), ("", "")))
    reference = f"{brackets[0]}{number}, {number + m}{brackets[1]}"
    return Case(f"{brackets[0]}{number},{number + m + (not right)}{brackets[1]}", reference, right)


def with_unit(number: int, rng: random.Random) -> Case:
    right = rng.random() < 0.7
    unit = rng.choice((r"\text{ cm}", r"^\circ", r"\%", r"\text{ square units}"))
    return Case(f"{number}.5{unit}", f"{number if right else number + 1}.5", right)


def silent(number: int, rng: random.Random) -> Case:
    raw = rng.choice(
        (f"<think>It is \\boxed{{{number}}}", f"I think {number}.", f"<think>x</think>\\boxed{{}} {number}")
    )
    return Case("", str(number), False, raw)


def hostile(number: int, rng: random.Random) -> Case:
    answer = rng.choice(
        (
            f"2^{{2^{{2^{{{number}}}}}}}",
            f"10^{{10^{{10}}}} + {number}",
            f"({number}0000000)!",
            f"(3^{{9999}})^{{9999}} + {number}",
            rf"\int_0^1 \sin(\sin(x^x))\,dx + {number}",
            f"{'(' * (number % 60 + 2)}0{')' * (number % 60 + 2)} + {number}",
            f"().__class__.__bases__[0].__subclasses__()[{number}]",
            f"__import__('os').system('exit {number}')",
            "4" * 1_000_000 + str(number),
            f"{number}\x00",
            f"{number}\ud800 + x",
            f"\\frac{{{number}" * 20,
            rf"\sum_{{k=1}}^{{{number}00000}} \frac{{1}}{{k^k}}",
            f"(x+y+z)^{{{number % 90 + 9}}} - (x+y-z)^{{{number % 90 + 9}}}",
            f"{number}^{{{number}^{{x}}}}",
            rf"\prod_{{k=1}}^{{{number}}} \sin(k)",
        )
    )
    return Case(answer, str(number + 1), False)


MIX: tuple[tuple[Callable[[int, random.Random], Case], float], ...] = (
    (integer, 0.56),
    (fraction, 0.12),
    (cosmetic, 0.08),
    (algebra, 0.12),
    (several, 0.06),
    (with_unit, 0.03),
    (silent, 0.015),
    (hostile, 0.015),
)


def cases(num: int, seed: int = 0) -> list[Case]:
    """The mix in proportion, shuffled; the same for the same seed."""
    rng = random.Random(seed)
    made = [make(number + 11, rng) for make, share in MIX for number in range(round(num * share))]
    rng.shuffle(made)
    return made


async def measured(chosen: list[Case], workers: int | None) -> dict[str, Any]:
    places = asyncio.Semaphore(OPEN)

    async def graded(number: int, case: Case) -> Grade:
        async with places:
            return await graders.grade(
                Problem(str(number), "made", "math", "?", case.reference), case.response
            )

    async with Graders(workers) as graders:
        start = time.monotonic()
        found = await asyncio.gather(*(graded(number, case) for number, case in enumerate(chosen)))
        seconds = time.monotonic() - start
    misgraded = [
        {
            "answer": case.answer[:60],
            "reference": case.reference[:60],
            "outcome": grade.outcome,
            "error": grade.error,
        }
        for case, grade in zip(chosen, found, strict=True)
        if grade.correct is not case.right
    ]
    return {
        "answers": len(chosen),
        "workers": workers or os.cpu_count(),
        "seconds": round(seconds, 1),
        "answers_per_second": round(len(chosen) / seconds, 1),
        "needed_worker": round(graders.num_compared / len(chosen), 4),
        "slow": sum("limit of processor" in grade.error or "no reply" in grade.error for grade in found),
        "refused_unseen": sum("not compared" in g.error or "longer than" in g.error for g in found),
        "misgraded": misgraded,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--workers", type=int, help="default: the cores")
    parser.add_argument("--quick", action="store_true", help="300 answers")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(measured(cases(300 if options.quick else options.answers), options.workers))
    print(
        f"{found['answers']} answers in {found['seconds']} s on {found['workers']} workers:"
        f" {found['answers_per_second']} a second; {found['needed_worker']:.1%} needed a worker,"
        f" {found['slow']} ended at a limit, {len(found['misgraded'])} graded differently from the known grade"
    )
    for one in found["misgraded"]:
        print(f"  {one}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
