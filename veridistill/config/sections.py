"""The sections of a configuration: every field with its default, its limits, its meaning and its kind.

A field is *identity* when it can change what is kept or measured (temperature, votes, model), and *runtime* when
it can only change cost, place (concurrency, order of the asks, paths) or where a run stops (rounds, target, limits).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from veridistill.config.values import listed
from veridistill.records import FollowUp, Sampling

StageName = Literal["cycle_consistency", "factuality", "correctness", "simple"]
Texts = Annotated[
    tuple[str, ...], BeforeValidator(listed, json_schema_input_type=tuple[str, ...] | str | None)
]
StageNames = Annotated[
    tuple[StageName, ...], BeforeValidator(listed, json_schema_input_type=tuple[StageName, ...] | str | None)
]


def identity(default: Any = ..., description: str = "", **limits: Any) -> Any:
    """A field that can change what is kept or measured."""
    return Field(default, description=description, json_schema_extra={"kind": "identity"}, **limits)


def runtime(default: Any = ..., description: str = "", **limits: Any) -> Any:
    """A field that can only change cost, speed or place, or where a run stops."""
    return Field(default, description=description, json_schema_extra={"kind": "runtime"}, **limits)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(Section):
    """The one model that generates, judges and learns. `model: PATH` is short for `model: {path: PATH}`."""

    path: str = identity("lab", "directory, Hub id, or `lab` for the embedded model")
    revision: str | None = identity(None, "commit, tag or branch on the Hub")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = identity(
        "auto", "auto: bfloat16 on a GPU or a CPU that computes it (tiny models not), else float32"
    )
    reasoning: Literal["auto", "required", "none"] = identity(
        "auto",
        "whether a candidate must contain closed reasoning; auto: if the chat template asks for reasoning",
    )
    enable_thinking: bool | None = identity(None, "passed to the chat template when set")
    control_tokens: Literal["neutralise", "reject", "allow"] = identity(
        "neutralise",
        "control tokens in a question or answer: broken up, or the request refused, or kept",
    )
    lora: str | None = identity(None, "directory of a LoRA adapter on the model (engine.kind=vllm)")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class EngineSection(Section):
    """The engine that runs the model. A field whose meaning begins with kinds is read by those kinds only."""

    kind: Literal["local", "vllm", "endpoint", "ray", "scripted"] = runtime("local")
    seeded: bool = runtime(True, "send seeds, so that replies are reproducible if the engine supports it")
    device: str = runtime("auto", "local: auto, cpu, cuda, cuda:1 ...")
    batch_size: int = runtime(64, "local: sequences decoded together", ge=1)
    threads: int | None = runtime(
        None, "local: CPU threads; default: all cores, one for decoding with a tiny model", ge=1
    )
    max_num_seqs: int = runtime(256, "vllm: sequences decoded together", ge=1)
    max_model_len: int | None = runtime(
        None,
        "local, vllm, scripted: most tokens of prompt and reply together; default: the model's; replies that it "
        "cut or refused are asked again when it is raised",
        ge=1,
    )
    tensor_parallel: int = runtime(1, "vllm: GPUs that share one copy of the weights", ge=1)
    data_parallel: int = runtime(1, "vllm: copies of the weights in this engine", ge=1)
    gpu_memory: float = runtime(0.9, "vllm: share of each GPU's memory; ignored on a CPU", gt=0, le=1)
    enforce_eager: bool = runtime(
        False, "vllm: no compilation and no CUDA graphs: loads faster, decodes more slowly"
    )
    urls: Texts = runtime((), "endpoint: base URLs such as http://127.0.0.1:8000/v1")
    served_name: str | None = runtime(
        None,
        "endpoint: the configured model's name there; default: model.path; a trained model is found by its directory",
    )
    protocol: Literal["auto", "chat", "completions"] = runtime(
        "auto", "endpoint: completions sends token ids and keeps them; auto: where the server takes them"
    )
    api_key_env: str = runtime("VERIDISTILL_API_KEY", "endpoint: environment variable that holds the API key")
    max_width: int = runtime(
        256, "endpoint: most calls at once to each URL; fewer while it is overloaded", ge=1
    )
    idle_timeout: float = runtime(
        300.0, "endpoint: seconds without a token after which a request is asked again", gt=0
    )
    retries: int = runtime(8, "endpoint: how often one request is asked again after transport faults", ge=0)
    patience: float = runtime(
        600.0, "endpoint: seconds without a token from any URL after which the run stops, to be resumed", gt=0
    )
    replicas: int = runtime(1, "ray: actors, each with an engine", ge=1)
    replica: Literal["local", "vllm", "scripted"] = runtime(
        "vllm", "ray: the kind of engine that each actor holds"
    )
    address: str | None = runtime(
        None, "ray: auto for an existing cluster, or its address; null: start one here"
    )
    actor_gpus: float | None = runtime(None, "ray: GPUs for each actor; default: what its engine needs", ge=0)
    actor_cpus: float = runtime(1.0, "ray: CPUs for each actor", ge=0)
    actor_resources: dict[str, float] = runtime({}, "ray: custom resources for each actor")
    script: str | None = identity(None, "scripted: a YAML file of rates and lengths")

    @model_validator(mode="after")
    def _whole(self) -> "EngineSection":
        if self.kind == "endpoint" and not self.urls:
            raise ValueError("kind endpoint needs urls, for example engine.urls=[http://127.0.0.1:8000/v1]")
        return self


class SeedsSection(Section):
    path: Texts = identity(
        ("lab",),
        "JSONL, JSON, Parquet or CSV files of questions, patterns of files, paths on the Hub (hf://datasets/...); or"
        " `lab`",
    )
    question: str = identity(
        "question", "column that holds the question, or a template over columns: `{text} Example: {tests[0]}`"
    )
    options: str | None = identity(
        None, "column that holds the options of multiple-choice questions, null in a row that has none"
    )
    id: str | None = identity(None, "column that holds an id; null: the id is a hash of the question")
    domain: str = identity(
        "math",
        "math, science or code, which decides on solve prompt and static check; or a column that holds one of them per"
        " row",
    )
    limit: int | None = identity(None, "use only the first N unique questions", ge=1)
    shard: str | None = identity(
        None, "`2/8`: the second of eight parts, by hash of the id; veridistill merge joins the runs"
    )
    near_duplicates: float | None = identity(
        None, "drop questions whose 5-gram Jaccard similarity to an earlier one is at least this", gt=0, le=1
    )
    decontaminate: Texts = identity(
        (), "benchmarks (names, or JSONL files of problems) whose questions are dropped from the seeds"
    )

    @field_validator("path")
    @classmethod
    def _path(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value) or not value:
            raise ValueError("must name a file, a pattern of files, a path on the Hub, or lab")
        if "lab" in value and len(value) > 1:
            raise ValueError("the lab's questions stand alone; for a file named lab write ./lab")
        return value

    @field_validator("question", mode="before")
    @classmethod
    def _question(cls, value: Any) -> Any:
        if isinstance(value, dict):
            raise ValueError("a template must be in quotes, since YAML reads braces as a mapping")
        return value

    @field_validator("shard")
    @classmethod
    def _shard(cls, value: str | None) -> str | None:
        if value is not None:
            part, slash, parts = value.partition("/")
            if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
                raise ValueError("shard must be part/parts, from 1/N to N/N, for example 2/8")
        return value


class SampledSection(Section):
    """How replies are sampled; each section has its own temperature."""

    temperature: float = identity(ge=0, le=10)
    top_p: float = identity(0.95, gt=0, le=1)
    top_k: int = identity(0, "0: no limit", ge=0)
    max_tokens: int = identity(32768, ge=1)

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.top_k, self.max_tokens)


class GenerateSection(SampledSection):
    """Candidates. Defaults are the paper's (temperature 0.8, top_p 0.95, 32,768 tokens, n = 8)."""

    candidates: int = identity(8, "candidates per question, n", ge=1)
    temperature: float = identity(0.8, ge=0, le=10)


