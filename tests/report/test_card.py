"""The model card: figures with intervals, limits, lineage; nothing that could name a person."""

from typing import Any

from roundhouse.report.card import model_card, shortened

RULES = [
    {"rule": "finite", "passed": True, "accepted": False, "text": "all 9 figures are finite"},
    {"rule": "kl", "passed": False, "accepted": False, "text": "KL 31 is over 20"},
    {"rule": "safety", "passed": False, "accepted": True, "text": "flagged texts said again: 1"},
]
RECORD: dict[str, Any] = {
    "round": 3,
    "previous": "round-0002",
    "base": "b" * 64,
    "seed": 17,
    "code": "c" * 40,
    "simulated": False,
    "decision": {
        "outcome": "held",
        "reasons": RULES,
        "bound": {"model": "d" * 64, "reference": "e" * 64, "champion": None, "inputs": "f" * 64},
    },
    "figures": {
        "evaluate/prompts": 512.0,
        "evaluate/win_rate": 0.61,
        "evaluate/win_rate_low": 0.57,
        "evaluate/win_rate_high": 0.65,
        "evaluate/win_rate/domain/legal": 0.7,
        "evaluate/win_rate_low/domain/legal": 0.5,
        "evaluate/win_rate_high/domain/legal": 0.9,
        "evaluate/prompts/domain/legal": 40.0,
        "raters/flags": 12,
    },
    "rows": {
        "accepted": 1000,
        "used": 950,
        "excluded": {"duplicate": 30},
        "unused": {"unpaired": 20},
        "kind": {"comparison": 900, "flag": 100},
        "domain": {"legal": 980, "a|b [x](y)": 20},
        "region": {"none": 1000},
    },
    "raters": {"region": {"none": 9}, "state": {"ok": 8, "suspended": 1}},
    "partitions": {"0001.jsonl": {"rows": 1000, "sha256": "a" * 64}},
}


def test_a_card_tells_decision_data_figures_and_limits() -> None:
    card = model_card(RECORD)
    for part in (
        "# Model of round 3",
        "**held**",
        "| kl | failed | KL 31 is over 20 |",
        "| safety | overruled |",
        "1,000 rows of feedback in all rounds so far, 950 used",
        "| excluded | duplicate | 30 |",
        "| unused | unpaired | 20 |",
        "9 raters (8 ok, 1 suspended)",
        "| win rate over the baseline, by the judge | 0.610 | 0.570 to 0.650 |",
        "| legal | 0.700 | 0.500 to 0.900 | 40 |",
        "Measured on 512 prompts",
        "12 flagged answers",
        "Little feedback (under 5%) by domain: a-b-x-y",
        "No row names its region",
        "| data/feedback/0001.jsonl, 1,000 rows | `" + "a" * 64,
        "| champion it was measured against | `none` |",
    ):
        assert part in card, part
    assert "reward model's accuracy" not in card


def test_a_simulation_is_labelled_and_nothing_else_is() -> None:
    assert "Simulation" not in model_card(RECORD)
    head = model_card(RECORD | {"simulated": True}).split("## Decision")[0]
    assert "**Simulation.**" in head


def test_names_from_feedback_make_no_markup() -> None:
    card = model_card(RECORD)
    assert "a|b" not in card
    assert "[x](y)" not in card


def test_the_same_record_gives_the_same_card_whatever_its_order() -> None:
    rows = RECORD["rows"]
    turned = {key: dict(reversed(value.items())) for key, value in rows.items() if key in ("kind",)}
    assert model_card(RECORD | {"rows": rows | turned}) == model_card(RECORD)


def test_a_card_says_what_trained_the_model() -> None:
    assert "trained by PPO against a reward model learned from judgements" in model_card(RECORD)
    figures = RECORD["figures"] | {"dpo/pairs": 9.0, "dpo/accuracy": 0.7}
    card = model_card(RECORD | {"figures": figures})
    assert "trained by DPO on people's judgements of its answers." in card
    assert "accuracy of DPO's implicit reward on held-out pairs | 0.700" in card
    assert "PPO" not in card


def test_many_domains_are_summed_up() -> None:
    many = {f"domain-{number:03d}": 10 for number in range(50)}
    card = model_card(RECORD | {"rows": RECORD["rows"] | {"domain": many}})
    assert "| 30 others | 300 | 60.0% |" in card
    assert card.count("domain-049") == 0


def test_a_description_is_cut_between_sections_and_says_where_the_rest_is() -> None:
    card = model_card(RECORD)
    short = shortened(card, 1500)
    assert len(short) <= 1500
    assert short.endswith("The rest is in model-card.md of the round's tag.\n")
    whole = short.split("\n\nThe rest is")[0]
    assert card.startswith(whole + "\n\n## ")
    assert "## Decision" in whole
    assert shortened(card, len(card)) == card


def test_a_model_that_no_demonstration_taught_is_not_called_fine_tuned() -> None:
    figures = RECORD["figures"]
    taught = model_card(RECORD | {"figures": figures | {"sft/demonstrations": 9}})
    assert "fine-tuned on demonstrations, then trained by PPO" in taught
    untaught = model_card(RECORD | {"figures": figures | {"sft/demonstrations": 0}})
    assert "not fine-tuned first, since there were no demonstrations, then trained" in untaught
