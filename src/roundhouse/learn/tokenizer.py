"""The from-scratch model's word-level tokenizer, and what any tokenizer needs before training."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from roundhouse.errors import ModelError

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<system>", "<user>", "<assistant>")

#: A role's marker, then its words; an earlier answer of the assistant ends as answers do.
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<' + message['role'] + '> ' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)

#: For models that never learned a chat format: a single prompt stands alone on its line, and the
#: turns of a longer dialogue bear their role's name.
PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "{% if messages | length > 1 %}{{ message['role'] + ': ' }}{% endif %}"
    "{{ message['content'] + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt and messages | length > 1 %}{{ 'assistant:' }}{% endif %}"
)


def word_level(vocabulary: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of lower-case words and marks; all but the given ones are <unk>."""
    words = [*SPECIAL, *sorted(set(vocabulary) - set(SPECIAL))]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # Joins words with spaces and takes the space before punctuation away, so that text stays text.
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=["<system>", "<user>", "<assistant>"],
        padding_side="left",
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def prepare(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Gives a tokenizer a chat template where it has none, and the end token of its template.

    Models that chat may end a turn with another token than a document: theirs ends an answer.

    Raises:
        ModelError: it has no end token, so no answer could ever end.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{name}: the tokenizer has no end-of-sequence token; set eos_token in it")
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    end = _end_of_turn(tokenizer)
    if end is not None:
        tokenizer.eos_token = end


def _end_of_turn(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The special token with which the chat template ends an answer; None where there is none."""
    said = "roundhouse"
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]
    try:
        shown = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except Exception:  # a template is a program, and one for single prompts may end in any way
        return None
    _, found, after = shown.rpartition(said)
    added = tokenizer.added_tokens_decoder
    ids = tokenizer(after, add_special_tokens=False)["input_ids"] if found else []
    return next((added[one].content for one in ids if one in added and added[one].special), None)