class JudgeSection(SampledSection):
    """The cascade. Defaults are the paper's (temperature 0.6, top_p 0.95, v = 5, three stages)."""

    stages: StageNames = identity(
        ("cycle_consistency", "factuality", "correctness"), "in the paper's order", min_length=1
    )
    votes: int = identity(5, "votes per stage, v; all must be yes", ge=1)
    infer_per_vote: bool = identity(True, "infer the question again for each cycle-consistency vote")
    follow_up: FollowUp = identity(
        "constrained",
        "a reply that ended without a verdict is asked for the mark alone; constrained: to one of the two marks,"
        " where the engine can do that; free: to any reply; off: not at all",
    )
    max_reasks: int = identity(2, "how often an invalid vote is asked again", ge=0)
    model: ModelSection | None = identity(None, "another model as judge; null: the model judges itself")
    engine: EngineSection | None = runtime(
        None, "another engine for the judge; null: as engine (a second one if the judge has other weights)"
    )
    temperature: float = identity(0.6, ge=0, le=10)

    @model_validator(mode="after")
    def _unique(self) -> "JudgeSection":
        if len(set(self.stages)) != len(self.stages):
            raise ValueError(f"stages must differ from one another; found {', '.join(self.stages)}")
        return self


class BuildSection(Section):
    selection: Literal["first", "all", "shortest", "random", "unfiltered"] = identity(
        "first", "which accepted candidates are kept; unfiltered: candidate 0, unjudged"
    )
    asks: Literal["lazy", "exhaustive"] = runtime(
        "lazy", "lazy: only the calls that decide; exhaustive: every vote of every candidate"
    )
    order: Literal["cheapest", "paper"] = runtime(
        "cheapest",
        "order of one candidate's votes: highest chance of rejection per token first, or stage by stage",
    )
    speculation: Literal["idle", "off"] = runtime(
        "idle", "use idle slots of the engine for calls that may be needed"
    )
    audit_share: float = runtime(
        0.02, "share of questions that are asked exhaustively, for unbiased figures", ge=0, le=1
    )
    canary_share: float = runtime(
        0.01,
        "share of questions with a canary: an answer known to be bad, to measure false accepts",
        ge=0,
        le=1,
    )
    extra_stages: StageNames = runtime(
        (),
        "stages asked, for comparison, where everything is asked; they do not affect what is kept",
    )
    window: int | None = runtime(None, "questions open at once; default: a few times the gate's width", ge=1)
    target: int | None = runtime(
        None,
        "stop once N questions have a kept candidate: the first N of the seeds' order, in each round; cannot change"
        " once a model is trained on them",
        ge=1,
    )


