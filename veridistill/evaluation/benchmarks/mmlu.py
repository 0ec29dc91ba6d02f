"""MMLU: 14,042 questions of its test split on 57 topics, with four options in the order of the set.

`mmlu:TOPIC` is one topic of it, or one group of topics. Besides the Hub's fields (subject, choices, and the index of
the right one) those of other copies are read: topic, options, and a letter. A local file named for a group
(`mmlu_science.jsonl`) may hold a part of that group: its number of records is not known, and its problems bear its
name, so that nobody takes them for the whole.
"""

import difflib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from veridistill.data.jsonl import shown
from veridistill.domains.options import LETTERS, with_options
from veridistill.errors import ConfigError
from veridistill.evaluation.benchmarks.benchmark import Benchmark, Source
from veridistill.evaluation.benchmarks.rows import Row, problems, read
from veridistill.records import Problem

NUM_OPTIONS = 4
# The groups are those of the paper's table.
GROUPS = {
    "stem": (
        *("abstract_algebra", "anatomy", "astronomy", "college_biology", "college_chemistry"),
        *("college_computer_science", "college_mathematics", "college_physics", "computer_security"),
        *("conceptual_physics", "electrical_engineering", "elementary_mathematics", "high_school_biology"),
        *("high_school_chemistry", "high_school_computer_science", "high_school_mathematics"),
        *("high_school_physics", "high_school_statistics", "machine_learning"),
    ),
    "humanities": (
        *("formal_logic", "high_school_european_history", "high_school_us_history"),
        *("high_school_world_history", "international_law", "jurisprudence", "logical_fallacies"),
        *("moral_disputes", "moral_scenarios", "philosophy", "prehistory", "professional_law"),
        "world_religions",
    ),
    "social_sciences": (
        *("econometrics", "high_school_geography", "high_school_government_and_politics"),
        *("high_school_macroeconomics", "high_school_microeconomics", "high_school_psychology"),
        *("human_sexuality", "professional_psychology", "public_relations", "security_studies", "sociology"),
        "us_foreign_policy",
    ),
    "other": (
        *("business_ethics", "clinical_knowledge", "college_medicine", "global_facts", "human_aging"),
        *("management", "marketing", "medical_genetics", "miscellaneous", "nutrition"),
        *("professional_accounting", "professional_medicine", "virology"),
    ),
}
TOPICS = tuple(sorted(topic for group in GROUPS.values() for topic in group))
# One group of ours: what the domain `science` is about.
GROUPS["science"] = (
    *(
        "anatomy",
        "astronomy",
        "college_biology",
        "college_chemistry",
        "college_physics",
        "conceptual_physics",
    ),
    *("electrical_engineering", "high_school_biology", "high_school_chemistry", "high_school_physics"),
)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes problems of the records of some topics (None: of all), and checks all of them."""

    topics: tuple[str, ...] | None = None

    def __call__(self, benchmark: Benchmark, paths: Sequence[Path]) -> list[Problem]:
        seen = Counter[str]()
        held: Sequence[str] = TOPICS
        if paths[0].stem in benchmark.parts:
            name = paths[0].stem + benchmark.name.removeprefix("mmlu")
            benchmark = replace(benchmark, name=name, num_rows=None, num_problems=None)
            held = GROUPS[paths[0].stem.removeprefix("mmlu_")]

        def parse(row: Row) -> Problem | None:
            topic = row.text(row.of("subject", "topic"))
            if topic and topic not in held:
                row.fault(
                    f"{row.of('subject', 'topic')} must be one of {', '.join(held)}; found {shown(topic)}"
                )
            # The set has no ids: a problem is named for its topic and its place in it.
            seen[topic] += 1
            problem = _problem(row, f"{topic}-{seen[topic]}", benchmark.name)
            return problem if self.topics is None or topic in self.topics else None

        found = problems(read(paths, ("question", "subject", "choices", "answer")), benchmark, parse)
        if not found:
            topics = ", ".join(topic for topic in seen if topic)
            raise ConfigError(f"{paths[0]}: holds no question of {benchmark.name}; its topics are {topics}")
        return found


def _problem(row: Row, problem_id: str, benchmark: str) -> Problem:
    name = row.of("choices", "options")
    _mend(row, name)
    options = row.texts(name)
    if options and len(options) != NUM_OPTIONS:
        row.fault(f"{name} must be {NUM_OPTIONS}; found {len(options)}")
    question = with_options(row.text("question"), options)
    return Problem(problem_id, benchmark, "choice", question, _letter(row), "science", options)


def _mend(row: Row, name: str) -> None:
    """Give back an option that was lost: pandas reads the text None in a table as a missing value, which is NaN."""
    options = row.columns.get(name)
    if isinstance(options, list):
        mended = ["None" if isinstance(one, float) and math.isnan(one) else one for one in options]
        row.columns = {**row.columns, name: mended}


def _letter(row: Row) -> str:
    """The right letter, stated as such or as an index from 0."""
    letters, value = LETTERS[:NUM_OPTIONS], row.columns.get("answer")
    if value in tuple(letters):
        return str(value)
    index = row.integer("answer")
    if not 0 <= index < NUM_OPTIONS:
        row.fault(f"answer must be an index from 0 to {NUM_OPTIONS - 1} or a letter; found {index}")
        return ""
    return letters[index]


def _narrowed(benchmark: Benchmark, topic: str) -> Benchmark:
    topics = GROUPS.get(topic, (topic,) if topic in TOPICS else ())
    if not topics:
        close = difflib.get_close_matches(topic, [*GROUPS, *TOPICS], 1)
        hint = f"did you mean {benchmark.name}:{close[0]}? " if close else ""
        known = f"groups: {', '.join(GROUPS)}; topics: {', '.join(TOPICS)}"
        raise ConfigError(f"{benchmark.name} has no topic {topic!r}; {hint}{known}")
    return replace(
        benchmark,
        name=f"{benchmark.name}:{topic}",
        read=_Reader(topics),
        num_problems=None,
        subset=topic,
    )


BENCHMARKS = (
    Benchmark(
        "mmlu",
        Source(
            "cais/mmlu",
            ("all/test-*.parquet",),
            "test",
            "MIT",
            "c30699e8356da336a370243923dbaf21066bb9fe",
        ),
        ("choice",),
        "science",
        14_042,
        _Reader(),
        14_042,
        formats=(".parquet", ".jsonl"),
        parts=tuple(f"mmlu_{group}" for group in GROUPS),
        narrowed=_narrowed,
    ),
)
