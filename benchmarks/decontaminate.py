"""Decontamination and near duplicates at the paper's size: planted copies found, and what is dropped wrongly.

    python benchmarks/decontaminate.py [--questions 53125] [--items 3000] [--json benchmarks/results/decontaminate.json]

Questions and benchmark items are composed from the same contest phrases, so unrelated ones share much wording, as real
contest problems do. Copies of items, of seven kinds, and near duplicates of questions are added to the questions; what
else is dropped is a false positive, except questions that are equal by chance. Seconds and memory are of this process.
"""

import argparse
import json
import random
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from veridistill.data.overlap.contamination import Item, contaminated
from veridistill.data.overlap.near import near_duplicates
from veridistill.records import Seed

THINGS = """marbles tickets lanterns bridges islands orchards wagons candles maps beetles kites violins turnips
    harbours mirrors barrels stamps windmills ferries statues quilts sparrows bakeries lockers turtles planets rivers
    gardeners pilots clocks ladders dragons couriers tailors robots tunnels meadows comets fountains ribbons anchors
    pebbles drums circles triangles integers polynomials sequences vertices edges subsets functions divisors"""
NAMES = "Ana Bilal Chloe Dmitri Esi Farid Greta Hugo Ines Jamal Keiko Lars Mona Nikhil Olga Pedro Rosa Sven Tara Uma"
OPENINGS = """Let {a} {thing} be given|Suppose that {a} {thing} are placed in a row|There are {a} {thing} on a table
    |{name} has {a} {thing}|In a village live {a} {thing}|Consider the set of all {thing} with at most {a} {other}
    |A positive integer is called {adjective} when it has exactly {a} {other}|{name} draws {a} {adjective} {thing}
    |Each of the {a} {thing} is joined to exactly {b} of the {other}|Let $n$ be the number of {adjective} {thing}
    |For real numbers $x$ and $y$, the {thing} satisfy $x + {a} y = {b}$
    |A circle of radius ${a}$ is covered with {thing}
    |The sequence $a_1, a_2, \\ldots$ has $a_1 = {a}$|Triangle $ABC$ has side lengths $AB = {a}$ and $BC = {b}$"""
MIDDLES = """so that no two {adjective} ones are next to each other|and every {other} lies between two of them
    |where {name} chooses each of them independently at random|with the property that their sum is divisible by ${b}$
    |which {name} then shuffles {b} times|whose product is a perfect square|all of whose digits are at least ${b}$
    |and the ratio of the first to the last is $\\frac{{{a}}}{{{b}}}$|that are arranged in a circle by {name}
    |of which {b} are {adjective}|and after each hour one of the {other} is removed by {name}
    |such that the {other} form a regular polygon|for all positive integers $n$|none of which is {adjective}
    |on the interior of segment $BC$|which are painted in one of {b} colours|while {name} and {name2} take turns"""
CONDITIONS = """Two of the {thing} are considered the same when one is a rotation of the other
    |{name} then gives {b} of them to {name2}, who returns the {adjective} ones|No {other} may be used more than once
    |It is known that $P(x) = x^3 - {a} x^2 + {b} x - {c}$ has three {adjective} roots
    |The {adjective} {thing} weigh {c} times as much as the {other} do
    |A move consists of swapping {b} neighbouring {other}
    |The point $D$ is the foot of the altitude from $A$, and the {other} meet it again at $E$
    |Exactly {c} of the {other} tell the truth, and the others always lie
    |The game ends when all {thing} are {adjective}"""
TASKS = """How many ways are there to choose the {other}?|Find the number of ordered pairs of {adjective} {other}.
    |What is the largest possible number of {other}?|Determine the expected number of {thing} that remain.
    |Find the remainder when the number of such arrangements is divided by $1000$.|Compute the sum of all such {thing}.
    |The probability that {name} wins can be written as $\\frac{{m}}{{n}}$, where $m$ and $n$ are relatively prime
    positive integers. Find $m+n$.|What is the area of the region covered by the {other}?
    |How many {adjective} {thing} are there?
    |The area can be expressed in the form $a\\sqrt{{b}}$, where $a$ and $b$ are positive integers and $b$ is not
    divisible by the square of any prime. Find $a+b$."""
ADJECTIVES = (
    "red lucky hollow even convex distinct golden balanced prime rational heavy broken smooth silent curious"
)
VERBS = """paints buries counts sells hides borrows stacks repairs throws compares measures weighs sketches divides
    gathers polishes trades numbers rotates colours locks launches ties cuts folds sorts breeds maps guards rents"""
PLACES = """harbour castle market library valley mine theatre island monastery garden factory cellar tower bridge
    stadium forest attic bakery canal desert museum courtyard lighthouse vineyard"""
BOILERPLATE = (
    "Solve the following problem carefully and give the final answer on the last line of your reply. "
)
FOREIGN = "Résolvez le problème suivant et donnez la réponse finale dans une boîte, s'il vous plaît. "


def _choices(text: str) -> list[str]:
    return [" ".join(part.split()) for part in (text.split("|") if "|" in text else text.split())]


