"""Model folders that may not be loaded are refused in one line, before torch is imported."""

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from roundhouse import chat_template, model_folder
from roundhouse.errors import SettingsError
from roundhouse.learn import tokenizer
from roundhouse.settings import ModelSettings
from tests.model_files import entry, refused, sound, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sound(tmp_path)


def test_a_sound_folder_passes(folder: Path) -> None:
    model_folder.check(folder)


def test_the_real_model_passes(shared: Path) -> None:
    model_folder.check(shared / "models" / "stories260K")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "none", r"no such model folder; check model\.base")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.PT", "training_args.bin", "a/b.pkl", "data.npy"]
)
def test_nothing_pickled_may_lie_beside_the_weights(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    refused(folder, "pickled or old weights are not read")


def test_a_disguised_pickle_is_known_by_its_bytes(folder: Path) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        (folder / "tokenizer.model").write_bytes(pickle.dumps(["x"], protocol=protocol))
        refused(folder, "a pickle, whatever its name says")
    with zipfile.ZipFile(folder / "tokenizer.model", "w") as file:
        file.writestr("data.pkl", pickle.dumps(["x"]))
    refused(folder, "a ZIP file, whatever its name says")


def test_pickled_weights_are_not_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.weights")
    refused(folder, r"no \*.safetensors")


@pytest.mark.parametrize(
    "asks",
    [
        {"auto_map": {"AutoModel": "evil.Model"}},
        {"text_config": {"deep": [{"auto_map": {"AutoModel": "other/repo--evil.Model"}}]}},
        {"trust_remote_code": True},
        {"custom_pipelines": {"x": {"impl": "evil.Pipeline"}}},
        {"custom_generate": "other/repo"},
    ],
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_code_of_the_models_own_is_refused(folder: Path, name: str, asks: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(asks), encoding="utf-8")
    refused(folder, f"{name} asks for code of its own")


def test_a_kernel_from_the_hub_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"attn_implementation": "other/kernel"}', "utf-8")
    refused(folder, "asks for code from the hub")


@pytest.mark.parametrize("name", ["modeling_x.py", "lib/native.so", "setup.sh"])
def test_code_is_refused_even_if_nothing_asks_for_it(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("raise SystemExit('ran')", encoding="utf-8")
    refused(folder, "code of the model's own is not loaded")


def test_an_adapter_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "x/y"}', "utf-8")
    refused(folder, "an adapter")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "notes.txt", "more"])
def test_a_link_out_of_the_folder_is_not_followed(folder: Path, name: str) -> None:
    outside = folder.parent / "outside"
    if name == "more":
        outside.mkdir()
    elif name == "model.safetensors":
        (folder / name).rename(outside)
    else:
        outside.write_text("{}", encoding="utf-8")
    (folder / name).symlink_to(outside)
    refused(folder, "leads out of the model's folder")


def test_a_link_within_the_folder_is_followed_and_a_broken_one_is_not(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "weights")
    (folder / "model.safetensors").symlink_to("weights")
    model_folder.check(folder)
    (folder / "weights").unlink()
    refused(folder, "not a plain file")


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    "leads",
    [
        {"transformers_weights": "sub/other.safetensors"},
        {"transformers_weights": "x.safetensors.index.json"},
        {"configuration_files": ["config.4.0.0.json"]},
        {"fast_tokenizer_files": ["tokenizer.4.0.0.json"]},
        {"init_inputs": ["/proc/self/environ"]},
        {"text_config": {"vocab": "/proc/self/environ"}},
    ],
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_files_that_were_not_looked_at_are_not_read_in_their_place(
    folder: Path, name: str, leads: dict[str, Any]
) -> None:
    (folder / name).write_text(json.dumps(dict.fromkeys(leads)), encoding="utf-8")
    model_folder.check(folder)
    (folder / name).write_text(json.dumps(leads), encoding="utf-8")
    refused(folder, f"{name} names other files")


@pytest.mark.parametrize("key", ["vocab_file", "tokenizer_file", "spm_file"])
def test_a_tokenizer_opens_no_file_by_a_name_from_the_folder(folder: Path, key: str) -> None:
    """What it took for words would be published with the model: a secret of this machine, say."""
    given = folder / "tokenizer_config.json"
    given.write_text(json.dumps({key: None, "special_tokens_map_file": "/a/b"}), encoding="utf-8")
    model_folder.check(folder)
    given.write_text(json.dumps({"deep": [{key: ".dvc/config.local"}]}), encoding="utf-8")
    refused(folder, f"names another file .{key}.: set it to null")
    given.unlink()
    tokens = folder / "special_tokens_map.json"
    usual = {"bos_token": {"content": "<s>"}, "additional_special_tokens": ["<a>"]}
    tokens.write_text(json.dumps(usual), encoding="utf-8")
    model_folder.check(folder)
    tokens.write_text(json.dumps(usual | {key: ".dvc/config.local"}), encoding="utf-8")
    refused(folder, f"'{key}' is no special token")


def test_weights_that_transformers_reads_another_way_are_refused(folder: Path) -> None:
    write(folder, {"w": entry(0, 8)}, bytes(8), name="shard-00001-model-00001-of-00001")
    refused(folder, "a shard of torch.distributed")
    (folder / "shard-00001-model-00001-of-00001.safetensors").unlink()
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    refused(folder, "neither model.safetensors nor model.safetensors.index.json")


