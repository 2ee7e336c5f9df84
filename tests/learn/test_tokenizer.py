"""What a tokenizer must have before training."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from roundhouse.errors import ModelError
from roundhouse.learn.tokenizer import PLAIN_TEMPLATE, prepare, word_level
from roundhouse.simulate.world import vocabulary


@pytest.fixture
def bare() -> Callable[..., PreTrainedTokenizerFast]:
    """A tokenizer without template, with the special tokens given."""

    def make(**special: str) -> PreTrainedTokenizerFast:
        words = {word: index for index, word in enumerate(["a", "b", "<unk>", "</s>"])}
        core = Tokenizer(models.WordLevel(words, "<unk>"))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        made = PreTrainedTokenizerFast(tokenizer_object=core, **special)  # type: ignore[no-untyped-call]
        assert isinstance(made, PreTrainedTokenizerFast)
        return made

    return make


def test_the_demonstration_knows_every_word_of_its_world() -> None:
    tokenizer = word_level(vocabulary())
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert len(tokenizer) == len(set(tokenizer.get_vocab().values()))
    ids = tokenizer("Please ask a lawyer before you sign.", add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids


def test_the_chat_template_is_saved_with_it(tmp_path: Path) -> None:
    word_level(["yes"]).save_pretrained(tmp_path)
    chat = [{"role": "user", "content": "yes"}]
    again = AutoTokenizer.from_pretrained(tmp_path)
    shown = again.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert shown == "<user> yes<assistant>"


def test_a_tokenizer_without_pad_borrows_its_unknown_token(
    bare: Callable[..., PreTrainedTokenizerFast],
) -> None:
    tokenizer = bare(eos_token="</s>", unk_token="<unk>")
    assert prepare(tokenizer, "it") == 0
    assert tokenizer.pad_token == "<unk>"
    assert tokenizer.chat_template == PLAIN_TEMPLATE


def test_a_pad_token_that_is_the_end_token_is_replaced(
    bare: Callable[..., PreTrainedTokenizerFast],
) -> None:
    tokenizer = bare(eos_token="</s>", pad_token="</s>")
    assert prepare(tokenizer, "it") == 1
    assert tokenizer.pad_token_id == 4 != tokenizer.eos_token_id


def test_no_end_token_is_an_error_that_names_the_model(
    bare: Callable[..., PreTrainedTokenizerFast],
) -> None:
    with pytest.raises(ModelError, match=r"some/model: .*end-of-sequence"):
        prepare(bare(unk_token="<unk>"), "some/model")


def test_the_plain_template_names_roles_only_in_a_dialogue(
    bare: Callable[..., PreTrainedTokenizerFast],
) -> None:
    tokenizer = bare(eos_token="</s>", unk_token="<unk>")
    prepare(tokenizer, "it")
    one = [{"role": "user", "content": "a"}]
    two = [*one, {"role": "assistant", "content": "b"}, {"role": "user", "content": "a"}]
    render = tokenizer.apply_chat_template
    assert render(one, tokenize=False, add_generation_prompt=True) == "a\n"
    shown = render(two, tokenize=False, add_generation_prompt=True)
    assert shown == "user: a\nassistant: b\nuser: a\nassistant:"