class GateSection(Section):
    width: int | None = runtime(None, "calls in the engine at once; default: the engine's capacity", ge=1)


class LoraSection(Section):
    """Low-rank adapters (LoRA) that learn instead of the weights, and are added to them when the model is saved."""

    rank: int = identity(16, ge=1)
    alpha: int = identity(32, "adapters count alpha / rank times", ge=1)
    targets: Texts = identity(
        ("all-linear",), "names of layers such as q_proj; all-linear: all but the head", min_length=1
    )


class TrainSection(Section):
    """Supervised fine-tuning. Defaults are the paper's for small models; recipes have those for other sizes."""

    max_steps: int | None = identity(None, "optimizer steps; not together with epochs", ge=1)
    epochs: float | None = identity(None, "passes over the data; default 2 when max_steps is not set", gt=0)
    learning_rate: float = identity(3e-5, gt=0)
    warmup: float = identity(0.05, "share of the steps in which the learning rate rises", ge=0, lt=1)
    weight_decay: float = identity(0.01, ge=0)
    clip: float = identity(1.0, "gradient norm", gt=0)
    batch_size: int = identity(64, "samples per optimizer step", ge=1)
    loss: Literal["nll", "dft"] = identity(
        "nll", "negative log likelihood, or the same weighted by each token's own probability (DFT)"
    )
    lora: LoraSection | None = identity(None, "train adapters of {rank, alpha, targets}; null: all weights")
    micro_batch_size: int = runtime(8, "samples per forward pass and device", ge=1)
    max_length: int = identity(32768, "longer rows are dropped and counted", ge=1)
    seed: int = identity(42)
    gradient_checkpointing: bool = runtime(False)
    save_steps: int = runtime(100, "steps between checkpoints", ge=1)
    preflight: Literal["refuse", "off"] = runtime(
        "refuse", "whether a run that this machine cannot train, by calculation, is refused before its build"
    )

    @model_validator(mode="after")
    def _one_length(self) -> "TrainSection":
        if self.max_steps is not None and self.epochs is not None:
            raise ValueError(
                "max_steps and epochs cannot both be set; set one of them to null, for example train.epochs=null"
            )
        return self


