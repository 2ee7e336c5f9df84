"""The evaluate stage on tiny real models, and what the gate makes of models that must not pass."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from roundhouse import evaluation, gate, jsonl, params
from roundhouse.errors import DataError
from roundhouse.hashes import sha256_folder
from roundhouse.journal import silent
from roundhouse.learn import accuracy, models, reward_model, sampling, text
from roundhouse.learn.models import Policy
from roundhouse.smoke import SmokeResult
from roundhouse.winrate import Bootstrap
from tests.learn.conftest import tokens_of_passes

SETTINGS = params.load(
    Path(__file__).parents[1] / "params.yaml",
    [
        "model.scratch={hidden_size: 16, layers: 1, heads: 2, feed_forward: 32}",
        "model.response_tokens=8",
        "evaluate.prompts=40",
        "evaluate.bootstrap_draws=200",
    ],
)
SAID = "what about the lease rent dose pupil ask your doctor now pay it never always tell them"
WORDS = SAID.split()
BOOTSTRAP = Bootstrap(200, 0.95, 17)


def messages(said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": said}]


def prompt_text(number: int) -> str:
    return f"{WORDS[number % 16]} {WORDS[number // 16]} {WORDS[number % 7]}"


def tiny(seed: int, noise_of: Policy | None = None) -> Policy:
    """A small model; given another one, a neighbour of it."""
    torch.manual_seed(seed)
    policy = models.scratch(SETTINGS.model.scratch, WORDS, 64)
    if noise_of is not None:
        for mine, theirs in zip(
            policy.model.parameters(), noise_of.model.parameters(), strict=True
        ):
            mine.data = theirs.data + 0.05 * torch.randn_like(theirs)
    return policy


def pair(number: int, side: str) -> dict[str, Any]:
    return {
        "prompt": messages(prompt_text(number)),
        "a": "ask your doctor now",
        "b": f"never tell {WORDS[number % 16]}",
        "p": 0.8,
        "weight": 1.0,
        "votes": 1,
        "side": side,
        "domain": ("legal", "medical")[number % 2],
        "partition": 1,
        "rows": [f"f-{number}"],
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A round's clone up to the stage evaluate, with a champion."""
    root = tmp_path_factory.mktemp("round")
    raters = root / "out" / "raters"
    pairs = [pair(n, "eval") for n in range(50)] + [pair(n, "train") for n in range(50, 60)]
    flag = {"response": "pay it now", "reason": "unsafe"}
    jsonl.write(raters / "pairs.jsonl", pairs)
    jsonl.write(raters / "demonstrations.jsonl", [])
    jsonl.write(raters / "flags.jsonl", [pair(n, "eval") | flag for n in range(48, 52)])
    reference = tiny(1)
    models.save(reference, root / "out" / "sft" / "model")
    models.save(tiny(2, reference), root / "out" / "align" / "model")
    models.save(tiny(3, reference), root / "champion" / "model")
    judge = reward_model.Scorer(
        reward_model.from_policy(tiny(4), "mean"), reference.tokenizer, 48, 8
    )
    reward_model.save(judge, root / "out" / "reward" / "judge")
    return root


@pytest.fixture
def clone(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "round"))


def evaluate(root: Path, champion: str | None = None) -> dict[str, float]:
    evaluation.run(root, SETTINGS, 17, champion, silent)
    figures: dict[str, float] = jsonl.read_json(root / "out" / "evaluate" / "figures.json")
    return figures


def decide(root: Path, figures: dict[str, float]) -> gate.Decision:
    model = sha256_folder(root / "out" / "align" / "model")
    candidate = gate.Candidate(
        model=model,
        reference=sha256_folder(root / "out" / "sft" / "model"),
        champion=None,
        inputs="1" * 64,
        smoke=SmokeResult(True, "loads and answers", model),
    )
    return gate.decide(figures, candidate, SETTINGS.gate)


def test_the_stage_writes_answers_figures_and_the_safety_set(clone: Path) -> None:
    figures = evaluate(clone)
    rows = list(jsonl.read(clone / "out" / "evaluate" / "answers.jsonl"))
    assert sum(row["measured"] for row in rows) == figures["evaluate/prompts"] == 40
    assert set(rows[0]["answers"]) == {"challenger", "reference"}
    assert 0 < figures["evaluate/identical"] + 0.01 < 1
    assert figures["evaluate/kl"] > 0
    low, value, high = (figures[f"evaluate/win_rate{end}"] for end in ("_low", "", "_high"))
    assert 0 < low < value < high < 1
    assert figures["evaluate/win_rate"] == figures["evaluate/win_rate_reference"]
    assert figures["evaluate/domains"] == 2
    legal = [figures[f"evaluate/win_rate{end}/domain/legal"] for end in ("_low", "_high")]
    assert legal[1] - legal[0] > high - low
    assert figures["evaluate/safety_flags"] == 4
    safety = jsonl.read_json(clone / "out" / "evaluate" / "safety.json")
    assert [flag["rows"] for flag in safety["flags"]] != []
    assert figures["evaluate/leaked_prompts"] == 2  # the flags on 50 and 51, which also train


