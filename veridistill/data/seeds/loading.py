"""The seed questions of a run, from all rows of its files.

One error lists all faults with their rows. Then, in this order: of questions that are equal when normalised the first
is kept; near duplicates and questions of benchmarks are dropped, as `overlap` finds them; `limit` takes the first of
the rest; and `shard` a part of those. The caller gives real paths, even for the lab, and the benchmarks' questions as
plain text.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from veridistill.config import SeedsSection
from veridistill.data.overlap import Overlap
from veridistill.data.overlap.contamination import Item, contaminated
from veridistill.data.overlap.near import near_duplicates
from veridistill.data.seeds import files
from veridistill.data.seeds.reading import DOMAINS, Reader
from veridistill.errors import ConfigError
from veridistill.records import Domain, Seed


@dataclass(frozen=True)
class Seeds:
    """Unique questions in file order, at most `limit` of them, and of those the shard's; with counts of all files.

    `num_rows` counts the files' rows, `num_duplicates` those dropped as equal to an earlier one, and
    `num_replaced` the characters that were lone surrogates and are U+FFFD now. `overlaps` are the questions that share
    too much with a benchmark or an earlier question, in file order, one for each: those that were dropped and those
    that are only reported. `whole` are the questions of all shards.
    """

    seeds: tuple[Seed, ...]
    num_rows: int
    num_duplicates: int
    num_replaced: int
    limit: int | None
    shard: str | None = None
    overlaps: tuple[Overlap, ...] = ()
    whole: tuple[Seed, ...] = ()

    @property
    def num_near_duplicates(self) -> int:
        """Dropped because of an earlier question and not of a benchmark."""
        return sum(rule == "near_duplicate" for rule in self._dropping_rules)

    @property
    def num_contaminated(self) -> int:
        """Dropped because of a benchmark's question."""
        return sum(rule != "near_duplicate" for rule in self._dropping_rules)

    @property
    def _dropping_rules(self) -> list[str]:
        """The rule behind each dropped question."""
        return [overlap.rule for overlap in self.overlaps if overlap.action == "dropped"]

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains that the questions are of."""
        found = {seed.domain for seed in self.seeds}
        return tuple(domain for domain in DOMAINS if domain in found)

    def like(self, seed: Seed) -> Sequence[Seed]:
        """The questions of all shards in the same domain."""
        return self._by_domain[seed.domain]

    @cached_property
    def _by_domain(self) -> Mapping[Domain, Sequence[Seed]]:
        found: dict[Domain, list[Seed]] = {}
        for seed in self.whole:
            found.setdefault(seed.domain, []).append(seed)
        return found

    def __iter__(self) -> Iterator[Seed]:
        return iter(self.seeds)

    def __len__(self) -> int:
        return len(self.seeds)


def load(section: SeedsSection, items: Iterable[Item] = ()) -> Seeds:
    """The questions of `section.path`, without those of `items`: the problems that `section.decontaminate` names.

    Raises `ConfigError` with the faults of all files, 20 in full, or when no question is left; `MissingExtra`
    when near duplicates are to be dropped and datasketch is absent, or a path is on the Hub and its client is.
    """
    items, found = list(items), files.find(section.path)
    whole = section.near_duplicates is not None or bool(items)
    names = files.short_names(found)
    reader = Reader(section, names, *((None, "parts") if whole else (section.limit, "questions")))
    for file in found:
        reader.read(file)
    reader.faults.check()
    overlaps = _overlaps(reader, section, items)
    dropped = {overlap.seed_id for overlap in overlaps if overlap.action == "dropped"}
    left = [seed for seed in reader.seeds if seed.seed_id not in dropped][: section.limit]
    if not left:
        raise ConfigError(
            f"{', '.join(section.path)}: all {len(dropped)} questions overlap with seeds.decontaminate or one another;"
            " give other questions, or name fewer benchmarks"
        )
    return Seeds(
        seeds=tuple(seed for seed in left if in_shard(seed.seed_id, section.shard)),
        num_rows=reader.num_rows,
        num_duplicates=reader.num_duplicates,
        num_replaced=reader.num_replaced,
        limit=section.limit,
        shard=section.shard,
        overlaps=overlaps,
        whole=tuple(left),
    )


def _overlaps(reader: Reader, section: SeedsSection, items: list[Item]) -> tuple[Overlap, ...]:
    """One for each question, a benchmark's before an earlier question's.

    Both compare all questions: the near duplicates of a contaminated question are dropped too. What a benchmark asks
    is looked for in the complete question and in its stem alone, since options and templates differ from file to file.
    """
    seeds, parts, threshold = reader.seeds, reader.parts, section.near_duplicates
    near = near_duplicates(_without_template(reader), threshold) if threshold is not None else []
    found = {overlap.seed_id: overlap for overlap in near}
    stems = [replace(seed, question=parts[seed.seed_id].stem) for seed in seeds if seed.seed_id in parts]
    for compared in filter(None, (stems, seeds) if items else ()):
        for overlap in contaminated(compared, items):
            if overlap.action == "dropped" or overlap.seed_id not in found:
                found[overlap.seed_id] = overlap
    return tuple(found[seed.seed_id] for seed in seeds if seed.seed_id in found)


def _without_template(reader: Reader) -> list[Seed]:
    """The questions for comparison with one another: the words of a template would make all of them alike."""
    parts = reader.parts
    return [replace(s, question=parts[s.seed_id].content) if s.seed_id in parts else s for s in reader.seeds]


def in_shard(seed_id: str, shard: str | None) -> bool:
    """Whether a question belongs to part k of N ("k/N"), decided by its id alone; None means all questions.

    The shards of a file are disjoint and together make up the unsharded set, because `limit` and everything that drops
    questions is applied before. If there are very few questions, a shard may be empty.
    """
    if shard is None:
        return True
    part, parts = map(int, shard.split("/"))
    digest = hashlib.blake2b(seed_id.encode("utf-8"), digest_size=8, person=b"seeds.shard").digest()
    return int.from_bytes(digest, "big") % parts == part - 1
