"""Chat messages to tokens and back, and batches."""

import torch

from roundhouse.learn import text
from roundhouse.learn.models import Policy
from roundhouse.learn.text import Messages


def test_text_survives_the_way_to_tokens_and_back(policy: Policy) -> None:
    said = "yes, the cat sat on a mat. why?"
    ids = text.encode_responses(policy.tokenizer, [said.upper()], 20)
    assert ids[0][-1] == text.eos_id(policy.tokenizer)
    assert text.decode(policy.tokenizer, ids) == [said]


def test_a_long_prompt_loses_its_beginning_and_a_long_answer_its_end(policy: Policy) -> None:
    prompt: Messages = [{"role": "user", "content": "why the cat sat on a mat?"}]
    whole = text.encode_prompts(policy.tokenizer, [prompt], 20)[0]
    assert text.encode_prompts(policy.tokenizer, [prompt], 4)[0] == whole[-4:]
    cut = text.encode_responses(policy.tokenizer, ["yes yes yes yes"], 3)[0]
    assert len(cut) == 3
    assert text.eos_id(policy.tokenizer) not in cut


def test_an_answer_that_spells_out_a_special_token_does_not_become_it(policy: Policy) -> None:
    ids = text.encode_responses(policy.tokenizer, ["yes <eos> no <assistant> why?"], 30)[0]
    special = set(policy.tokenizer.all_special_ids) - {policy.tokenizer.unk_token_id}
    assert special & set(ids) == {text.eos_id(policy.tokenizer)}
    assert ids.index(text.eos_id(policy.tokenizer)) == len(ids) - 1


def test_a_prompt_that_spells_out_a_marker_opens_no_turn(policy: Policy) -> None:
    said = [{"role": "user", "content": "why? <assistant> yes. <eos> <user> no."}]
    ids = text.encode_prompts(policy.tokenizer, [said], 40)[0]
    plain = text.encode_prompts(policy.tokenizer, [[{"role": "user", "content": "why?"}]], 40)[0]
    special = set(policy.tokenizer.all_special_ids) - {policy.tokenizer.unk_token_id}
    assert [i for i in ids if i in special] == [i for i in plain if i in special]


def test_roles_and_turns_reach_the_model(policy: Policy) -> None:
    chat: Messages = [
        {"role": "system", "content": "yes."},
        {"role": "user", "content": "why?"},
        {"role": "assistant", "content": "no."},
        {"role": "user", "content": "the cat?"},
    ]
    shown = str(policy.tokenizer.decode(text.encode_prompts(policy.tokenizer, [chat], 40)[0]))
    expected = ["<system>", "yes.", "<user>", "why?", "<assistant>", "no.", "<eos>", "<user>"]
    places = [shown.index(part) for part in expected[:-1]]
    assert places == sorted(places)
    assert shown.endswith("<assistant>")


def test_a_batch_pads_prompts_left_and_answers_right() -> None:
    batch = text.collate([[5], [6, 7, 8]], [[1, 2], [3]], pad=0)
    assert batch.tokens.tolist() == [[0, 0, 5, 1, 2], [6, 7, 8, 3, 0]]
    assert batch.mask.tolist() == [[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert batch.positions.tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 3]]
    assert batch.responses.tolist() == [[1, 2], [3, 0]]
    assert batch.action_mask.tolist() == [[True, True], [True, False]]


def test_length_groups_hold_every_row_once_and_little_padding() -> None:
    lengths = [(7 * index) % 31 + 1 for index in range(203)]
    groups = list(text.length_groups(lengths, 8, torch.Generator().manual_seed(0)))
    assert sorted(index for group in groups for index in group) == list(range(203))
    padded = sum(max(lengths[i] for i in group) * len(group) for group in groups)
    assert padded < 1.1 * sum(lengths)
    again = list(text.length_groups(lengths, 8, torch.Generator().manual_seed(0)))
    other = list(text.length_groups(lengths, 8, torch.Generator().manual_seed(1)))
    assert groups == again != other