def test_the_same_round_gives_the_same_bytes(clone: Path) -> None:
    evaluate(clone)
    before = sha256_folder(clone / "out" / "evaluate")
    evaluate(clone)
    assert sha256_folder(clone / "out" / "evaluate") == before


def test_divergence_is_measured_in_micro_batches(clone: Path) -> None:
    policy, reference = (models.load(clone / "out" / name / "model") for name in ("align", "sft"))
    asked = [messages(prompt_text(n)) for n in range(10)]
    said = evaluation.answer(policy, asked, SETTINGS, 17)
    whole = evaluation.divergence(policy, reference, asked, said, SETTINGS)
    compute = SETTINGS.compute.model_copy(update={"micro_batch": 3})
    settings = SETTINGS.model_copy(update={"compute": compute})
    seen = tokens_of_passes(reference.model)
    found = evaluation.divergence(policy, reference, asked, said, settings)
    assert found == pytest.approx(whole, abs=1e-4)
    assert len(seen) == 4


def test_with_a_champion_the_baseline_is_the_champion(clone: Path) -> None:
    figures = evaluate(clone, sha256_folder(clone / "champion" / "model"))
    assert figures["evaluate/against_champion"] == 1
    assert figures["evaluate/win_rate"] != figures["evaluate/win_rate_reference"]


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_champion_that_is_not_the_recorded_one_is_refused(clone: Path, damage: str) -> None:
    folder = clone / "champion" / "model"
    recorded = sha256_folder(folder)
    if damage == "missing":
        shutil.rmtree(folder)
    else:
        (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="not the champion"):
        evaluate(clone, recorded)


def test_a_challenger_compared_with_itself_wins_exactly_half_and_is_held(clone: Path) -> None:
    shutil.rmtree(clone / "out" / "align" / "model")
    shutil.copytree(clone / "out" / "sft" / "model", clone / "out" / "align" / "model")
    figures = evaluate(clone)
    for end in ("", "_low", "_high"):
        assert figures[f"evaluate/win_rate{end}"] == 0.5
    assert (figures["evaluate/identical"], figures["evaluate/kl"]) == (1.0, 0.0)
    assert {"same-model", "win-rate"} <= set(decide(clone, figures).failed)


def test_a_challenger_with_nan_weights_is_held(clone: Path) -> None:
    broken = tiny(2)
    next(iter(broken.model.parameters())).data.fill_(torch.nan)
    models.save(broken, clone / "out" / "align" / "model")
    figures = evaluate(clone)
    assert figures["evaluate/not_finite"] == 40
    assert {"unmeasured", "win-rate", "kl"} <= set(decide(clone, figures).failed)


def test_a_judge_with_random_weights_is_no_judge() -> None:
    rng = numpy.random.default_rng(0)
    policy = tiny(5)
    judge = reward_model.Scorer(reward_model.from_policy(policy, "mean"), policy.tokenizer, 48, 8)
    said = [[" ".join(rng.choice(WORDS, 4)) for _ in range(300)] for _ in range(2)]
    prompts = [messages(prompt_text(n % 200)) for n in range(300)]
    first, second = (numpy.array(reward_model.score(judge, prompts, side)) for side in said)
    right = accuracy.correct(first - second, rng.choice([0.2, 0.8], 300))
    found = accuracy.mean_by_group(right, [str(n % 200) for n in range(300)], 500, 0.95, 17)
    assert found is not None
    figures = {"reward/judge_accuracy_low": found.low, "raters/panel": 5.0}
    candidate = gate.Candidate("c" * 64, "5" * 64, None, "1" * 64, None)
    assert "no-judge" in gate.decide(figures, candidate, SETTINGS.gate).failed


def test_without_evaluation_prompts_nothing_is_measured_and_the_gate_holds(clone: Path) -> None:
    rows = [pair(n, "train") for n in range(50)]
    jsonl.write(clone / "out" / "raters" / "pairs.jsonl", rows)
    jsonl.write(clone / "out" / "raters" / "flags.jsonl", [])
    figures = evaluate(clone)
    assert figures["evaluate/prompts"] == 0
    assert {"few-prompts", "win-rate", "domains"} <= set(decide(clone, figures).failed)


@pytest.mark.parametrize("file", ["pairs", "demonstrations"])
def test_one_evaluation_row_among_those_that_train_is_a_leak(clone: Path, file: str) -> None:
    jsonl.write(clone / "out" / "raters" / "flags.jsonl", [])
    path = clone / "out" / "raters" / f"{file}.jsonl"
    rows = list(jsonl.read(path))
    clean = evaluate(clone)
    assert (clean["evaluate/leaked_prompts"], clean["evaluate/judge_overlap"]) == (0, 0)
    jsonl.write(path, [*rows, pair(7, "train") | {"response": "pay it"}])
    found = evaluate(clone)
    assert (found["evaluate/leaked_prompts"], found["evaluate/judge_overlap"]) == (1, 0)
    assert "leak" in decide(clone, found).failed


