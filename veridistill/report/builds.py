"""The report's sections about a build: the funnel, votes, the audit and the quality limits.

Every part of the results may be missing or null; a section without content is None or empty, and the page
leaves it out.
"""

from dataclasses import dataclass
from typing import Any

from veridistill.report.values import (
    Item,
    Results,
    Table,
    between,
    count,
    label,
    number,
    pairs,
    part,
    rate,
    share,
)


@dataclass(frozen=True, slots=True)
class Bar:
    """Candidates that came as far as one level."""

    label: str
    count: int


@dataclass(frozen=True, slots=True)
class StageBar:
    """What one stage did with the well-formed candidates; the four parts of the bar add up to `well_formed`."""

    label: str
    well_formed: int
    asked: int
    passed: int
    ended: int

    @property
    def left_open(self) -> int:
        """Asked, and then ended by another stage before all votes of this one were in, or credited with the end."""
        return self.asked - self.passed - self.ended

    @property
    def not_asked(self) -> int:
        return self.well_formed - self.asked


@dataclass(frozen=True, slots=True)
class Limit:
    """A quality limit with what was found."""

    name: str
    limit: str
    found: str
    passed: bool


def levels(results: Results) -> list[Bar]:
    """Candidates sampled, well formed, accepted and kept, as far as they were counted; empty without candidates."""
    found = (
        ("candidates sampled", number(part(results, "funnel", "candidates"))),
        ("well formed", number(part(results, "funnel", "well_formed"))),
        ("accepted by all stages", number(part(results, "outcomes", "accepted"))),
        ("kept for training", number(part(results, "funnel", "kept"))),
    )
    return [Bar(name, round(value)) for name, value in found if value is not None] if found[0][1] else []


def stages(results: Results) -> list[StageBar]:
    """The stages of the cascade, in the order in which they are configured."""
    whole, found = number(part(results, "funnel", "well_formed")), []
    for name, counts in pairs(part(results, "funnel", "stages")):
        values = [number(part(counts, key)) for key in ("asked", "passed", "ended")]
        if whole is not None and None not in values:
            found.append(StageBar(label(name), round(whole), *(round(value or 0) for value in values)))
    return found


def stage_counts(results: Results) -> Table | None:
    """The same as a table."""
    rows = tuple(
        (bar.label, *map(count, (bar.asked, bar.passed, bar.ended, bar.left_open, bar.not_asked)))
        for bar in stages(results)
    )
    header = ("stage", "asked", "passed", "ended", "left open", "not asked")
    return Table("Well-formed candidates by stage", header, rows) if rows else None


def funnel_note(results: Results) -> str:
    """The funnel in questions: its bars count candidates."""
    seeds, kept = number(part(results, "funnel", "seeds")), number(part(results, "funnel", "kept"))
    if seeds is None:
        return ""
    words = f"{count(seeds)} questions"
    if kept is not None and part(results, "config", "build", "selection") == "all":
        words += f"; {count(kept)} candidates kept"
    elif kept is not None:
        words += f"; a candidate was kept for {count(kept)} of them ({share(kept, seeds)})"
    return words + "."


def domains(results: Results) -> Table | None:
    """Questions and candidates of each domain, where there are several."""
    rows = []
    for name, found in pairs(part(results, "domains")):
        seeds, sampled = part(found, "funnel", "seeds"), part(found, "funnel", "candidates")
        well, kept, accepted = (
            number(part(found, *path)) or 0
            for path in (("funnel", "well_formed"), ("questions_kept",), ("outcomes", "accepted"))
        )
        shares = share(well, number(sampled) or 0), share(accepted, well), share(kept, number(seeds) or 0)
        invalid = rate(part(found, "invalid_share"))
        rows.append((name, count(seeds), count(sampled), *shares, invalid))
    header = (
        "domain", "questions", "candidates", "well formed", "accepted of well formed", "questions with a kept one",
        "invalid votes",
    )  # fmt: skip
    return Table("By domain", header, tuple(rows)) if len(rows) > 1 else None


def outcomes(results: Results) -> list[Item]:
    found = part(results, "outcomes")
    return [Item(label(str(name)), count(value)) for name, value in pairs(found)]


def votes(results: Results) -> Table | None:
    rows = []
    for stage, ballots in pairs(part(results, "votes")):
        counts = [number(part(ballots, ballot)) for ballot in ("yes", "no", "invalid")]
        whole = sum(found or 0 for found in counts)
        rows.append((label(stage), *map(count, counts), share(counts[0] or 0, whole)))
    return (
        Table("Votes by stage", ("stage", "yes", "no", "invalid", "yes, share"), tuple(rows))
        if rows
        else None
    )