def problem(rng: random.Random) -> str:
    """A contest-like problem: sentences of shared phrases with their own things, then one of the usual tasks."""

    def phrase(text: str) -> str:
        thing, other = rng.sample(_THINGS, 2)
        name, name2 = rng.sample(_NAMES, 2)
        numbers = {letter: rng.randrange(2, 400) for letter in "abc"}
        return rng.choice(_PHRASES[text]).format(
            thing=thing, other=other, name=name, name2=name2, adjective=rng.choice(_ADJECTIVES), **numbers
        )

    def scene() -> str:
        name, (verb, second) = rng.choice(_NAMES), rng.sample(_VERBS, 2)
        one, other = rng.sample(_THINGS, 2)
        kind = rng.choice(_ADJECTIVES)
        return f"{name} {verb} {kind} {one} near the {rng.choice(_PLACES)} and {second} every {other} found there"

    sentences = [f"{phrase(OPENINGS)} {phrase(MIDDLES)}, while {scene()}."]
    sentences += [
        f"{phrase(CONDITIONS)}, {phrase(MIDDLES)}, and {scene()}." for _ in range(rng.choice((0, 1, 1, 2)))
    ]
    return " ".join([*([BOILERPLATE.strip()] if rng.random() < 0.05 else []), *sentences, phrase(TASKS)])


_THINGS, _NAMES, _ADJECTIVES = _choices(THINGS), _choices(NAMES), _choices(ADJECTIVES)
_VERBS, _PLACES = _choices(VERBS), _choices(PLACES)
_PHRASES = {text: _choices(text) for text in (OPENINGS, MIDDLES, CONDITIONS, TASKS)}


def restyled(text: str, rng: random.Random) -> str:
    """Other case, spacing and LaTeX; the same words."""
    text = (
        text.replace("$", rng.choice(("", " $ ", "$$"))).replace("\\frac", "\\dfrac").replace(". ", " .\n\n")
    )
    return text.upper().replace("\\DFRAC", "\\dfrac") if rng.random() < 0.5 else text.replace(" ", "  ")


def one_word(text: str, rng: random.Random) -> str:
    """One word of prose, anywhere, is another."""
    places = [match.span() for match in re.finditer(r"\b[a-z]{4,}\b", text)]
    start, end = rng.choice(places)
    return text[:start] + "zeppelin" + text[end:]


def other_numbers(text: str, rng: random.Random) -> str:
    return re.sub(r"\d+", lambda match: str(int(match[0]) + rng.randrange(1, 60)), text)


def embedded(text: str, rng: random.Random) -> str:
    return f"{problem(rng)} Compare that with the next one, which is what you shall answer: {text} Thank you!"


def half(text: str, rng: random.Random) -> str:
    """The second half, after other words."""
    words = text.split()
    return "Continue this thought as far as you can: " + " ".join(words[len(words) // 2 :])


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "exact": lambda text, rng: text,
    "restyled": restyled,
    "one_word_changed": one_word,
    "other_numbers": other_numbers,
    "embedded": embedded,
    "second_half": half,
    "foreign_boilerplate": lambda text, rng: FOREIGN + text,
}
NEAR: dict[str, Callable[[str, random.Random], str]] = {
    "near_one_word_changed": one_word,
    "near_with_boilerplate": lambda text, rng: "Please solve this. " + text,
}
SAME_WORDS = "not_near_other_numbers"


def planted(num: int, num_items: int, copies: int) -> tuple[list[Seed], list[Item], dict[str, str]]:
    """Questions, items, and the kind of each planted question by its id; `copies` of each kind."""
    rng = random.Random(7)
    items = [("synthetic", str(number), problem(rng)) for number in range(num_items)]
    num_planted = copies * (len(KINDS) + len(NEAR) + 1)
    texts = [(problem(rng), "") for _ in range(num - num_planted)]
    for kind, change in KINDS.items():
        texts += [(change(rng.choice(items)[2], rng), kind) for _ in range(copies)]
    originals = [text for text, _ in texts[: num - num_planted] if re.search(r"\d", text)]
    for kind, change in (NEAR | {SAME_WORDS: other_numbers}).items():
        texts += [(change(rng.choice(originals), rng), kind) for _ in range(copies)]
    seeds = [
        Seed(f"{number:06d}", text, source=f"synthetic:{number}") for number, (text, _) in enumerate(texts)
    ]
    kinds = {seed.seed_id: kind for seed, (_, kind) in zip(seeds, texts, strict=True)}
    return seeds, items, kinds


def measure(num: int, num_items: int, copies: int) -> dict[str, Any]:
    seeds, items, kinds = planted(num, num_items, copies)
    before = _peak_mib()
    start = time.perf_counter()
    overlaps = contaminated(seeds, items)
    seconds, peak = time.perf_counter() - start, _peak_mib()
    found = Counter(kinds[overlap.seed_id] for overlap in overlaps)
    start = time.perf_counter()
    near = near_duplicates(seeds, 0.8)
    near_seconds = time.perf_counter() - start
    near_found = Counter(kinds[overlap.seed_id] for overlap in near)
    unrelated = len(seeds) - copies * (len(KINDS) + len(NEAR) + 1)
    return {
        "questions": num,
        "items": num_items,
        "copies_of_each_kind": copies,
        "recall": {kind: found[kind] / copies for kind in KINDS},
        "rules": dict(Counter(overlap.rule for overlap in overlaps).most_common()),
        "unrelated_questions": unrelated,
        "unrelated_dropped": found[""],
        "seconds": round(seconds, 1),
        "near_recall": {kind: near_found[kind] / copies for kind in NEAR},
        "near_unrelated_dropped": near_found[""],
        "near_other_numbers_dropped": near_found[SAME_WORDS],
        "near_seconds": round(near_seconds, 1),
        "peak_mib_above_the_data": round(peak - before),
        "near_peak_mib_above_the_data": round(_peak_mib() - before),
        "false_examples": [
            {"rule": o.rule, "shared": o.shared, "share": o.share} for o in overlaps if not kinds[o.seed_id]
        ][:5],
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--questions", type=int, default=53_125)
    parser.add_argument("--items", type=int, default=3_000)
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.questions, options.items, options.copies)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    sys.stdout.write(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