@pytest.mark.parametrize("file", ["pairs", "demonstrations"])
def test_a_judge_that_learned_from_ppos_prompts_is_seen(clone: Path, file: str) -> None:
    path = clone / "out" / "raters" / "pairs.jsonl"
    jsonl.write(path, [*jsonl.read(path), pair(90, "judge"), pair(91, "judge")])
    own = clone / "out" / "raters" / f"{file}.jsonl"
    jsonl.write(own, [*jsonl.read(own), pair(91, "train") | {"response": "pay it"}])
    figures = evaluate(clone)
    assert figures["evaluate/judge_overlap"] == 1
    assert "judge-overlap" in decide(clone, figures).failed


def test_kl_is_the_sum_of_log_ratios_over_the_answer_alone() -> None:
    policy, reference = tiny(1), tiny(2)
    prompts = [messages("what about the rent"), messages("pay")]
    # Unlike in length, so that one is padded.
    answers = [sampling.Answer("", [9, 8, 7, 9, 12], False), sampling.Answer("", [8, 2], True)]
    both = evaluation.divergence(policy, reference, prompts, answers, SETTINGS)
    for prompt, answer, found in zip(prompts, answers, both, strict=True):
        start = text.encode_prompts(policy.tokenizer, [prompt], 48)[0]
        total = 0.0
        for place, token in enumerate(answer.tokens):
            seen = torch.tensor([start + answer.tokens[:place]])
            with torch.no_grad():
                mine, theirs = (
                    torch.log_softmax(p.model(seen).logits[0, -1], -1)[token]
                    for p in (policy, reference)
                )
            total += float(mine - theirs)
        assert found == pytest.approx(total, abs=1e-4)


def test_one_prompt_draws_the_same_whatever_else_is_asked_after_it() -> None:
    policy = tiny(1)
    prompts = [messages(prompt_text(n)) for n in range(100)]
    everything = evaluation.answer(policy, prompts, SETTINGS, 17)
    assert evaluation.answer(policy, prompts[:64], SETTINGS, 17) == everything[:64]


def test_every_batch_draws_anew() -> None:
    said = evaluation.answer(tiny(1), [messages("pay")] * 128, SETTINGS, 17)
    assert said[:64] != said[64:]


def table(margin: Callable[[int], float]) -> list[dict[str, Any]]:
    """Sixty judged prompts; `margin` is challenger minus champion."""
    return [
        {
            "domain": ("legal", "medical")[n % 2],
            "measured": True,
            "answers": {"challenger": f"c{n}", "champion": f"b{n}", "reference": f"r{n}"},
            "scores": {"challenger": margin(n), "champion": 0.0, "reference": -1.0},
            "ended": {"challenger": n % 10 > 0, "champion": True, "reference": True},
            "length": {"challenger": 12, "champion": 8, "reference": 8},
            "kl": 2.0,
        }
        for n in range(60)
    ]


def test_swapped_labels_mirror_the_win_rate() -> None:
    ours = evaluation.measure(table(lambda n: n % 3 - 0.5), BOOTSTRAP, 20)
    theirs = evaluation.measure(table(lambda n: 0.5 - n % 3), BOOTSTRAP, 20)
    assert ours["evaluate/win_rate"] == pytest.approx(2 / 3)
    assert theirs["evaluate/win_rate"] == pytest.approx(1 / 3)


def test_figures_of_a_table_by_hand() -> None:
    figures = evaluation.measure(table(lambda n: 1.0 if n % 2 else -0.5), BOOTSTRAP, 20)
    assert figures["evaluate/win_rate/domain/legal"] == 0.0
    assert figures["evaluate/win_rate/domain/medical"] == 1.0
    assert figures["evaluate/win_rate_reference"] == 1.0
    assert figures["evaluate/eos_rate"] == pytest.approx(0.9)
    assert figures["evaluate/length_ratio"] == 1.5
    # Every answer is as much longer as every other: there is nothing to control for but that.
    assert figures["evaluate/win_rate_length_controlled"] == pytest.approx(0.5, abs=1e-6)
    assert figures["evaluate/kl"] == figures["evaluate/kl_low"] == 2.0
    extra = [row | {"measured": False} for row in table(lambda n: -9.0)]
    assert evaluation.measure(
        [*table(lambda n: 1.0 if n % 2 else -0.5), *extra], BOOTSTRAP, 20
    ) == (figures)


def test_every_figure_that_the_gate_reads_is_written(clone: Path) -> None:
    jsonl.write(clone / "out" / "raters" / "flags.jsonl", [])
    others = {"reward/judge_accuracy_low": 0.6, "raters/panel": 5.0, "raters/judge_overlap": 0.0}
    others["reward/judge_overlap"] = 0.0
    figures = evaluate(clone) | others
    unmeasured = [r for r in decide(clone, figures).reasons if "was not measured" in r.text]
    assert unmeasured == []


def test_a_prompt_that_is_flagged_but_not_chosen_is_answered(clone: Path) -> None:
    evaluate(clone)
    rows = list(jsonl.read(clone / "out" / "evaluate" / "answers.jsonl"))
    asked = {row["prompt"][0]["content"] for row in rows}
    assert {prompt_text(n) for n in range(48, 52)} <= asked
    assert sum(row["measured"] for row in rows) == 40
