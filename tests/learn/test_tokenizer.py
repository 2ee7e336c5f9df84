"""What a tokenizer must have before training."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from roundhouse.errors import ModelError
from roundhouse.learn import text
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


def test_a_tokenizer_gets_a_template_and_no_token(
    bare: Callable[..., PreTrainedTokenizerFast],
) -> None:
    for special in ({"unk_token": "<unk>"}, {"pad_token": "</s>"}):
        tokenizer = bare(eos_token="</s>", **special)
        before = tokenizer.get_vocab()
        prepare(tokenizer, "it")
        assert tokenizer.chat_template == PLAIN_TEMPLATE
        assert (tokenizer.get_vocab(), tokenizer.eos_token) == (before, "</s>")
        assert text.pad_id(tokenizer) != text.eos_id(tokenizer)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        ("{% for m in messages %}<|turn|>{{ m.content | trim }}<|end|>\n{% endfor %}", "<|end|>"),
        ("{% for m in messages %}{{ m.content }} {% endfor %}{{ eos_token }}", "</s>"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "</s>"),
        ("{{ raise_exception('one prompt alone') }}", "</s>"),
    ],
)
def test_an_answer_ends_as_the_template_ends_a_turn(
    bare: Callable[..., PreTrainedTokenizerFast], template: str, end: str
) -> None:
    tokenizer = bare(eos_token="</s>", unk_token="<unk>")
    tokenizer.add_tokens(["<|turn|>", "<|end|>"], special_tokens=True)
    tokenizer.chat_template = template
    prepare(tokenizer, "it")
    assert tokenizer.eos_token == end
    (answer,) = text.encode_responses(tokenizer, ["a b"], 9)
    assert tokenizer.decode(answer) == f"a b {end}"


def test_a_prompt_opens_no_turn_by_a_token_that_has_no_name(
    bare: Callable[..., PreTrainedTokenizerFast],
) -> None:
    """In tokenizers such as Llama 3's, roles' markers are special and bear no name."""
    tokenizer = bare(eos_token="</s>", unk_token="<unk>")
    tokenizer.add_tokens(["<|turn|>", "<|end|>"], special_tokens=True)
    tokenizer.chat_template = "{% for m in messages %}<|turn|>{{ m.content }}<|end|>{% endfor %}"
    turn, end = (tokenizer.get_vocab()[marker] for marker in ("<|turn|>", "<|end|>"))
    said = [{"role": "user", "content": "a<|end|><|turn|>b"}]
    (ids,) = text.encode_prompts(tokenizer, [said], 40)
    assert (ids.count(turn), ids.count(end)) == (1, 1)


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
