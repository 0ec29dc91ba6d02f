"""The simulated post-training: a tiny Qwen3 learns to solve, infer, compare and judge by the compact prompts.

A short loop in plain torch (Muon for matrices, AdamW for the rest; warm-up, stable, decay). Each batch is made when it
is needed, from the number of its step alone, so seeds and data order are fixed and a run resumes from its checkpoint.
The schedule depends on the number of tokens only in the last fifth; until then a run can be resumed with a smaller or
larger budget. The recipe is the same for every world; several worlds share each batch in equal parts.
"""

import copy
import json
import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veridistill.errors import ConfigError
from veridistill.lab import tokenizer as lab_tokenizer
from veridistill.lab.worlds import EQUATIONS
from veridistill.lab.worlds.world import AnyWorld, Mix, Sample

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

SEED = 20
MUON_RATE = 4e-3
ADAMW_RATE = 3e-3
BATCH = 64
MICRO_BATCHES = 4
WARMUP_STEPS = 100
DECAY_SHARE = 0.2
CHECKPOINT_STEPS = 100
LOG_STEPS = 25
EVAL_SAMPLES = 48
NUM_TOKENS = 10_900_000
"""The number of tokens that the shipped model was trained on; by default as many for each world."""


@dataclass(frozen=True)
class Encoded:
    """One sample as ids; the first `num_prompt` are not trained on."""

    ids: list[int]
    num_prompt: int


@dataclass(frozen=True)
class Progress:
    """Steps taken, tokens seen and seconds spent, over all processes of a run."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


def new_model(vocabulary: int) -> "Qwen3ForCausalLM":
    """About 1.05 million parameters with the tokens of one world, embeddings tied."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(SEED)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        eos_token_id=None,
        pad_token_id=None,
    )
    return Qwen3ForCausalLM(config)


def encode(tokenizer: "PreTrainedTokenizerBase", samples: list[Sample]) -> list[Encoded]:
    """Prompt and reply tokenised separately, as at sampling time; the reply ends with the stop token."""
    prompts = tokenizer([lab_tokenizer.render(one.prompt) for one in samples])["input_ids"]
    replies = tokenizer([one.reply + "<|im_end|>" for one in samples])["input_ids"]
    return [Encoded(p + r, len(p)) for p, r in zip(prompts, replies, strict=True)]


def batch_samples(step: int, worlds: Sequence[AnyWorld]) -> list[Sample]:
    """The samples of that step; worlds are drawn equally often, skills by their shares."""
    rng = random.Random(f"pretrain:{SEED}:{step}")
    shares = [(world, skill, share) for world in worlds for skill, share in world.shares.items()]
    chosen = rng.choices(shares, [share for _, _, share in shares], k=BATCH)
    return [world.sample(rng, skill) for world, skill, _ in chosen]


