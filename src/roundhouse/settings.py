"""The settings of a round, frozen and typed; `params.load` reads them.

Every field says what it sets, in which unit. Secrets never stand here: a database or server with a
password is named by an environment variable (see `locations.py`).
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
WholeNumber = Annotated[int, Field(ge=0)]


class Block(BaseModel):
    """Base of every block: frozen, strict about types, no unknown keys, finite numbers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


class ScratchModel(Block):
    """The tiny Llama that a round makes where `model.base` is `scratch`."""

    hidden_size: Count
    """Width of the residual stream."""
    layers: Count
    """Transformer blocks."""
    heads: Count
    """Attention heads; they divide the width."""
    feed_forward: Count
    """Width of the feed-forward layer."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"heads {self.heads} must divide hidden_size {self.hidden_size}")
        return self


class ModelSettings(Block):
    """Which language model every round starts from."""

    base: Annotated[str, Field(min_length=1)]
    """`scratch`, or the folder or hub name of a Hugging Face causal language model."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    """Commit that a hub name stays at (40 hexadecimal digits); null for a folder or `scratch`."""
    scratch: ScratchModel
    """Shape of the from-scratch model."""
    prompt_tokens: Count
    """Longest prompt, in tokens; longer ones lose their beginning."""
    response_tokens: Count
    """Longest response, in tokens, in training and sampling."""

    @model_validator(mode="after")
    def _scratch_has_no_revision(self) -> Self:
        if self.base == "scratch" and self.revision is not None:
            raise ValueError("model.revision pins a hub name, and scratch is none: set it to null")
        return self


class ComputeSettings(Block):
    """How the training stages use the machine."""

    threads: WholeNumber
    """Threads of a training process; 0 takes every core."""
    micro_batch: WholeNumber
    """Rows that go through a model at a time; gradients add up to the batch's. 0: all of it."""
    precision: Literal["float32", "bfloat16"]
    """Arithmetic of forward and backward passes; weights and moments stay in float32."""
    gradient_checkpointing: bool
    """Whether layers run again in the backward pass, so that only their inputs are kept."""
    processes: Count
    """Processes of a training stage, which share every batch; `accelerate launch` starts them."""
    shard: bool
    """Whether each process holds a part of what trains (FSDP): weights, gradients, moments."""

    @model_validator(mode="after")
    def _shards_are_of_several(self) -> Self:
        if self.shard and self.processes == 1:
            raise ValueError("compute.shard divides weights: compute.processes must be 2 or more")
        return self


class SplitSettings(Block):
    """Which prompts train, teach the judge, or only measure: by salted hash, for ever."""

    salt: Annotated[str, Field(min_length=1)]
    """Changing it moves every prompt to another side: never do that between rounds."""
    judge_share: OpenShare
    """Share of prompts (or groups) whose ratings train only the judge."""
    eval_share: OpenShare
    """Share of prompts (or groups) that only measure."""
    judge_rater_share: Share
    """Share of raters who form the judge's panel; the reward model never sees them. 0: no panel."""

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if self.judge_share + self.eval_share >= 0.9:
            raise ValueError("judge_share + eval_share must leave at least 0.1 for training")
        return self


class ValidateSettings(Block):
    """Limits of the validation suite."""

    min_rows: WholeNumber
    """Fewest usable rows in a round's new partition; fewer block the round."""
    max_excluded_share: Share
    """Largest share of a new partition that row checks may exclude before the round blocks."""
    max_rater_share: Share
    """Largest share of a new partition from one rater (judged from five raters on)."""
    choice_balance: Share
    """Largest allowed distance of the share of first-answer choices from one half."""
    max_characters: Count
    """Longest prompt or answer, in characters."""
    max_ahead_seconds: Annotated[int, Field(ge=0, le=100 * 365 * 24 * 3600)]
    """How far a rating's time may lie after the time it was received, in seconds."""


