"""Loading and saving, and the folders that are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from roundhouse.errors import ModelError, SettingsError
from roundhouse.hashes import sha256_folder
from roundhouse.learn import models, rl, sampling, text
from roundhouse.learn.models import Policy
from roundhouse.learn.text import Messages
from roundhouse.settings import ScratchModel, Settings

CHAT: list[Messages] = [[{"role": "user", "content": "why the cat?"}]]


def test_a_saved_model_comes_back_bit_for_bit(policy: Policy, tmp_path: Path) -> None:
    models.save(policy, tmp_path / "model")
    again = models.load(tmp_path / "model")
    batch = text.collate(text.encode_prompts(again.tokenizer, CHAT, 9), [[8, 9, 2]], 0)
    with torch.no_grad():
        first = models.response_logprobs(policy.model, batch, 1.0)
        assert torch.equal(models.response_logprobs(again.model, batch, 1.0), first)
    models.save(again, tmp_path / "again")
    assert sha256_folder(tmp_path / "again") == sha256_folder(tmp_path / "model")


def test_dropout_is_off(policy: Policy, tmp_path: Path) -> None:
    models.save(policy, tmp_path)
    assert not any(module.training for module in models.load(tmp_path).model.modules())


def test_logits_are_made_for_the_response_alone(policy: Policy) -> None:
    batch = text.collate([[5, 6, 7], [5]], [[8, 9], [9, 8, 7]], 0)
    with torch.no_grad():
        found = models.padded_logits(policy.model, batch)
        full = policy.model(
            input_ids=batch.tokens, attention_mask=batch.mask, position_ids=batch.positions
        ).logits
    assert found.shape[1] == 3
    torch.testing.assert_close(found, full[:, 2:5])


def test_the_temperature_divides_every_logprob(policy: Policy) -> None:
    batch = text.collate([[5, 6]], [[8, 9]], 0)
    with torch.no_grad():
        logits = models.padded_logits(policy.model, batch)
        found = models.response_logprobs(policy.model, batch, 0.5)
    assert torch.equal(found, rl.logprobs(logits, batch.responses, 0.5))
    assert not torch.allclose(found, rl.logprobs(logits, batch.responses, 1.0))


def test_the_scratch_model_follows_the_seed_and_the_settings(
    tiny: Callable[..., Settings],
) -> None:
    torch.manual_seed(3)
    first = models.load_policy(tiny().model).model.state_dict()
    torch.manual_seed(3)
    again = models.load_policy(tiny().model).model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    embedding = first["model.embed_tokens.weight"]
    assert embedding.std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(embedding, first["lm_head.weight"])


def test_a_model_without_pad_token_keeps_its_rows_and_gets_none(
    policy: Policy, tmp_path: Path
) -> None:
    """A new token would have a score that nobody trained, higher perhaps than all the others'; a
    model with more rows than its tokenizer has words would lose some."""
    policy.tokenizer.pad_token = policy.tokenizer.unk_token = policy.tokenizer.eos_token
    policy.model.resize_token_embeddings(len(policy.tokenizer) + 40)
    models.save(policy, tmp_path)
    loaded = models.load(tmp_path)
    saved, again = policy.model.state_dict(), loaded.model.state_dict()
    assert saved.keys() == again.keys()
    assert all(torch.equal(saved[name], again[name]) for name in saved)
    assert text.pad_id(loaded.tokenizer) != text.eos_id(loaded.tokenizer)
    batch = text.collate([[5, 6]], [[text.pad_id(loaded.tokenizer), 9]], 0)
    assert torch.isfinite(models.response_logprobs(loaded.model, batch, 1.0)).all()


def test_a_model_that_ends_its_turns_otherwise_says_so_in_its_folder(
    policy: Policy, tmp_path: Path
) -> None:
    """As transformers reads it, with the ends that it had: a chat model may name several."""
    tokenizer, model = policy.tokenizer, policy.model
    given, turn = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<user>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<user>{% endfor %}"
    model.generation_config.eos_token_id = [given]
    models.save(policy, tmp_path / "given")
    loaded = models.load(tmp_path / "given")
    assert text.eos_id(loaded.tokenizer) == turn
    models.save(loaded, tmp_path / "saved")
    again = models.load(tmp_path / "saved")
    assert text.eos_id(again.tokenizer) == turn
    assert again.model.generation_config.eos_token_id == [turn, given]


def test_the_pretrained_model_beside_the_checkout_loads_and_answers(
    shared: Path, tiny: Callable[..., Settings]
) -> None:
    limits = tiny(**{"model.base": str(shared / "models" / "stories260K")}).model
    loaded = models.load_policy(limits)
    chat: list[Messages] = [[{"role": "user", "content": "Once upon a time, there was a cat."}]]
    ids = text.encode_prompts(loaded.tokenizer, chat, 64)[0]
    assert ids[0] == loaded.tokenizer.bos_token_id
    assert text.decode(loaded.tokenizer, [ids]) == [chat[0][0]["content"]]
    said = sampling.answer(loaded, chat, limits, temperature=0.0, seed=0)[0]
    assert len(said.text.split()) > 2
    # A model of stories finds a story likelier than the same words backwards.
    story = "One day, a little girl named Lily went to the park."
    told = text.encode_responses(loaded.tokenizer, [story, " ".join(story.split()[::-1])], 64)
    logs = [
        models.response_logprobs(loaded.model, text.collate([ids], [answer], 0), 1.0).mean()
        for answer in told
    ]
    assert logs[0].item() > logs[1].item() + 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole model folder to damage."""
    made = tmp_path / "model"
    torch.manual_seed(0)
    policy = models.scratch(_shape(), ["yes", "no"], 16)
    models.save(policy, made)
    return made


