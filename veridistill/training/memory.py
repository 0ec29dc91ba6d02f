"""What a training holds in memory and on disk, by calculation. Pure: from a model's shape and how it is trained.

The constants for activations were read off PyTorch's saved tensors, by varying one dimension at a time
(`tests/training/test_memory.py` does so again); `benchmarks/training_memory.py` compares the whole with the peaks of
real trainings. All sizes are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from veridistill.errors import ConfigError

_FLOAT = 4
_SLACK = 64 << 20
"""The head's tiles on a CPU: four of 16 MiB (`head`)."""
_GPU_TILES = 3 * 4096 * 32768 * 2
"""The tile of TRL's fused head, in bfloat16, and as much for what is made of it."""
_CHECKPOINT = 12
"""Bytes per weight that learns in a checkpoint: the weight and AdamW's two moments, in float32."""
_KEPT = 3
"""Checkpoints on disk at once: the two that are kept, and the one that is being written."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder of the Llama family. `queries` and `keys` are heads times their width; `storage` is bytes a weight."""

    layers: int
    hidden: int
    intermediate: int
    queries: int
    keys: int
    vocabulary: int
    tied: bool
    query_norm: bool
    storage: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """Of a `config.json`. Raises `ConfigError` when it lacks a dimension, as that of another family may."""
        inner = config.get("text_config") or config
        try:
            heads = int(inner["num_attention_heads"])
            width = int(inner.get("head_dim") or inner["hidden_size"] // heads)
            return cls(
                layers=int(inner["num_hidden_layers"]),
                hidden=int(inner["hidden_size"]),
                intermediate=int(inner["intermediate_size"]),
                queries=heads * width,
                keys=int(inner.get("num_key_value_heads") or heads) * width,
                vocabulary=int(inner["vocab_size"]),
                tied=bool(config.get("tie_word_embeddings", inner.get("tie_word_embeddings", False))),
                query_norm=str(inner.get("model_type", "")).startswith("qwen3"),
                storage=_FLOAT if "float32" in str(config.get("dtype") or config.get("torch_dtype")) else 2,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the memory of a training is known for decoders of the Llama family only; config.json lacks {error}"
            ) from None

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def in_layers(self) -> int:
        """Weights of the linear maps of all layers."""
        attention = 2 * self.hidden * (self.queries + self.keys)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def parameters(self) -> int:
        """Norms are left out: they are less than a thousandth of a model of any size."""
        return self.in_layers + self.embedding * (1 if self.tied else 2)

    def adapters(self, rank: int) -> int:
        """Weights of adapters on every linear map of the layers."""
        sides = 3 * self.hidden + 2 * self.keys + self.queries + self.hidden  # inputs and outputs of q, k, v
        sides += self.queries + self.hidden + 3 * (self.hidden + self.intermediate)
        return self.layers * rank * sides


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model is trained on one device. `tokens` is the length of the longest row."""

    place: Literal["cpu", "cuda"]
    products: Literal["float32", "bfloat16"]
    tokens: int
    micro_batch: int
    checkpointing: bool = False
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak, by what they are for, without what the libraries hold before the model is loaded."""

    weights: int
    gradients: int
    optimizer: int
    copies: int
    activations: int
    head: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.copies + self.activations + self.head


def memory(shape: Shape, layout: Layout) -> Memory:
    """The peak of a training step after the first, when gradients, moments and activations are all there.

    Weights that learn, their gradients and AdamW's two moments are float32. Products in bfloat16 need a copy of the
    layers' weights in it. LoRA's base is in the dtype of the products.
    """
    half = layout.products == "bfloat16"
    frozen, learning = 0, shape.parameters
    if layout.rank is not None:
        frozen, learning = shape.parameters, shape.adapters(layout.rank)
    copied = 2 * (shape.adapters(layout.rank) if layout.rank is not None else shape.in_layers) if half else 0
    head_gradient = _FLOAT * shape.embedding if layout.rank is None else 0
    tokens = layout.tokens * layout.micro_batch
    activations = tokens * _activations(shape, layout)
    tiles = _SLACK if layout.place == "cpu" else _GPU_TILES
    # The gradient of the head lasts until the end of the backward pass. If the embedding is the same tensor, its own is
    # there then, and their sum; the activations and copies are not.
    at_the_end = (3 if shape.tied else 1) * head_gradient
    states = 3 * tokens * shape.hidden * _FLOAT
    return Memory(
        weights=frozen * (2 if half else _FLOAT) + learning * _FLOAT,
        gradients=learning * _FLOAT,
        optimizer=2 * learning * _FLOAT,
        copies=copied,
        activations=max(activations, at_the_end - head_gradient - copied - states - tiles),
        head=head_gradient + states + tiles,
    )


def _activations(shape: Shape, layout: Layout) -> int:
    """Bytes per token that wait for the backward pass, and what one layer works with in it."""
    layer = _per_layer(shape, layout.products)
    working = 4 * shape.intermediate * (2 if layout.products == "bfloat16" else _FLOAT)
    if layout.checkpointing:
        return shape.layers * shape.hidden * _FLOAT + layer + working
    return shape.layers * layer + working


def _per_layer(shape: Shape, products: Literal["float32", "bfloat16"]) -> int:
    """Bytes per token that one layer saves: read off saved tensors (see above)."""
    hidden, queries, keys, inner = shape.hidden, shape.queries, shape.keys, shape.intermediate
    if products == "float32":
        saved = 24 * hidden + 8.25 * (queries + keys) + 16 * inner
        norm = 8.25 * queries + 8 * keys
    else:
        saved = 26 * hidden + 4.25 * (queries + keys) + 8 * inner
        norm = 6.25 * queries + 6 * keys
    return int(saved + (norm if shape.query_norm else 0)) + 8


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes at the peak: checkpoints while it trains, and the model that is saved."""

    checkpoints: int
    model: int

    @property
    def total(self) -> int:
        return self.checkpoints + self.model


def disk(shape: Shape, rank: int | None) -> Disk:
    learning = shape.parameters if rank is None else shape.adapters(rank)
    return Disk(_KEPT * _CHECKPOINT * learning, shape.storage * shape.parameters)