class RaterSettings(Block):
    """Rater statistics and what they do to training."""

    weighting: Literal["reliability", "majority", "none"]
    """How votes become soft labels and weights."""
    bootstrap_draws: Count
    """Draws behind every interval of agreement."""
    confidence: OpenShare
    """Coverage of the intervals."""
    min_votes: Count
    """Fewest votes of a rater in a round before a change, or a lack of skill, is looked for."""
    min_weight: Share
    """Lowest weight a rater in state ok or watch can fall to."""
    alarm_drop: Share
    """Fall of alpha since the last round that alarms if its interval excludes 0 and anchors do not
    show that the items got harder. Raters who changed by their anchors alarm without a fall."""
    block_on_alarm: bool
    """Whether such an alarm blocks the round until a person accepts it; else it warns."""
    max_region_loss: Share
    """Largest part of its share of weight that any region may lose."""
    population: dict[str, OpenShare]
    """Region to its share of the people whom the raters stand for; `{}` names none as missing."""

    max_rater_share: Annotated[float, Field(gt=0.0, le=1.0)]
    """Largest share of one rater in the weight of a round's pairs, in teams large enough for it: a
    rater may always have three times an even share. 1 caps nobody."""
    fade: bool
    """Whether an earlier round weighs half where the newest items show that it does harm."""

    @model_validator(mode="after")
    def _population_is_whole(self) -> Self:
        if sum(self.population.values()) > 1 + 1e-9:
            raise ValueError("population: the shares of regions sum to more than 1")
        return self


class SftSettings(Block):
    """Supervised fine-tuning."""

    epochs: Count
    """Passes over the demonstrations."""
    batch: Count
    """Demonstrations an optimizer step."""
    lr: Positive
    """Peak learning rate of AdamW."""
    muon_lr: Annotated[float, Field(ge=0.0)]
    """Learning rate of Muon for the weight matrices; 0 trains them with AdamW too."""
    warmup: Share
    """Share of the steps in which the learning rate rises."""


class RewardSettings(Block):
    """Reward model and judge."""

    epochs: Count
    """Passes over the pairs."""
    batch: Count
    """Pairs an optimizer step."""
    lr: Positive
    """Peak learning rate of AdamW."""
    pooling: Literal["last", "mean"]
    """Where the score is read: at the end-of-sequence token, or as the mean over the response."""
    weight_decay: Annotated[float, Field(ge=0.0)]
    """Decoupled weight decay."""
    max_pairs: WholeNumber
    """Most pairs that train a model, newest rounds first, else drawn at random; 0 uses all."""
    members: Count
    """Heads of the reward model, each with its own weights for the pairs; 1 is no ensemble."""
    objective: Literal["mean", "worst", "mean_minus_variance"]
    """What the members' scores become for PPO."""
    variance_coef: Annotated[float, Field(ge=0.0)]
    """Price of a unit of variance over members, where the objective is mean_minus_variance."""
    margin: Annotated[float, Field(ge=0.0)]
    """Raw score by which the chosen answer is to lead, a unit of the rows' strength; 0: none."""


Alarm = Literal["ratio", "kl", "eos", "length", "explained_variance"]


class AlarmSettings(Block):
    """Where the figures of a step of PPO raise an alarm."""

    min_ratio: OpenShare
    """Alarm ratio: smallest mean probability ratio, new policy to the one that sampled."""
    max_ratio: Annotated[float, Field(gt=1.0)]
    """Alarm ratio: largest mean probability ratio."""
    max_kl: Positive
    """Alarm kl: KL divergence from the reference, in nats an answer."""
    min_eos_rate: Share
    """Alarm eos: smallest share of answers that end by themselves."""
    max_length_ratio: Positive
    """Alarm length: largest ratio of mean answer length, to that of the first step."""
    min_explained_variance: Annotated[float, Field(le=1.0)]
    """Alarm explained_variance: 0 is a critic no better than a constant."""
    explained_variance_after: WholeNumber
    """First steps without that alarm: a critic that starts as the reward model has to learn."""
    stop: list[Alarm]
    """Alarms that end training at their step; the others only warn."""


