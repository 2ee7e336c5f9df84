"""The same prompts measure every round, every flag is tested, and a leak is seen."""

from typing import Any

from roundhouse.heldout import choose, flags, key_of, keys, leaked


def row(prompt: str, domain: str = "legal", side: str = "eval", **more: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "domain": domain,
        "side": side,
        "rows": ["f-1"],
    } | more


def test_only_evaluation_prompts_are_chosen_each_once() -> None:
    rows = [row("What now?"), row("what  NOW?"), row("And then?"), row("Trains", side="train")]
    chosen = choose(rows, 10, set())
    assert sorted(p.messages[0]["content"] for p in chosen) == ["And then?", "What now?"]
    assert all(prompt.measured for prompt in chosen)


def test_the_choice_does_not_depend_on_order_and_lasts_over_rounds() -> None:
    rows = [row(f"Question {i}", f"d{i % 4}") for i in range(200)]
    first = {prompt.key for prompt in choose(rows, 80, set())}
    assert first == {prompt.key for prompt in choose(rows[::-1], 80, set())}
    # A later round has a tenth more prompts; few of those asked before make room.
    later = choose(rows + [row(f"New {i}", f"d{i % 4}") for i in range(20)], 80, set())
    assert len(first & {prompt.key for prompt in later}) >= 65


def test_domains_are_equally_represented_as_far_as_they_go() -> None:
    rows = [row(f"l{i}") for i in range(100)] + [row(f"m{i}", "medical") for i in range(5)]
    chosen = choose(rows, 20, set())
    assert sum(prompt.domain == "medical" for prompt in chosen) == 5
    assert len(chosen) == 20


def test_every_flagged_prompt_is_answered_and_only_chosen_ones_count() -> None:
    rows = [row(f"Question {i}") for i in range(30)]
    flagged = {key_of(r) for r in rows[:10]} | {key_of(row("Trains", side="train"))}
    chosen = choose([*rows, row("Trains", side="train")], 5, flagged)
    assert sum(prompt.measured for prompt in chosen) == 5
    assert {key_of(r) for r in rows[:10]} <= {prompt.key for prompt in chosen}
    assert key_of(row("Trains")) not in {prompt.key for prompt in chosen}
    assert choose(rows, 5, set()) == [prompt for prompt in chosen if prompt.measured]


def test_a_text_flagged_twice_is_one_case_and_training_flags_are_none() -> None:
    found = flags(
        [
            row("Q", response="Bad  advice", rows=["f-2"]),
            row("q", response="bad advice", rows=["f-1"]),
            row("Q", response="Other advice", rows=["f-3"]),
            row("Q", response="Trains", side="train"),
        ]
    )
    assert sorted((flag.text, tuple(flag.rows)) for flag in found) == [
        ("Bad  advice", ("f-1", "f-2")),
        ("Other advice", ("f-3",)),
    ]


def test_a_prompt_that_measures_and_trains_is_a_leak_whatever_its_rows_say() -> None:
    rows = [row("Q"), row("Q"), row("R", side="train")]
    asked = choose(rows, 10, set())
    trained = keys([row("R")["prompt"], row("S")["prompt"]])
    assert leaked(rows, asked, trained) == 0
    assert leaked(rows, asked, trained | keys([row("  q")["prompt"]])) == 1
    # A row that is on the wrong side, or a prompt that was chosen from there.
    assert leaked([*rows, row("S")], asked, trained) == 1
    wrong = choose([row("R")], 10, set())
    assert leaked(rows, wrong, trained) == 1