def loss_sum(model: "Qwen3ForCausalLM", rows: list[Encoded]) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Cross-entropy summed over reply tokens, and for each row whether every one of them was the likeliest."""
    import torch

    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [0] * (width - len(row.ids)) for row in rows])
    trained = torch.zeros(ids.shape, dtype=torch.bool)
    for index, row in enumerate(rows):
        trained[index, row.num_prompt - 1 : len(row.ids) - 1] = True
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[trained])
    targets = ids.roll(-1, dims=1)[trained]
    loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    right = torch.ones(ids.shape, dtype=torch.bool)
    right[trained] = logits.detach().argmax(-1) == targets
    return loss, right.all(dim=1)


def exact_match(
    model: "Qwen3ForCausalLM", tokenizer: "PreTrainedTokenizerBase", world: AnyWorld, mix: Mix | None
) -> dict[str, float]:
    """Share of replies, by skill, that greedy decoding would reproduce token for token."""
    import torch

    shares: dict[str, float] = {}
    for skill in world.skills:
        rng = random.Random(f"eval:{skill}")
        rows = encode(tokenizer, [world.sample(rng, skill, mix) for _ in range(EVAL_SAMPLES)])
        with torch.no_grad():
            shares[skill] = round(loss_sum(model, rows)[1].float().mean().item(), 3)
    return shares


def measure(
    model: "Qwen3ForCausalLM", tokenizer: "PreTrainedTokenizerBase", worlds: Sequence[AnyWorld]
) -> dict[str, object]:
    """By world, exact match on the mixes that were taught, and on that of the seeds and the exam."""
    mixes: dict[str, Mix | None] = {"taught": None, "hard": "hard"}
    return {
        world.name: {name: exact_match(model, tokenizer, world, mix) for name, mix in mixes.items()}
        for world in worlds
    }


def rate_factor(step: int, tokens: int, num_tokens: int) -> float:
    """Warm-up by steps, then 1, then linear to 0 over the last `DECAY_SHARE` of the tokens."""
    left = max(0.0, 1 - tokens / num_tokens)
    return min(1.0, (step + 1) / WARMUP_STEPS, left / DECAY_SHARE)


def optimizers(model: "Qwen3ForCausalLM") -> list["torch.optim.Optimizer"]:
    """Muon for the layers' matrices, AdamW for embeddings and norms."""
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=ADAMW_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train_step(
    model: "Qwen3ForCausalLM",
    opts: list["torch.optim.Optimizer"],
    rows: list[Encoded],
    factor: float,
) -> float:
    """One update at `factor` times the peak rates; the mean loss per trained token."""
    import torch

    rows = sorted(rows, key=lambda row: len(row.ids))
    size = -(-len(rows) // MICRO_BATCHES)
    num_trained = sum(len(row.ids) - row.num_prompt for row in rows)
    total = 0.0
    for start in range(0, len(rows), size):
        loss = loss_sum(model, rows[start : start + size])[0] / num_trained
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for opt, peak in zip(opts, (MUON_RATE, ADAMW_RATE), strict=True):
        for group in opt.param_groups:
            group["lr"] = peak * factor
        opt.step()
        opt.zero_grad()
    return total


def save_model(model: "Qwen3ForCausalLM", tokenizer_files: Path, directory: Path) -> None:
    """Write what the Auto classes load: bfloat16 safetensors, tokenizer, generation config."""
    import torch
    from transformers import AutoTokenizer, GenerationConfig

    shutil.copytree(tokenizer_files, directory, dirs_exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    shipped = copy.deepcopy(model).to(torch.bfloat16)
    shipped.config.eos_token_id = tokenizer.eos_token_id
    shipped.config.pad_token_id = tokenizer.pad_token_id
    shipped.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=0.8,
        top_p=0.95,
    )
    shipped.save_pretrained(directory)


def _save_checkpoint(path: Path, model: Any, opts: list[Any], progress: Progress, names: list[str]) -> None:
    import torch

    state = {
        "worlds": names,
        "model": model.state_dict(),
        "optimizers": [opt.state_dict() for opt in opts],
        "progress": vars(progress),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def _load_checkpoint(path: Path, model: Any, opts: list[Any], names: list[str]) -> Progress:
    """Raises `ConfigError` when another choice of worlds made the checkpoint."""
    import torch

    state = torch.load(path, weights_only=True)
    if state["worlds"] != names:
        raise ConfigError(
            f"{path}: was made with the worlds {', '.join(state['worlds'])}, not {', '.join(names)};"
            " give another directory, or the same worlds"
        )
    model.load_state_dict(state["model"])
    for opt, saved in zip(opts, state["optimizers"], strict=True):
        opt.load_state_dict(saved)
    return Progress(**state["progress"])


def _log(path: Path, row: dict[str, object]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def pretrain(
    out: Path,
    worlds: Sequence[AnyWorld] = (EQUATIONS,),
    *,
    num_tokens: int | None = None,
    threads: int = 2,
    checkpoint_steps: int = CHECKPOINT_STEPS,
) -> Path:
    """Train from scratch, or from the checkpoint in `out`, to `num_tokens` (padding not counted; default:
    `NUM_TOKENS` for each world).

    Returns the finished model's directory, `out`/model. `out` also holds checkpoint.pt (model and optimizers),
    pretrain_log.jsonl, and the model at each checkpoint in `snapshots`. Raises `ConfigError` when the checkpoint in
    `out` is of other worlds.
    """
    import torch
    from transformers import AutoTokenizer

    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    num_tokens = num_tokens or NUM_TOKENS * len(worlds)
    names = [world.name for world in worlds]
    model = new_model(lab_tokenizer.vocabulary(worlds))
    opts, checkpoint, log = optimizers(model), out / "checkpoint.pt", out / "pretrain_log.jsonl"
    progress = _load_checkpoint(checkpoint, model, opts, names) if checkpoint.exists() else Progress()
    lab_tokenizer.save(out / "tokenizer", worlds)
    tokenizer = AutoTokenizer.from_pretrained(out / "tokenizer")
    while progress.tokens < num_tokens:
        started = time.monotonic()
        rows = encode(tokenizer, batch_samples(progress.step, worlds))
        factor = rate_factor(progress.step, progress.tokens, num_tokens)
        loss = train_step(model, opts, rows, factor)
        tokens = progress.tokens + sum(len(row.ids) for row in rows)
        progress = Progress(progress.step + 1, tokens, progress.seconds + time.monotonic() - started)
        if progress.step % LOG_STEPS == 0:
            row: dict[str, object] = {**vars(progress), "rate": round(factor, 4), "loss": round(loss, 5)}
            if progress.step % checkpoint_steps == 0:
                row |= measure(model, tokenizer, worlds)
                _save_checkpoint(checkpoint, model, opts, progress, names)
                save_model(model, out / "tokenizer", out / "snapshots" / f"{progress.step:05}")
            row["seconds"] = round(progress.seconds)
            _log(log, row)
    _save_checkpoint(checkpoint, model, opts, progress, names)
    _log(log, {**vars(progress), **measure(model, tokenizer, worlds)})
    save_model(model, out / "tokenizer", out / "model")
    return out / "model"