class PpoSettings(Block):
    """Policy optimisation against the reward model."""

    algorithm: Literal["ppo", "rloo"]
    """What an answer is compared with: a critic's values, or other answers to the same prompt."""
    critic: Literal["apart", "shared"]
    """A model of its own that starts as the reward model, or a head on the policy's trunk."""
    samples: Count
    """Answers to a prompt in a batch; rloo needs two or more."""
    steps: Count
    """Batches of episodes."""
    batch: Count
    """Episodes a step."""
    minibatch: Count
    """Episodes an optimizer step."""
    epochs: Count
    """Passes over a batch."""
    lr: Positive
    """Learning rate of the policy."""
    critic_lr: Positive
    """Learning rate of the critic."""
    kl_coef: Annotated[float, Field(ge=0.0)]
    """Price of one nat of KL divergence from the reference, in units of reward."""
    kl_target: Annotated[float, Field(ge=0.0)]
    """Target of the adaptive controller, in nats; 0 keeps kl_coef fixed."""
    kl_horizon: Count
    """Episodes over which the adaptive controller acts."""
    gamma: Share
    """Discount a token."""
    lam: Share
    """Lambda of generalised advantage estimation."""
    clip: OpenShare
    """Clip range of the probability ratio."""
    value_clip: Positive
    """Clip range of the value prediction."""
    value_coef: Positive
    """Weight of the value loss where policy and critic share an optimizer step."""
    temperature: Positive
    """Sampling temperature; it divides the logits in every log-probability too."""
    missing_eos: Literal["replace", "subtract"]
    """An answer that never ends has its score replaced, or lowered, by the penalty."""
    eos_penalty: float
    """The replacing score (`replace`), or the amount taken off (`subtract`)."""
    reward_clip: Positive
    """Standardised scores are clamped to this distance from 0."""
    max_grad_norm: Positive
    """Gradient norm above which gradients are scaled down."""
    seeds: Count
    """Trainings with different seeds; the best that did not collapse is the challenger."""
    min_distinct_ratio: Share
    """Of several seeds: fewest different answers, against the reference's, that is no collapse."""
    alarms: AlarmSettings
    """When a step's figures are worth a warning, or the end of training."""

    @model_validator(mode="after")
    def _minibatches_fit(self) -> Self:
        if self.batch % self.minibatch:
            raise ValueError(f"ppo.minibatch {self.minibatch} must divide ppo.batch {self.batch}")
        return self

    @model_validator(mode="after")
    def _samples_fit(self) -> Self:
        if self.batch % self.samples:
            raise ValueError(f"ppo.samples {self.samples} must divide ppo.batch {self.batch}")
        if self.algorithm == "rloo" and self.samples < 2:
            raise ValueError("ppo.algorithm rloo compares answers: ppo.samples must be 2 or more")
        return self

    @model_validator(mode="after")
    def _penalty_punishes(self) -> Self:
        if self.missing_eos == "subtract" and self.eos_penalty < 0:
            raise ValueError(
                f"missing_eos subtract takes {self.eos_penalty} off, which rewards answers that "
                "never end: give an eos_penalty of 0 or more"
            )
        return self


class DpoSettings(Block):
    """Direct preference optimisation on the pairs of the training side."""

    epochs: Count
    """Passes over the pairs."""
    batch: Count
    """Pairs an optimizer step."""
    lr: Positive
    """Peak learning rate of AdamW."""
    beta: Positive
    """Implicit reward of a nat: smaller lets the policy go further from its reference."""
    warmup: Share
    """Share of the steps in which the learning rate rises."""


class AlignSettings(Block):
    """How the policy is brought to what raters prefer."""

    method: Literal["ppo", "dpo"]
    """`ppo` is paid by the reward model for answers of its own; `dpo` learns from the pairs."""


#: Stages that may train adapters.
LoraStage = Literal["sft", "align"]


class LoraSettings(Block):
    """Low-rank adapters in place of whole weights, for the policy alone."""

    stages: list[LoraStage]
    """Stages that train adapters; the others, reward model, judge and critic train whole."""
    rank: Count
    """Inner width of an adapter."""
    alpha: Count
    """An adapter's product is multiplied by alpha / rank."""
    targets: (
        Literal["all-linear"]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    )
    """Ends of the names of adapted layers, or all linear ones but the head."""


class EvaluateSettings(Block):
    """Measuring the challenger."""

    prompts: Count
    """Evaluation prompts that are answered, at most."""
    bootstrap_draws: Count
    """Draws of the paired bootstrap over prompts."""
    confidence: OpenShare
    """Coverage of the intervals."""
    temperature: Annotated[float, Field(ge=0.0)]
    """Sampling temperature of the measured answers; 0 is greedy."""


class GateSettings(Block):
    """The rules that promote, hold or block."""

    win_margin: Annotated[float, Field(ge=-0.5, le=0.5)]
    """The win rate's lower bound must exceed 0.5 plus this (negative: non-inferiority)."""
    min_prompts: Count
    """Fewest evaluation prompts that a win rate is believed from; smaller domains are pooled."""
    min_judge_accuracy: Share
    """The judge's lower bound on held-out pairs must exceed this, or the round holds: no-judge."""
    min_panel: WholeNumber
    """Fewest raters on the judge's panel, or the round holds: no-judge. 0 lets a team that is too
    small for a panel go on with a judge that learned from the same raters."""
    max_kl: Positive
    """KL divergence of the challenger from its reference, in nats an answer."""
    min_eos_rate: Share
    """Smallest share of answers that end by themselves."""
    max_length_ratio: Positive
    """Largest ratio of mean answer length, challenger to baseline."""
    min_distinct_ratio: Share
    """Smallest ratio of different answers, challenger to baseline: less is a collapsed policy."""
    domain_margin: Share
    """A domain's win rate may lie this far under 0.5 before its corrected bound holds the round."""
    flagged_similarity: Share
    """Similarity (0 to 1) from which an answer counts as a flagged text said again."""