def test_a_missing_folder(tmp_path: Path) -> None:
    _refused(tmp_path / "nothing", "no such model folder")


def test_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    _refused(folder, "pickled or old weights are not read")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own(folder: Path, name: str) -> None:
    config = json.loads((folder / name).read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model", "AutoTokenizer": ["evil.T", None]}
    (folder / name).write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    _refused(folder, "auto_map")


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    _refused(folder, "model.safetensors")


def test_weights_that_lack_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    _refused(folder, "norm.weight")


def test_weights_of_another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["intermediate_size"] = 10
    (folder / "config.json").write_text(json.dumps(config))
    _refused(folder, "cannot be loaded")


def test_weights_with_a_tensor_too_many(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.hidden.payload"] = torch.zeros(2)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    _refused(folder, "no place for, model.hidden.payload among them")


def test_a_tokenizer_with_more_words_than_the_model(folder: Path) -> None:
    words = json.loads((folder / "tokenizer.json").read_text())
    words["model"]["vocab"]["further"] = 9000
    (folder / "tokenizer.json").write_text(json.dumps(words))
    _refused(folder, "more words than the model's")


def test_a_base_model_with_a_weight_that_is_no_number(
    folder: Path, tiny: Callable[..., Settings]
) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] = torch.inf
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"'model\.norm\.weight' holds NaN or infinity"):
        models.load_policy(tiny(**{"model.base": str(folder)}).model)


def test_a_base_model_without_room_for_a_prompt_and_its_answer(
    policy: Policy, tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    """Learned positions end at the 64th: what lies beyond would end a stage in its middle."""
    models.save(policy, tmp_path)
    sizes = {"model.base": str(tmp_path), "model.prompt_tokens": 40}
    models.load_policy(tiny(**sizes, **{"model.response_tokens": 24}).model)
    with pytest.raises(SettingsError, match=r"response_tokens 25: .* has 64 positions"):
        models.load_policy(tiny(**sizes, **{"model.response_tokens": 25}).model)


def test_a_chat_template_that_the_sandbox_stops(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    reach = "{{ ('{0.' ~ '_' ~ '_class_' ~ '_}').format(messages) }}"
    for template in (reach, "{{ nobody.knows }}", "{{ raise_exception('no\nway') }}"):
        config.pop("chat_template", None)
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        (folder / "chat_template.jinja").write_text(template)
        _refused(folder, "the chat template (cannot be rendered|leaves out)")


def test_a_chat_template_from_wherever_it_came(policy: Policy, folder: Path) -> None:
    """One that the check of the folder does not know of stands in the tokenizer all the same."""
    tokenizer = models.load_tokenizer(folder)
    tokenizer.chat_template = {"default": "{% if 0 %}{{ ''.__class__ }}{% endif %}{{ messages }}"}
    with pytest.raises(ModelError, match="the chat template reaches for the inside"):
        models.require_template(tokenizer, folder)


def test_a_broken_configuration(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    _refused(folder, "config.json")


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": {"type": "Nothing"}}')
    _refused(folder, "no usable tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    _refused(folder, "tokenizer")


def test_a_model_that_writes_no_text(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "t5"}))
    _refused(folder, "cannot be loaded")


def test_a_model_folder_without_configuration(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").unlink()
    _refused(tmp_path / "copy", "config.json")


def _refused(folder: Path, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        models.load(folder)
    assert "\n" not in str(caught.value)


def _shape() -> ScratchModel:
    return ScratchModel(hidden_size=8, layers=1, heads=1, feed_forward=12)
