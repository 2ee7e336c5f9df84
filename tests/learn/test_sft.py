"""Supervised fine-tuning."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from roundhouse import jsonl
from roundhouse.errors import DataError, DivergenceError
from roundhouse.hashes import sha256_folder
from roundhouse.journal import silent
from roundhouse.learn import models, sampling, sft, text
from roundhouse.learn.models import Policy
from roundhouse.learn.sft import Demonstration
from roundhouse.settings import Settings
from tests.learn.conftest import tokens_of_passes

PROMPT = [{"role": "user", "content": "why the cat?"}]
GOOD = Demonstration(PROMPT, "yes, the cat sat.", 1.0)
BAD = Demonstration(PROMPT, "no no dog ran a mat.", 1.0)


def test_only_response_tokens_count(policy: Policy) -> None:
    batch = text.collate([[5, 6, 7], [9]], [[8, 2], [9, 10, 2]], 0)
    with torch.no_grad():
        loss = sft.response_loss(policy.model, batch, torch.ones(2)).item()
        logprobs = models.response_logprobs(policy.model, batch, 1.0)
    assert loss == pytest.approx(-logprobs[batch.action_mask].mean().item(), abs=1e-5)


def test_the_loss_of_a_row_is_the_same_in_any_batch(policy: Policy) -> None:
    alone = text.collate([[5, 6]], [[8, 2]], 0)
    padded = text.collate([[5, 6], [5, 6, 7, 8]], [[8, 2], [9, 10, 11, 2]], 0)
    with torch.no_grad():
        first = sft.response_loss(policy.model, alone, torch.ones(1)).item()
        weighed = sft.response_loss(policy.model, padded, torch.tensor([1.0, 0.0])).item()
    assert first == pytest.approx(weighed, abs=1e-5)


def test_a_demonstration_is_learnt_and_a_weightless_one_is_not(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    rows = [GOOD, BAD._replace(weight=0.0)] * 100
    sft.train(policy, rows, tiny(**{"sft.lr": 0.02, "sft.muon_lr": 0.02}), 1, silent)
    said = sampling.answer(policy, [PROMPT], tiny().model, 0.0, 0)[0]
    assert said.text == GOOD.response
    assert said.ended


def test_a_held_out_loss_is_measured_in_micro_batches(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    rows = [GOOD, BAD, GOOD._replace(response="no.")] * 5
    whole = sft.evaluate(policy, rows, tiny())
    seen = tokens_of_passes(policy.model)
    assert sft.evaluate(policy, rows, tiny(**{"compute.micro_batch": 2})) == pytest.approx(whole)
    assert len(seen) == 8
    assert max(seen) <= 2 * (tiny().model.prompt_tokens + tiny().model.response_tokens)


def test_divergence_stops_with_the_step_and_the_quantity(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    with torch.no_grad():
        next(policy.model.parameters())[8:] = float("nan")
    with pytest.raises(DivergenceError, match="sft: loss became nan at step 1"):
        sft.train(policy, [GOOD] * 8, tiny(), 1, silent)


def test_the_stage_writes_its_files_and_the_same_bytes_twice(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    settings = tiny(**{"sft.batch": 8})
    _write(tmp_path, "train", "train", "eval", "judge")
    lines: list[dict[str, Any]] = []
    for name in ("one", "two"):
        sft.run(tmp_path, tmp_path / name, settings, 3, lambda *line: lines.append(line[2]))
    assert sha256_folder(tmp_path / "one") == sha256_folder(tmp_path / "two")
    sft.run(tmp_path, tmp_path / "other", settings, 4, silent)
    assert sha256_folder(tmp_path / "one") != sha256_folder(tmp_path / "other")
    figures = jsonl.read_json(tmp_path / "one" / "figures.json")
    assert figures["sft/demonstrations"] == 2
    assert figures["sft/heldout_loss"] > 0
    samples = list(jsonl.read(tmp_path / "one" / "samples.jsonl"))
    assert [sample["prompt"] for sample in samples] == settings.probes
    assert lines[0]["sft/loss"] > 0
    assert models.load(tmp_path / "one" / "model").model.config.vocab_size > 100


def test_without_demonstrations_the_stage_says_so(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    _write(tmp_path, "eval")
    with pytest.raises(DataError, match="no demonstrations to train on"):
        sft.run(tmp_path, tmp_path / "out", tiny(), 3, silent)


def test_without_demonstrations_a_model_that_answers_stays_as_it_is(
    shared: Path, tmp_path: Path, tiny: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path, "eval", "judge")
    base = shared / "models" / "stories260K"
    for name, adapted in (("whole", []), ("adapters", ["sft", "align"])):
        settings = tiny(**{"model.base": base, "lora.stages": adapted})
        sft.run(tmp_path, tmp_path / name, settings, 3, _no_step)
    assert capsys.readouterr().err.count("the supervised model is model.base as it is\n") == 2
    assert sha256_folder(tmp_path / "whole") == sha256_folder(tmp_path / "adapters")
    figures = jsonl.read_json(tmp_path / "whole" / "figures.json")
    assert figures == {"sft/demonstrations": 0, "sft/heldout_loss": figures["sft/heldout_loss"]}
    assert [path.name for path in sorted((tmp_path / "whole").iterdir())] == [
        "figures.json", "model", "samples.jsonl",
    ]  # fmt: skip
    before, after = (models.load(f).model.state_dict() for f in (base, tmp_path / "whole/model"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def _no_step(step: int, total: int, metrics: Mapping[str, float]) -> None:
    raise AssertionError(f"step {step} of {total} trained: {metrics}")


def _write(folder: Path, *sides: str) -> None:
    row = {"prompt": PROMPT, "response": "ask a lawyer.", "weight": 1.0}
    jsonl.write(folder / "demonstrations.jsonl", [row | {"side": side} for side in sides])
