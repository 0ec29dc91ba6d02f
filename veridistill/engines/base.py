"""What an engine is: the only interface between the method and a model.

Engines batch, limit themselves, retry their own transport faults and raise one of two errors:
`RequestRefused` (this request alone) or `EngineDown` (ends the run, resumable). Nothing above them retries.
Cancelling `generate` aborts the request inside the engine.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, Protocol, runtime_checkable

from veridistill.records import Completion, Messages, Sampling

ControlTokens = Literal["neutralise", "reject", "allow"]
"""What happens to an added token in a message: broken by a zero-width joiner, the request refused, or kept."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """How messages become a prompt, besides the chat template; it may differ between two roles of one model.

    `enable_thinking` is passed to the template when it is not None.
    """

    enable_thinking: bool | None = None
    control_tokens: ControlTokens = "neutralise"


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Calls and tokens since the engine started.

    A call is counted when it begins, even if it is refused or cancelled later; its prompt and completion tokens
    are counted together, when its reply is complete. `cancelled_tokens` were generated for calls that were cancelled.

    `reused_tokens` of the prompt tokens were not computed, because another prompt began with the same ones; engines
    that do not know say 0.

    `control_tokens` counts the markers found in messages, which were handled as `model.control_tokens` says.

    `decoded_tokens` are counted while they are decoded, those of calls under way included: when nothing is under way
    they are the completion tokens, the cancelled ones, and those of attempts that failed. `retries` are attempts after
    a call's first one.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cancelled_tokens: int = 0
    calls: int = 0
    cancelled_calls: int = 0
    control_tokens: int = 0
    reused_tokens: int = 0
    decoded_tokens: int = 0
    retries: int = 0

    def __add__(self, other: "EngineStats") -> "EngineStats":
        return EngineStats(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(EngineStats)))


@runtime_checkable
class Resizing(Protocol):
    """An engine that calls `resized` when its `capacity` has changed."""

    resized: Callable[[], object]


class Engine(Protocol):
    """A model that can be asked. `capacity` is the useful number of calls at once; it may change during a run.

    `fingerprint` identifies the weights, the tokenizer and the chat template with its arguments;
    `reasons` says whether the chat template is that of a model that reasons before it answers; `stop_ids` are the
    token ids that end a turn, the template's own first; `context_length` is how many tokens prompt and reply may have
    together, None where the engine does not know.
    """

    @property
    def capacity(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def reasons(self) -> bool: ...

    @property
    def stop_ids(self) -> tuple[int, ...]: ...

    @property
    def context_length(self) -> int | None: ...

    async def generate(self, messages: Messages, sampling: Sampling, seed: int) -> Completion: ...

    def stats(self) -> EngineStats: ...

    async def close(self) -> None: ...


class ModelEngine(Engine, Protocol):
    """An engine that holds weights, which may serve several roles."""

    def rendered(self, rendering: Rendering) -> Engine:
        """The same weights with prompts rendered differently; the fingerprint differs if the prompts can differ.

        The result shares this engine's capacity and `stats`, and is closed with this engine.
        """
        ...
