"""A model that loads and answers passes; whatever cannot, fails with one line and never raises."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from roundhouse import smoke
from roundhouse.hashes import sha256_folder
from roundhouse.learn.tokenizer import word_level

PROBE = "what about the rent ?"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny real model, written by transformers itself."""
    torch.manual_seed(0)
    tokenizer = word_level(f"{PROBE} ask your doctor".split())
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    llama = LlamaForCausalLM(config)
    _always_say(llama, tokenizer.get_vocab()["doctor"])
    llama.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _always_say(llama: LlamaForCausalLM, token: int) -> None:
    """Makes one token the likeliest everywhere."""
    with torch.no_grad():
        llama.model.norm.weight.fill_(1.0)
        llama.model.embed_tokens.weight.copy_(llama.model.embed_tokens.weight.abs() + 0.5)
        for layer in llama.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        llama.lm_head.weight.zero_()
        llama.lm_head.weight[token] = 1.0


def _rewrite(model: Path, name: str, value: torch.Tensor) -> None:
    path = model / "model.safetensors"
    weights = load_file(path)
    weights[name] = value
    save_file(weights, path, metadata={"format": "pt"})


def test_a_good_model_passes_in_a_fresh_process(model: Path) -> None:
    result = smoke.run(model, PROBE)
    assert result == smoke.SmokeResult(True, result.text, sha256_folder(model))
    assert "answers in" in result.text


def test_a_bad_model_fails_in_a_fresh_process(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"\x00" * 64)
    result = smoke.run(model, PROBE)
    assert not result.passed
    assert "\n" not in result.text


def test_a_process_that_takes_too_long_fails(model: Path) -> None:
    assert smoke.run(model, PROBE, timeout=0.05) == (False, "no answer within 0.05 s", "")


def test_weights_that_are_not_finite_fail(model: Path) -> None:
    weight = load_file(model / "model.safetensors")["model.norm.weight"]
    weight[3] = torch.nan
    _rewrite(model, "model.norm.weight", weight)
    assert "model.norm.weight is not finite" in smoke.answer(model, PROBE).text


def test_logits_that_are_not_finite_fail(model: Path) -> None:
    head = load_file(model / "model.safetensors")["lm_head.weight"]
    _rewrite(model, "lm_head.weight", torch.full_like(head, 3e38))
    result = smoke.answer(model, PROBE)
    assert (result.passed, result.text) == (False, "the probe's logits are not finite")


def test_an_empty_answer_fails(model: Path) -> None:
    end = json.loads((model / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    head = torch.zeros_like(load_file(model / "model.safetensors")["lm_head.weight"])
    head[end] = 1.0
    _rewrite(model, "lm_head.weight", head)
    assert smoke.answer(model, PROBE).text == "the answer to the probe is empty"


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_model_without_one_of_its_files_fails(model: Path, name: str) -> None:
    (model / name).unlink()
    result = smoke.answer(model, PROBE)
    assert not result.passed
    assert result.text


def test_a_model_that_wants_code_of_its_own_fails(model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert "auto_map" in smoke.answer(model, PROBE).text


def test_a_folder_that_is_not_there_fails(tmp_path: Path) -> None:
    result = smoke.answer(tmp_path / "nothing", PROBE)
    assert (result.passed, result.sha256) == (False, "")
