"""Adapters: only they learn, the reference is the supervised model, what is saved is plain."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from roundhouse import jsonl, model_folder
from roundhouse.errors import SettingsError
from roundhouse.hashes import sha256_folder
from roundhouse.journal import silent
from roundhouse.learn import (
    align,
    checkpoint,
    lora,
    memory,
    models,
    packing,
    ppo,
    reward_model,
    sft,
    text,
)
from roundhouse.learn.models import Policy
from roundhouse.learn.ppo_state import State, Task
from roundhouse.learn.reward_model import RewardModel, Scorer
from roundhouse.learn.tokenizer import word_level
from roundhouse.settings import LoraSettings, Settings
from tests.conftest import PROJECT
from tests.learn.conftest import WORDS
from tests.learn.test_checkpoint import Died, dies_at, prepare, settings_of, work
from tests.learn.test_memory import MEASURE, check_plan
from tests.learn.test_packing import FAMILIES, fresh
from tests.learn.test_ppo import counts, task

BLOCK = LoraSettings(stages=["sft", "align"], rank=4, alpha=12, targets="all-linear")
BATCH = text.collate([[5, 7], [5, 8, 9, 10, 7], [9]], [[8, 2], [9, 9, 2], [10, 4, 5, 6]], 0)
#: Settings of the stages below, which go on from a base folder.
BOTH = {"lora.stages": "[sft, align]", "lora.rank": 4, "sft.lr": 0.02, "ppo.lr": 0.02}
PPO = {"lora.stages": "[align]", "lora.rank": 4}

#: peft itself asks transformers by an old name.
loads_with_peft = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(params=FAMILIES)
def policy(request: pytest.FixtureRequest) -> Policy:
    """A random model of each family, its norms replaced as in training."""
    torch.manual_seed(0)
    model = fresh(FAMILIES[request.param]())
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    models._ready(model)
    return Policy(model, word_level(WORDS))


def trained(base: PreTrainedModel, seed: int = 3) -> PreTrainedModel:
    """Adapters that have learned something, on the base."""
    model = lora.on(base, BLOCK, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in checkpoint.weights(model).values():
            weight.add_(torch.randn(weight.shape, generator=generator) / 20)
    return model


def said(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return models.response_logprobs(model, BATCH, 1.0)


def weights(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def begun(
    policy: Policy, settings: Settings, reward: RewardModel | None = None
) -> tuple[State, Task]:
    """PPO with adapters before its first step, as the stage begins it."""
    given = task(policy, settings, reward or counts(policy))._replace(reference=policy.model)
    return ppo.begin(align._learner(policy.model, settings, given.seed), given), given


def test_it_starts_as_its_base_on_the_same_memory(policy: Policy) -> None:
    before, state = said(policy.model), torch.get_rng_state()
    model = lora.on(policy.model, BLOCK, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(said(model), before)
    assert packing.fits(model)
    own = {weight.data_ptr() for weight in policy.model.parameters()}
    others = [weight for weight in model.parameters() if weight.data_ptr() not in own]
    adapters = checkpoint.weights(model)
    assert {id(weight) for weight in others} == {id(p) for p in models.parameters([model])}
    assert sum(weight.numel() for weight in others) == lora.size(policy.model.config, BLOCK)
    assert all("lora_" in name for name in adapters)
    # Two for each linear layer but the head, in both layers of the model.
    assert len(adapters) in (2 * 2 * 4, 2 * 2 * 7)
    assert all(weight.requires_grad for weight in policy.model.parameters())
    assert not any(module.training for module in model.modules())


def test_the_seed_makes_it(policy: Policy) -> None:
    first, again, other = (lora.on(policy.model, BLOCK, seed) for seed in (3, 3, 4))
    mine, same, apart = (checkpoint.weights(model) for model in (first, again, other))
    assert all(torch.equal(mine[name], same[name]) for name in mine)
    assert not all(torch.equal(mine[name], apart[name]) for name in mine)


@loads_with_peft
def test_merged_it_says_what_the_adapters_said_and_peft_loads_them_too(
    policy: Policy, tmp_path: Path
) -> None:
    models.save(policy, tmp_path / "base")
    before = weights(policy.model)
    model = trained(policy.model)
    adapted = said(model)
    assert (adapted - said(policy.model)).abs().max() > 0.02
    tied = policy.model.config.tie_word_embeddings
    lora.settle(model, tmp_path / "adapter")
    torch.testing.assert_close(said(model), adapted, atol=1e-5, rtol=1e-5)
    # A plain model, of the same parts and ties; the base has not moved.
    assert list(model.state_dict()) == list(before)
    assert lora.scale(model) is None
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    assert (head.weight is model.get_input_embeddings().weight) == tied
    assert all(torch.equal(before[name], now) for name, now in policy.model.state_dict().items())
    models.save(Policy(model, policy.tokenizer), tmp_path / "model")
    model_folder.check(tmp_path / "model")
    loaded = models.load(tmp_path / "model").model
    torch.testing.assert_close(said(loaded), adapted, atol=1e-5, rtol=1e-5)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    peft = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        logits = peft(input_ids=BATCH.tokens, attention_mask=BATCH.mask).logits
        expected = loaded(input_ids=BATCH.tokens, attention_mask=BATCH.mask).logits
    real = BATCH.mask.bool()
    torch.testing.assert_close(logits[real], expected[real], atol=1e-5, rtol=1e-5)


def test_an_adapter_names_no_place_and_is_refused_as_a_base(policy: Policy, tmp_path: Path) -> None:
    for name in ("one", "two"):
        lora.settle(trained(policy.model), tmp_path / name)
    assert sha256_folder(tmp_path / "one") == sha256_folder(tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 12, 0.0)
    assert str(tmp_path) not in json.dumps(config)


@pytest.mark.parametrize(
    "changes",
    [{}, {"ppo.critic": "shared"}, {"ppo.algorithm": "rloo", "ppo.samples": 4}],
    ids=["apart", "shared", "rloo"],
)
def test_before_the_first_update_policy_and_reference_are_one_and_then_adapters_move(
    policy: Policy, tiny: Callable[..., Settings], changes: dict[str, Any]
) -> None:
    changes = {"ppo.minibatch": 8, "ppo.lr": 0.05} | changes
    state, given = begun(policy, tiny(**changes, **PPO))
    before, supervised = weights(state.policy), said(policy.model)
    metrics, _ = ppo.train_step(state, given)
    assert metrics["ppo/ratio"] == pytest.approx(1, abs=1e-4)
    assert metrics["ppo/ratio_max"] == pytest.approx(1, abs=1e-4)
    assert metrics["ppo/kl"] == pytest.approx(0, abs=1e-4)
    assert metrics["ppo/policy_gradient"] > 0
    moved, _ = ppo.train_step(state, given)
    assert abs(moved["ppo/kl"]) > 1e-4
    after = state.policy.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and all("lora_" in name for name in changed)
    # The reference is the supervised model, to the last bit, whatever the policy has learned.
    assert torch.equal(said(given.reference), supervised)


def test_the_optimizer_holds_adapters_alone(policy: Policy, tiny: Callable[..., Settings]) -> None:
    state, _ = begun(policy, tiny(**PPO))
    held = {id(p) for p in state.optimizer.parts[0].param_groups[0]["params"]}
    adapters = {id(p) for p in models.parameters([state.policy])}
    assert held == adapters
    assert len(state.state_dict()["policy"]) == len(adapters)
    # In sft AdamW trains them, though Muon trains whole matrices.
    settings = tiny(**{"sft.muon_lr": 0.02})
    made = sft._optimizer(Policy(state.policy, policy.tokenizer), settings.sft, 4)
    assert [type(part).__name__ for part in made.parts] == ["AdamW"]
    assert {id(p) for p in made.parts[0].param_groups[0]["params"]} == adapters


def test_a_checkpoint_belongs_to_its_base_its_adapters_and_their_scale(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    reward = counts(policy)

    def named(**changes: Any) -> str:
        state, given = begun(policy, tiny(**(PPO | changes)), reward)
        return ppo._identity(state.policy, given)

    first = named()
    assert named() == first
    other = {named(**{"lora.alpha": 8}), named(**{"lora.rank": 2})}
    with torch.no_grad():
        next(policy.model.parameters()).view(-1)[0] += 1e-6
    other.add(named())
    assert len(other | {first}) == 4


def test_each_seed_has_adapters_of_its_own(policy: Policy, tiny: Callable[..., Settings]) -> None:
    settings = tiny(**PPO, **{"ppo.seeds": 2, "ppo.lr": 0.05})
    given = task(policy, settings, counts(policy))._replace(reference=policy.model)
    supervised, made = said(policy.model), list[PreTrainedModel]()

    def learner(seed: int) -> PreTrainedModel:
        made.append(align._learner(policy.model, settings, seed))
        return made[-1]

    model, figures = align.train_seeds(learner, given, silent)
    assert any(model is one for one in made) and len(made) == 2
    assert figures["ppo/seeds"] == 2
    assert figures["ppo/seed/1/kl"] != figures["ppo/seed/2/kl"]
    assert torch.equal(said(policy.model), supervised)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("[q_proj, no_such]", "lora.targets: the model has no layer no_such"),
        ("[norm]", "lora.targets: Target module .* is not supported"),
        ("[lm_head]", "lora.targets: lm_head is an end of the model"),
        ("[embed_tokens]", "lora.targets: model.embed_tokens is an end of the model"),
    ],
)
def test_targets_that_cannot_be_adapted_are_one_line_before_anything_trains(
    tmp_path: Path, tiny: Callable[..., Settings], targets: str, message: str
) -> None:
    prepare(tmp_path)
    base = tmp_path / "sft" / "model"
    settings = tiny(**{"model.base": base, "lora.stages": "[align]", "lora.targets": targets})
    with pytest.raises(SettingsError, match=message):
        sft.run(tmp_path / "raters", tmp_path / "out", settings, 1, silent)


def test_some_layers_alone(tmp_path: Path, tiny: Callable[..., Settings]) -> None:
    prepare(tmp_path)
    block = tiny(**{"lora.targets": "[q_proj, mlp.up_proj]"}).lora
    found = checkpoint.weights(lora.on(models.load(tmp_path / "sft" / "model").model, block, 1))
    assert {name.split(".lora_")[0].split(".")[-1] for name in found} == {"q_proj", "up_proj"}


def test_a_random_base_has_nothing_to_adapt(tiny: Callable[..., Settings]) -> None:
    tiny(**{"lora.stages": "[align]"})
    with pytest.raises(SettingsError, match=r"lora.stages: a scratch base is random"):
        tiny(**{"lora.stages": "[sft]"})


def test_the_plan_counts_adapters_and_one_policy_less() -> None:
    config = FAMILIES["llama"]()
    few = lora.size(config, BLOCK)
    load = memory.Load(2, 4, 6, 8)
    whole = memory.plan(config, load, trained=2, frozen=2)
    found = memory.plan(config, load, trained=1, frozen=2, adapters=few)
    model = memory.plan(config, load, trained=1).weights
    assert whole.weights - found.weights == model - 4 * few
    assert whole.gradients - found.gradients == model - 4 * few
    assert found.moments == 2 * found.gradients == 2 * (model + 4 * few)


def test_the_plan_is_near_what_a_step_with_adapters_takes() -> None:
    changes = {
        "import memory, ppo": "import lora, memory, ppo",
        "policy, reference = LlamaForCausalLM(config).eval(), ": "reference = ",
        "\nprompts =": "\npolicy = lora.on(reference, settings.lora, 1)\nprompts =",
        "trained=2, frozen=2": "1, 2, adapters=lora.size(config, settings.lora)",
        "\nbefore =": "\nimport peft.tuners.lora\nbefore =",
    }
    script = MEASURE
    for old, new in changes.items():
        assert script.count(old) == 1
        script = script.replace(old, new)
    check_plan(script)


@pytest.mark.parametrize("stage", ["sft", "ppo", "rloo"])
def test_a_stage_with_adapters_that_dies_at_any_step_ends_with_the_same_bytes(
    stage: str, tmp_path: Path, tiny: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(lambda **changes: tiny(**changes, **BOTH), tmp_path)
    prepare(tmp_path)
    steps: list[int] = []
    whole, kept = tmp_path / "whole", tmp_path / "kept"
    work(stage, tmp_path, whole, settings, lambda step, *_: steps.append(step), tmp_path / "first")
    expected = sha256_folder(whole)
    for last in steps:
        with pytest.raises(Died):
            work(stage, tmp_path, tmp_path / "part", settings, dies_at(last), kept)
    capsys.readouterr()
    work(stage, tmp_path, tmp_path / "last", settings, silent, kept)
    assert f"{steps[-1] - 1} of {steps[-1]} steps were done before" in capsys.readouterr().err
    assert sha256_folder(tmp_path / "last") == expected
    # It learned, and only what it was to learn: embeddings are those of the base.
    base = models.load(tmp_path / "sft" / "model").model.state_dict()
    now = models.load(whole / "model").model.state_dict()
    changed = {name for name in now if not torch.equal(now[name], base[name])}
    assert changed and all(name.endswith("proj.weight") for name in changed)
    assert (whole / "adapter" / "adapter_model.safetensors").is_file()


def test_peft_is_imported_where_adapters_are(tmp_path: Path, tiny: Callable[..., Settings]) -> None:
    prepare(tmp_path)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from roundhouse.journal import silent\n"
        "from roundhouse.settings import Settings\n"
        "from tests.learn.test_checkpoint import work\n"
        "settings = Settings.model_validate_json(sys.stdin.read())\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "work('ppo', folder, folder / 'out', settings, silent, folder / 'kept')\n"
        "sys.exit('peft' in sys.modules)\n"
    )
    for stages, found in (("[]", 0), ("[align]", 1)):
        done = subprocess.run(
            [sys.executable, "-c", script],
            input=tiny(**{"lora.stages": stages}).model_dump_json(by_alias=True),
            text=True,
            cwd=PROJECT,
            env={"PYTHONPATH": f"{PROJECT}:{PROJECT / 'src'}"},
            check=False,
        )
        assert done.returncode == found


@loads_with_peft
def test_a_pretrained_model_through_both_stages(
    shared: Path, tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    base = shared / "models" / "stories260K"
    prepare(tmp_path)
    settings = tiny(**(BOTH | {"model.base": base, "model.prompt_tokens": 40}))
    sft.run(tmp_path / "raters", tmp_path / "sft2", settings, 3, silent)
    tuned = models.load(tmp_path / "sft2" / "model")
    scorer = Scorer(reward_model.from_policy(tuned, "mean"), tuned.tokenizer, 40, 8)
    reward_model.save(scorer, tmp_path / "reward2" / "model")
    folders = tmp_path / "raters", tmp_path / "sft2", tmp_path / "reward2", tmp_path / "ppo"
    align.run(*folders, settings, 3, silent)
    figures = jsonl.read_json(tmp_path / "ppo" / "figures.json")
    assert figures["ppo/kl"] != 0
    start, adapters = base, (tmp_path / "sft2", tmp_path / "ppo")
    ids = torch.arange(3, 30)[None]
    for out in adapters:
        plain = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
        merged = models.load(out / "model").model
        with torch.no_grad():
            before = plain(ids).logits
            adapted = PeftModel.from_pretrained(plain, str(out / "adapter")).eval()(ids).logits
            torch.testing.assert_close(merged(ids).logits, adapted, atol=1e-5, rtol=1e-5)
            assert (adapted - before).abs().max() > 1e-3
        start = out / "model"