def test_what_is_named_like_a_hubs_cache_is_looked_at_whole(folder: Path) -> None:
    home = folder.parent / "snapshots"
    home.mkdir()
    folder = folder.rename(home / "evil")
    model_folder.check(folder)
    before = model_folder.digest(folder)
    (folder / "modeling_x.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    refused(folder, "code of the model's own is not loaded")
    assert model_folder.digest(folder) != before


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ({"weight_map": {"w": "../model.safetensors"}}, "'w' is not in '../model.safetensors'"),
        ({"weight_map": {"w": "model-2.safetensors"}}, "'w' is not in 'model-2"),
        ({"weight_map": {"v": "model.safetensors"}}, "'v' is not in"),
        ({"weight_map": ["w"]}, "no weight_map"),
        ({}, "no weight_map"),
    ],
)
def test_a_list_of_shards_names_what_is_there(
    folder: Path, index: dict[str, Any], reason: str
) -> None:
    (folder / INDEX).write_text('{"weight_map": {"w": "model.safetensors"}}', encoding="utf-8")
    model_folder.check(folder)
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    refused(folder, reason)


@pytest.mark.parametrize(
    "sizes",
    [
        {"vocab_size": 1 << 40},
        {"text_config": {"hidden_size": 3}},
        {"num_hidden_layers": 10**7},
        {"n_positions": 4 * 10**9},
    ],
)
def test_a_configuration_larger_than_its_weights_is_refused(
    folder: Path, sizes: dict[str, Any]
) -> None:
    (folder / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    refused(folder, "config.json says")


LIMITS = ModelSettings.model_validate(
    {
        "base": "./model",
        "revision": None,
        "scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "feed_forward": 32},
        "prompt_tokens": 40,
        "response_tokens": 24,
    }
)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"n_positions": 64},
        {"max_position_embeddings": 64},
        {"max_position_embeddings": 8, "rope_scaling": {"type": "linear", "factor": 8.0}},
        {"max_position_embeddings": 8, "rope_parameters": {"all": {"rope_type": "yarn"}}},
    ],
)
def test_prompt_and_answer_fit_into_the_positions_or_positions_are_scaled(
    folder: Path, config: dict[str, Any]
) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model_folder.check_room(folder, LIMITS)


@pytest.mark.parametrize(
    "config",
    [
        {"n_positions": 63},
        {"max_position_embeddings": 63, "rope_scaling": None},
        {"max_position_embeddings": 63, "rope_parameters": {"rope_type": "default"}},
        {"max_position_embeddings": 64, "n_positions": 63},
    ],
)
def test_a_prompt_with_its_answer_that_is_longer_than_the_positions_is_refused(
    folder: Path, config: dict[str, Any]
) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    said = r"^model\.prompt_tokens 40 and model\.response_tokens 24: .* has 63 positions: lower one"
    with pytest.raises(SettingsError, match=said):
        model_folder.check_room(folder, LIMITS)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"a": "\xff"}'.encode("latin-1")])
def test_a_broken_configuration_is_refused(folder: Path, text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "config.json").write_bytes(data)
    refused(folder, "not readable as JSON")


def test_a_huge_configuration_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("r+b") as file:
        file.truncate(5_000_000)
    refused(folder, "larger than")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ ''.__class__.__mro__ }}", "the inside of an object"),
        ("{{ ''['__cla' ~ 'ss__'] }}", "the inside of an object"),
        ("{{ messages | attr('x') }}", "the inside of an object"),
        ("{{ cycler._x }}", "the inside of an object"),
        ("{% include '/etc/passwd' %}", "other files"),
        ("{% import 'x' as y %}", "other files"),
        ("{% extends 'x' %}", "other files"),
        ("{% for m in messages %}", "cannot be read"),
        ("x" * 200_000, "longer than"),
    ],
)
@pytest.mark.parametrize("place", ["tokenizer", "list", "mapping", "file"])
def test_a_chat_template_that_reaches_out_is_refused(
    folder: Path, template: str, reason: str, place: str
) -> None:
    if place == "file":
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    else:
        given = {
            "tokenizer": template,
            "list": [{"name": "default", "template": template}],
            "mapping": {"default": template},
        }[place]
        text = json.dumps({"chat_template": given})
        (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    refused(folder, f"the chat template in .*{reason}")


def test_templates_in_use_pass() -> None:
    usual = (
        "{%- if tools %}{{- tools | tojson }}{%- endif %}{% for m in messages %}"
        "{% if m.role == 'x' %}{{ raise_exception('no') }}{% continue %}{% endif %}"
        "{% generation %}{{ '<|im_start|>' + m['role'] + m.content | trim }}{% endgeneration %}"
        "{% endfor %}{% set ns = namespace(found=false) %}"
    )
    for text in (usual, tokenizer.TEMPLATE, tokenizer.PLAIN_TEMPLATE):
        assert chat_template.problem(text) is None


def test_a_folder_is_refused_without_torch_and_transformers(folder: Path) -> None:
    (folder / "evil.pkl").write_bytes(b"x")
    code = (
        "import sys; from pathlib import Path; from roundhouse import model_folder, errors\n"
        "try: model_folder.check(Path(sys.argv[1]))\n"
        "except errors.ModelError as e: print(e)\n"
        "assert not {'torch', 'transformers', 'numpy', 'safetensors'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count("\n") == 1