class PublishSettings(Block):
    """Where a finished round goes."""

    git_remote: str | None
    """Git remote that rounds fetch earlier tags from and push their own to; none by default."""
    model_name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_-]+$")]
    """Name of the registered model in MLflow."""


class DriftSettings(Block):
    """A drift of simulated raters, off by default."""

    round: WholeNumber
    """First round it acts in; 0 is never."""
    raters: Share
    """Share of the raters who drift."""
    flip: Share
    """Share of their choices that turn."""


class SimulateSettings(Block):
    """The simulated team of the demonstration. Off, a round uses only what was ingested."""

    enabled: bool
    """Whether a round asks the simulated team for feedback."""
    raters: Count
    """Simulated raters."""
    archive_demonstrations: Count
    """Demonstrations in the archive that round 1 starts from."""
    archive_pairs: Count
    """Rated pairs in that archive."""
    pairs: Count
    """Pairs sampled from the champion and rated, each later round."""
    drift: DriftSettings
    """Raters who change."""


class ScheduleSettings(Block):
    """When a scheduled round is worth running."""

    min_feedback: WholeNumber
    """Fewest new rows in the ledger; with fewer the scheduled round is skipped."""
    max_tries: Count
    """How often the schedule takes up a round that was not decided, before it starts a new one."""


class CheckpointSettings(Block):
    """States of a training, from which one that died goes on. They change no result."""

    seconds: Annotated[float, Field(ge=0.0)]
    """Time between two, at least; 0 saves after every step."""
    keep: Count
    """Newest ones that stay until the stage has ended."""


class PlanSettings(Block):
    """What `roundhouse plan` does unless it is told otherwise."""

    method: Literal["random", "margin", "disagreement", "information"]
    """How `--choose` takes pairs to have labelled; a fifth is drawn at random whatever it is."""


class IngestSettings(Block):
    """What happens to texts on their way in."""

    redact: bool
    """Replace what looks like personal data (`[e-mail]`, `[phone]`, ...) before a row is stored."""


class RetentionSettings(Block):
    """How long feedback is kept."""

    days: Annotated[int, Field(ge=0, le=100 * 365)]
    """Rows made longer ago are erased when a round begins, in days; 0 keeps them for ever."""


class StorageSettings(Block):
    """What the disk of this machine keeps."""

    keep_rounds: WholeNumber
    """Workspaces and cache objects of that many last rounds stay; 0 keeps all (see `clean`)."""


class Settings(Block):
    """All settings of a round."""

    seed: WholeNumber
    """Seed of everything random in a round."""
    model: ModelSettings
    compute: ComputeSettings
    split: SplitSettings
    validation: Annotated[ValidateSettings, Field(alias="validate")]
    raters: RaterSettings
    sft: SftSettings
    reward: RewardSettings
    align: AlignSettings
    ppo: PpoSettings
    dpo: DpoSettings
    lora: LoraSettings
    evaluate: EvaluateSettings
    gate: GateSettings
    checkpoints: CheckpointSettings
    publish: PublishSettings
    simulate: SimulateSettings
    plan: PlanSettings
    ingest: IngestSettings
    retention: RetentionSettings
    schedule: ScheduleSettings
    storage: StorageSettings
    probes: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """Fixed prompts whose sampled answers MLflow shows; never taken from anyone's feedback."""

    @model_validator(mode="after")
    def _seeds_are_of_ppo(self) -> Self:
        if self.align.method == "dpo" and self.ppo.seeds > 1:
            raise ValueError(
                f"ppo.seeds {self.ppo.seeds} chooses among trainings of PPO: set it to 1, or "
                "align.method to ppo"
            )
        return self

    @model_validator(mode="after")
    def _processes_fit(self) -> Self:
        if self.ppo.batch % self.compute.processes:
            raise ValueError(
                f"compute.processes {self.compute.processes} must divide ppo.batch {self.ppo.batch}"
            )
        if self.compute.shard and self.lora.stages:
            raise ValueError("compute.shard: adapters need whole weights, set lora.stages to []")
        return self

    @model_validator(mode="after")
    def _a_base_to_adapt(self) -> Self:
        if "sft" in self.lora.stages and self.model.base == "scratch":
            raise ValueError("lora.stages: a scratch base is random, sft has nothing to adapt")
        return self