class EvaluationSection(SampledSection):
    """The evaluation. Defaults are paper-like (temperature 0.7, top_p 0.95, 32,768 tokens, k = 10)."""

    problems: str | None = identity(
        None, "JSONL of problems (id, kind, question, answer | choices | tests), or `lab`; null: none"
    )
    benchmarks: Texts = identity(
        (), "public benchmarks by name, for example aime26, gpqa_diamond, mmlu:high_school_physics"
    )
    preset: Literal["paper", "strict"] = identity(
        "strict", "paper: the paper's subsets and date ranges; strict: complete and disjoint ones"
    )
    data: str | None = runtime(
        None, "directory with local copies of the benchmarks' files; null: from the Hub"
    )
    limit: int | None = identity(None, "use the first N problems of each benchmark", ge=1)
    samples: int = identity(10, "samples per problem, k", ge=1)
    temperature: float = identity(0.7, ge=0, le=10)
    ttc: bool = runtime(
        False, "also answer by the cascade at test time (UQ-TTC), with generate.* and judge.*"
    )
    allow_code_execution: bool = runtime(False, "run model-written programs, in a sandbox, to grade code")
    program_python: str | None = identity(
        None,
        "interpreter (3.11 or later) of model-written programs, which see all of its packages; null: the one that runs"
        " veridistill, with only NumPy and sortedcontainers",
    )
    grading_workers: int | None = runtime(
        None, "processes that compare and run answers; default: one per core", ge=1
    )


class JournalSection(Section):
    path: str | None = runtime(
        None, "SQLite file on a local disk, relative to the run directory; default: journal.sqlite there"
    )
    commit_rows: int = runtime(512, "largest number of replies in one commit", ge=1)


class LimitsSection(Section):
    tokens: int | None = runtime(
        None, "stop, resumable, after this many new tokens (prompts, replies and cancelled work)", ge=1
    )
    hours: float | None = runtime(None, "stop, resumable, after this many hours", gt=0)


class QualitySection(Section):
    """Quality limits: crossing one ends a finished build with exit code 4."""

    min_kept: int = runtime(1, "smallest number of kept candidates to train on", ge=0)
    max_invalid: float = runtime(0.5, "largest share of invalid votes", ge=0, le=1)
    max_canaries: float = runtime(
        0.2,
        "largest share of accepted canaries; crossed when the complete 95 % interval is above it",
        ge=0,
        le=1,
    )


class Config(Section):
    seed: int = identity(0, "run seed")
    rounds: int = runtime(1, "number of rounds, each starting from the checkpoint of the previous one", ge=1)
    prompts: str = identity(
        "auto",
        "thinking, instruct, compact, or your own directory; auto: compact for the lab's model, else thinking if"
        " the model reasons, else instruct",
    )
    model: ModelSection = identity(ModelSection())
    seeds: SeedsSection = identity(SeedsSection())
    generate: GenerateSection = identity(GenerateSection())
    judge: JudgeSection = identity(JudgeSection())
    build: BuildSection = identity(BuildSection())
    gate: GateSection = identity(GateSection())
    train: TrainSection = identity(TrainSection())
    evaluation: EvaluationSection = identity(EvaluationSection())
    engine: EngineSection = identity(EngineSection())
    journal: JournalSection = identity(JournalSection())
    limits: LimitsSection = identity(LimitsSection())
    quality: QualitySection = identity(QualitySection())

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, value: Any) -> Any:
        """A section whose fields are all commented out is null in YAML, and means its defaults."""
        if not isinstance(value, dict):
            return value
        fields = cls.model_fields
        sections = {name for name in fields if isinstance(fields[name].default, Section)}
        return {name: one for name, one in value.items() if one is not None or name not in sections}


# `--k 10` and the like are documented aliases of `-o evaluation.samples=10`.
ALIASES = {
    "model": "model.path",
    "seeds": "seeds.path",
    "n": "generate.candidates",
    "votes": "judge.votes",
    "k": "evaluation.samples",
    "limit": "seeds.limit",
    "problems": "evaluation.problems",
    "benchmarks": "evaluation.benchmarks",
}
