"""What the calls of a run came to: counts and tokens by role. `unit` does the counting, `runs` reports it."""

from dataclasses import dataclass, field

from veridistill.records import Completion


@dataclass
class Meter:
    """Replies used in this process, by role. `hits` counts those that were in the journal when their unit was opened.

    A reply that several branches of a unit share is counted once. `new_tokens` are prompt and completion tokens of what
    the engine replied in this process, `unneeded_tokens` completion tokens of replies that came early and then were not
    needed. `answered` are the engine's replies in this process, refusals included, `cancelled` the calls that were
    cancelled. `reasks`: judges' calls of votes that were invalid before.
    """

    calls: dict[str, int] = field(default_factory=dict)
    prompt_tokens: dict[str, int] = field(default_factory=dict)
    completion_tokens: dict[str, int] = field(default_factory=dict)
    hits: int = 0
    new_tokens: int = 0
    unneeded_tokens: int = 0
    answered: int = 0
    cancelled: int = 0
    reasks: int = 0

    def copy(self) -> "Meter":
        return self.since(Meter())

    def since(self, before: "Meter") -> "Meter":
        """What was counted after the copy `before` was made."""
        return Meter(
            _difference(self.calls, before.calls),
            _difference(self.prompt_tokens, before.prompt_tokens),
            _difference(self.completion_tokens, before.completion_tokens),
            self.hits - before.hits,
            self.new_tokens - before.new_tokens,
            self.unneeded_tokens - before.unneeded_tokens,
            self.answered - before.answered,
            self.cancelled - before.cancelled,
            self.reasks - before.reasks,
        )

    def count(self, role: str, reply: Completion) -> None:
        self.calls[role] = self.calls.get(role, 0) + 1
        self.prompt_tokens[role] = self.prompt_tokens.get(role, 0) + reply.prompt_tokens
        self.completion_tokens[role] = self.completion_tokens.get(role, 0) + reply.completion_tokens


def _difference(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {role: num - before.get(role, 0) for role, num in now.items()}