def canaries(results: Results) -> Table | None:
    """What the judges did with planted bad answers: canaries by kind, and near misses."""
    found = part(results, "canaries")
    rows: list[tuple[str, ...]] = []
    for kind, fates in pairs(part(found, "kinds")):
        counts = {fate: number(value) or 0 for fate, value in pairs(fates)}
        whole, accepted = sum(counts.values()), counts.get("accepted", 0)
        rows.append((f"canary: {label(kind)}", count(whole), count(accepted), share(accepted, whole), ""))
    for name, one in (("all canaries", found), ("near misses", part(found, "near_miss"))):
        if number(part(one, "judged")):
            cells = count(part(one, "judged")), count(part(one, "accepted")), rate(part(one, "rate"))
            rows.append((name, *cells, between(one)))
    note = (
        "Canaries are plainly bad answers; near misses are kept answers with the result changed a little."
        " Both are known to be wrong, so what is accepted of them is a false accept."
    )
    header = ("planted answers", "judged", "accepted", "share", "95 % interval")
    return Table("Planted bad answers", header, tuple(rows), note=note) if rows else None


def audit(results: Results) -> Table | None:
    """The judges' figures over the exhaustively asked questions, beside those over all questions, asked lazily."""
    found, rows = part(results, "audit"), []
    for stage, tally in pairs(part(found, "stages")):
        whole = [rate(part(tally, name)) for name in ("pass_rate", "agreement", "invalid_rate")]
        asked = [
            rate(part(found, "censored", "stages", stage, name)) for name in ("pass_rate", "invalid_rate")
        ]
        rows.append((label(stage), whole[0], between(tally), *whole[1:], *asked))
    if not rows:
        return None
    header = (
        "stage", "passed", "95 % interval", "votes agree", "invalid votes", "passed, all questions",
        "invalid, all questions",
    )  # fmt: skip
    questions = part(found, "questions")
    size = f"{count(questions)} {'question' if questions == 1 else 'questions'}"
    size += f", {count(part(found, 'candidates'))} candidates"
    return Table(f"Audit: {size}, asked exhaustively", header, tuple(rows), note=_audit_note(found))


def _audit_note(found: Any) -> str:
    accepted = part(found, "acceptance")
    return (
        "Shares of well-formed candidates, intervals over questions. Votes stop early, so the votes asked over"
        " all questions are a biased sample, and so are the two columns on the right. Accepted:"
        f" {rate(part(accepted, 'rate'))} of the audited candidates ({between(accepted)}),"
        f" {rate(part(found, 'censored', 'acceptance', 'rate'))} of all candidates that were judged."
    )


def limits(results: Results) -> list[Limit]:
    """The quality limits that can be read off the results."""
    limits, found = part(results, "config", "quality"), []
    fewest, kept = number(part(limits, "min_kept")), number(part(results, "funnel", "kept"))
    if fewest is not None and kept is not None:
        found.append(Limit("kept candidates", f"at least {count(fewest)}", count(kept), kept >= fewest))
    most, invalid, whole = number(part(limits, "max_invalid")), 0.0, 0.0
    for _, ballots in pairs(part(results, "votes")):
        invalid += number(part(ballots, "invalid")) or 0
        whole += sum(number(part(ballots, ballot)) or 0 for ballot in ("yes", "no", "invalid"))
    if most is not None and (early := _stopped_early(results, most)) is not None:
        return [early]
    if most is not None and whole:
        limit = f"at most {share(most, 1)}"
        found.append(Limit("invalid votes", limit, share(invalid, whole), invalid / whole <= most))
    return found + _canaries(results)


def _stopped_early(results: Results, most: float) -> Limit | None:
    """The limit that ended a build after its first questions; other figures are then of no build, or an older one."""
    found = part(results, "stopped_early")
    invalid, votes = number(part(found, "invalid")), number(part(found, "votes"))
    if invalid is None or not votes:
        return None
    words = f"{share(invalid, votes)} of the first {count(part(found, 'questions'))} questions' votes"
    return Limit("invalid votes", f"at most {share(most, 1)}", words, passed=False)


def _canaries(results: Results) -> list[Limit]:
    """Accepted canaries; the limit is crossed only when the complete interval is above it."""
    found, most = part(results, "canaries"), number(part(results, "config", "quality", "max_canaries"))
    low, judged = number(part(found, "low")), number(part(found, "judged"))
    if low is None or not judged or most is None:
        return []
    words = f"{count(part(found, 'accepted'))} of {count(judged)}, 95 % interval {between(found)}"
    near = part(found, "near_miss")
    if number(part(near, "judged")):
        words += f"; of {count(part(near, 'judged'))} near misses {count(part(near, 'accepted'))}, which do not count"
    return [Limit("accepted canaries", f"interval not above {share(most, 1)}", words, low <= most)]
