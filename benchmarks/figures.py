"""Writes the figures of README and docs from benchmarks/results/*.json: no figure is typed by hand.

    python benchmarks/figures.py            # rewrite the blocks and docs/figures (needs matplotlib)
    python benchmarks/figures.py --check    # exit 1 and name the blocks that are out of date

A block is between `<!-- figures: NAME -->` and `<!-- end -->`; NAME is a key of `BLOCKS`, whose function gets the
JSON of the files that `BLOCKS` names.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import lab_figures
import plots
import real_figures
from markdown import Json, percent, table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def demo(found: Json) -> str:
    minutes, seconds = divmod(round(found["seconds"]), 60)
    return (
        f"On two cores `make demo` took {minutes} min {seconds:02d} s, its largest process"
        f" {found['peak_mb'] / 1000:.1f} GB"
        " (`python benchmarks/demo.py --json benchmarks/results/demo.json`), and it ended with\n"
        f"`{found['summary']}`.\n"
    )


def saving(found: Json) -> str:
    used = {name: one["tokens"] for name, one in found["policies"].items()}
    most, authors = (100 * used["cheapest"] / used[name] for name in ("exhaustive", "reference"))
    return (
        f"Building the same dataset from {found['questions']} questions of the lab took {most:.0f} % of the tokens of"
        f" asking everything, and {authors:.0f} % of those of the authors' public code.\n"
    )


def policies(found: Json) -> str:
    most, authors = (found["policies"][name]["tokens"] for name in ("exhaustive", "reference"))

    def row(name: str, words: str) -> list[str]:
        one = found["policies"][name]
        counts = [f"{one[part]:,}" for part in ("calls", "prompt_tokens", "completion_tokens", "tokens")]
        return [
            words,
            *counts,
            f"{100 * one['tokens'] / most:.1f} %",
            f"{100 * one['tokens'] / authors:.1f} %",
        ]

    head = "policy | > calls | > prompt tokens | > completion tokens | > tokens | > of everything | > of the authors'"
    return table(head, [row(name, words) for name, words in plots.POLICIES.items()])


def engines(found: Json) -> str:
    names = ("generate-1", "generate-all", "local", "vllm-seeded", "vllm-unseeded")
    lengths = {
        "equal": "equal length, the best case of a static batch",
        "mixed": "mixed lengths (log-normal), as real replies have",
    }
    rows = []
    for result in found["results"]:
        for kind, words in lengths.items():
            speed = result[kind]["tokens_per_second"]
            rows.append((words, *(f"{speed[name]:,}" if name in speed else "" for name in names)))
    return table(
        "replies of | > `generate`, one thread | > `generate`, all threads"
        " | > `local` | > `vllm`, seeded | > `vllm`, unseeded",
        rows,
    )


def orchestrator(found: Json) -> str:
    asked = found["throughput"]["asked"].values()
    rows = [
        (
            f"{one['calls']:,}",
            f"{one['calls_per_second']:,.0f}",
            f"{one['cpu_us_per_call']:.0f}",
            f"{one['peak_rss_mb']:.0f}",
        )
        for one in asked
    ]
    kills = found["kills"]
    return table("> calls | > calls/s | > processor time a call, µs | > peak memory, MB", rows) + (
        f"\nA replay of {found['resume_calls']:,} journalled calls of 1 kB ({found['journal_mb']:.0f} MB on disk) took"
        f" {found['resume_seconds']:.0f} s. After {kills['kills']} SIGKILLs, {kills['repeated']} of"
        f" {kills['calls']:,} calls were asked again; at most {kills['slots']} were in flight each time.\n"
    )


def against(found: Json) -> str:
    names = {"ours": "this version", "theirs": "commit c664c91"}
    rows = [
        (
            words,
            f"{found['medians'][name]['calls_per_second']:,.0f}",
            f"{found['medians'][name]['cpu_us_per_call']:.0f}",
        )
        for name, words in names.items()
    ]
    return table("version | > calls/s, median | > processor time a call, µs", rows) + (
        f"\nThat is {found['ratio']:.2f} times the calls a second, and {found['cpu_ratio']:.2f} times as many calls for"
        f" the same processor time ({len(found['runs']['ours'])} runs of each, by turns).\n"
    )


def memory(found: Json) -> str:
    alone, beside = found["growth"]["alone"], found["growth"]["beside_a_million_objects"]
    rows = [
        (f"{int(num):,}", f"{one['peak_mb']:.0f}", f"{beside[num]['peak_mb']:.0f}")
        for num, one in alone.items()
    ]
    waiting = found["waiting"]
    return table("> questions | > peak, MiB | > beside a million other objects, MiB", rows) + (
        f"\nThe largest build peaks at {found['ratio']['alone']:.2f} times the smallest. With"
        f" {waiting['candidates']:,} finished candidates of 10,000 tokens waiting behind one slow question, the peak is"
        f" {waiting['waiting_mb']:.0f} MiB ({waiting['start_mb']:.0f} MiB before the build).\n"
    )


def makespan(found: Json) -> str:
    sizes = {"2000x64": "2,000 questions, 64 slots", "40x256": "40 questions, 256 slots"}
    rows = [
        (
            words,
            mode,
            f"{found['makespan'][size][mode]['ratio']:.3f}",
            f"{found['makespan'][size][mode]['work']:.3f}",
        )
        for size, words in sizes.items()
        for mode in ("off", "idle")
    ]
    return table("simulated build | speculation | > makespan / lower bound | > work / needed", rows)


def ttc(found: Json) -> str:
    names = {
        "candidate_0": "candidate 0",
        "self_consistency": "the most frequent answer of 8 (self-consistency)",
        "uq_ttc": "the first candidate that the cascade accepts, else candidate 0 (UQ-TTC)",
        "best_by_votes": "the candidate with the most yes votes, everything asked",
    }
    methods = found["base"]["methods"]
    rows = [
        (
            words,
            f"{methods[name]['accuracy']:.1f} [{methods[name]['low']:.1f}, {methods[name]['high']:.1f}]",
            f"{methods[name]['calls']:,}",
            f"{methods[name]['tokens']:,}",
        )
        for name, words in names.items()
    ]
    return table("answer | > right, % | > calls | > tokens", rows)


def grading(found: Json) -> str:
    wrong = f"{len(found['misgraded'])} graded wrongly" if found["misgraded"] else "none graded wrongly"
    return (
        f"{found['answers']:,} answers in {found['seconds']:.0f} s; {100 * found['needed_worker']:.1f} % needed a"
        f" worker process, {found['slow']} hostile ones were stopped at a limit, {wrong}.\n"
    )


def sandbox(found: Json) -> str:
    rows = [
        (words, f"{found[kind]['programs_per_second']:.1f}", f"{found[kind]['tests_per_second']:.0f}")
        for kind, words in {"stdin": "standard input", "functional": "function calls"}.items()
    ]
    return table("tests by | > programs/s | > tests/s", rows)


def grading_real(found: Json) -> str:
    gsm8k, mbpp, ours = (found[name] for name in ("gsm8k", "mbpp", "humaneval_format"))
    right = {name: one["outcomes"]["as it is"]["pass"] for name, one in (("mbpp", mbpp), ("ours", ours))}
    broken = sum(
        one["as_it_should_be"][how]
        for one in (mbpp, ours)
        for how in ("result changed", "endless", "renamed")
    )
    return (
        f"{gsm8k['as_it_should_be']:,} of {gsm8k['answers']:,} answers to GSM8K, right ones in six notations and wrong"
        f" ones, are graded as they should be. {right['mbpp']} of {mbpp['problems']} solutions of MBPP and"
        f" {right['ours']} of {ours['problems']} in HumanEval's format pass; broken in three ways, {broken:,} of"
        f" {3 * (mbpp['problems'] + ours['problems']):,} fail. In {mbpp['calls_with_plain_values']} problems of MBPP"
        " calls carry plain values alone; in the others the tests build objects of the program's classes, which stay"
        f" there. A solution takes {mbpp['median_seconds_per_solution']:.2f} s in the median.\n"
    )


def coverage(found: Json) -> str:
    def share(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.1f} %"

    rows = [
        (
            one["world"],
            one["questions"],
            share(one["t"]),
            f"{share(one['together'])}, {one['wider']:.1f} times as wide" if one["together"] else "",
            *(share(one[name]) for name in ("bootstrap", "over_runs", "level_t", "level_over_runs")),
            f"{one['understated']:.1f} times",
        )
        for one in found["coverage"]
    ]
    return table(
        "world | > problems | > gain: headline | > benchmarks pooled | > bootstrap | > t over runs"
        " | > pass@1: over problems | > t over runs | > narrower",
        rows,
    )


def decontaminate(found: Json) -> str:
    kinds = ", ".join(
        f"{kind.replace('_', ' ')} {100 * share:.0f} %" for kind, share in found["recall"].items()
    )
    return (
        f"{found['questions']:,} synthetic questions against {found['items']:,} benchmark items in"
        f" {found['seconds']:.0f} s, {found['peak_mib_above_the_data']} MiB above the data. Planted copies found:"
        f" {kinds}; {found['unrelated_dropped']} of {found['unrelated_questions']:,} unrelated questions dropped.\n"
    )


def judges(found: Json) -> str:
    rows = [
        (
            one["judge"].replace("_", " "),
            one["votes"],
            f"{one['accepted']:,}",
            percent(one["precision"]),
            percent(one["recall"]),
            percent(one["false_accepts"]),
        )
        for one in found["judges"]
        if one["rule"] == "unanimous" and one["votes"] in (1, found["votes"])
    ]
    counts, right = found["counts"], percent(found["share_right"])
    return (
        f"{counts['candidates']:,} candidates of {counts['questions']} questions, {right} of them right:\n\n"
        + table("judge | > votes | > accepted | > precision | > recall | > false accepts", rows)
    )


def ray(found: Json) -> str:
    rows = [(num, f"{speed:,.0f}") for num, speed in found["engine"].items()]
    return table("> replicas | > calls/s", rows) + (
        f"\nOne actor call for each request: {found['one_by_one']:,.0f} calls/s. A build of"
        f" {found['build']['calls']:,} calls with its journal: {found['build']['calls_per_second']:,.0f} calls/s.\n"
    )


def cpu(found: Json) -> str:
    names = {
        "generate": "transformers' `generate`",
        "local": "`local`",
        "local_float32": "`local` in float32",
        "vllm": "vLLM's CPU build",
    }
    rows = [
        (
            one["width"],
            names[name],
            *(f"{engine[f'{what}_tokens_per_second']:,.0f}" for what in ("prompt", "decode", "judges")),
            f"{engine['peak_mb'] / 1024:.1f}",
        )
        for one in found["results"]
        for name, engine in one["engines"].items()
    ]
    head = "> sequences | engine | > prompt | > decoded | > judges' prompts | > peak memory, GiB"
    ratios = [one for one in found["results"] if "local_to_vllm_decode" in one]
    widths = ", ".join(str(one["width"]) for one in ratios)

    def over(other: str, what: str) -> str:
        return ", ".join(f"{one[f'local_to_{other}_{what}']:.2f}" for one in ratios)

    return table(head, rows) + (
        f"\nTokens a second. At {widths} sequences `local` decodes {over('vllm', 'decode')} times as fast as"
        f" vLLM, and reads judges' prompts {over('vllm', 'judges')} and other prompts {over('vllm', 'prompt')} times"
        f" as fast. In bfloat16 it decodes {over('local_float32', 'decode')} times as fast as in float32, and reads"
        f" prompts {over('local_float32', 'prompt')} times as fast.\n"
    )


BLOCKS: dict[str, tuple[str, Callable[..., str]]] = {
    "demo": ("demo", demo),
    "headline": ("lab real", lab_figures.headline),
    "lab_runs": ("lab", lab_figures.runs),
    "lab_judged": ("lab", lab_figures.judged),
    "saving": ("cascade", saving),
    "policies": ("cascade", policies),
    "engines": ("engines", engines),
    "orchestrator": ("orchestrator", orchestrator),
    "against": ("against", against),
    "memory": ("memory", memory),
    "makespan": ("orchestrator", makespan),
    "ttc": ("ttc", ttc),
    "grading": ("grading", grading),
    "grading_real": ("grading_real", grading_real),
    "sandbox": ("sandbox", sandbox),
    "coverage": ("coverage", coverage),
    "decontaminate": ("decontaminate", decontaminate),
    "judges": ("judges", judges),
    "ray": ("ray", ray),
    "cpu": ("cpu", cpu),
    "real": ("real", real_figures.outcome),
    "real_right": ("real", real_figures.right),
    "real_judges": ("real", real_figures.judges),
    "real_soft": ("real", real_figures.soft),
    "real_best": ("real", real_figures.best),
    "real_invalid": ("real", real_figures.invalid),
    "real_tokens": ("real", real_figures.tokens),
    "real_votes": ("real", real_figures.votes),
    "real_ttc": ("real", real_figures.ttc),
    "real_others": ("real", real_figures.others),
    "real_cost": ("real", real_figures.cost),
}


def result(name: str) -> Json:
    found: Json = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def filled(text: str) -> str:
    """The page with every block rewritten. Raises `KeyError` for an unknown block."""

    def block(match: re.Match[str]) -> str:
        files, make = BLOCKS[match[2]]
        return match[1] + make(*map(result, files.split())) + match[4]

    return _BLOCK.sub(block, text)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 when a page is out of date"
    )
    check = parser.parse_args().check
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            stale.append(page.relative_to(ROOT))
            if not check:
                page.write_text(new, encoding="utf-8")
    if not check:
        for name, (file, plot) in plots.FIGURES.items():
            plot(result(file), ROOT / "docs" / "figures" / name)
    for page in stale:
        print(f"{page}: {'out of date; run python benchmarks/figures.py' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
