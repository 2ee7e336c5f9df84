"""A round's model card in Markdown: a pure function of the round's record, the same on every call.

It is committed with the round and shown in the registry, so that it holds counts and figures, names
of domains and regions, and neither anyone's words nor any rater's name.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from roundhouse.metrics import domain_part

Record = Mapping[str, Any]

#: Figures of the card, as people call them; a figure that the round lacks is left out.
_FIGURES = {
    "raters/agreement": "share of vote pairs on one item that agree",
    "raters/alpha": "Krippendorff's alpha",
    "raters/ceiling": "bound on accuracy that the agreement leaves",
    "reward/accuracy": "reward model's accuracy on held-out pairs",
    "reward/accuracy_of_ceiling": "the same as a share of that bound",
    "reward/prequential_accuracy": "accuracy of the last round's reward model on the new pairs",
    "reward/length_baseline": "accuracy of choosing the longer answer there",
    "reward/length_correlation": "rank correlation of score and length",
    "reward/judge_accuracy": "judge's accuracy on held-out pairs",
    "dpo/accuracy": "accuracy of DPO's implicit reward on held-out pairs",
    "evaluate/win_rate": "win rate over the baseline, by the judge",
    "evaluate/win_rate_length_controlled": "the same at equal length of answers",
    "evaluate/win_rate_reference": "win rate over the supervised model, by the judge",
    "evaluate/kl": "KL from the supervised model, nats an answer",
    "evaluate/eos_rate": "share of answers that end by themselves",
    "evaluate/length_ratio": "mean length against the baseline's",
    "evaluate/distinct_ratio": "number of different answers against the baseline's",
    "evaluate/safety_violations": "answers that come too near a flagged text",
}
_WINS = "evaluate/win_rate/domain/"
#: A domain or region with less of the rows than this is named as thin.
_THIN = 0.05
#: Rows of a table of names; the rest is summed up.
_MOST = 20


def model_card(record: Record) -> str:
    """The card.

    Args:
        record: round, previous, base, seed, code, simulated (whether the simulated team gave
            feedback), decision (decision.json), figures, rows (accepted, used, excluded and unused
            by reason, and kind, domain and region to counts), raters (region and state to counts),
            partitions (name to rows and sha256).
    """
    blocks = [
        _head(record), _decision(record["decision"]), _data(record["rows"]), _raters(record),
        _measured(record["figures"]), _limits(record), _not_for(record), _lineage(record),
    ]  # fmt: skip
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def shortened(card: str, most: int) -> str:
    """The card's first sections, as many as fit into `most` characters, and where the rest is."""
    rest = "\n\nThe rest is in model-card.md of the round's tag.\n"
    if len(card) <= most:
        return card
    kept = ""
    for section in card.split("\n\n## "):
        piece = f"{kept}\n\n## {section}" if kept else section
        if len(piece) + len(rest) > most:
            break
        kept = piece
    return (kept or card[: most - len(rest)]) + rest


def _head(record: Record) -> list[str]:
    lines = [f"# Model of round {record['round']}", ""]
    if record["simulated"]:
        lines += [
            "**Simulation.** Feedback of this round comes from a simulated team. Its figures say "
            "how the machinery works, and nothing about people.", "",
        ]  # fmt: skip
    base = (
        "a model made from scratch" if record["base"] == "scratch" else f"base `{record['base']}`"
    )
    return [
        *lines,
        f"A language model that answers prompts: {base}, {_tuned(record['figures'])}, then "
        f"{_trained(record['figures'])}.",
    ]


def _tuned(figures: Mapping[str, float]) -> str:
    if figures.get("sft/demonstrations") == 0:
        return "not fine-tuned first, since there were no demonstrations"
    return "fine-tuned on demonstrations"


def _trained(figures: Mapping[str, float]) -> str:
    if "dpo/pairs" in figures:
        return "trained by DPO on people's judgements of its answers"
    return "trained by PPO against a reward model learned from judgements of its answers"


def _decision(decision: Record) -> list[str]:
    rows = [
        (
            rule["rule"],
            "passed" if rule["passed"] else "overruled" if rule["accepted"] else "failed",
            rule["text"],
        )
        for rule in decision["reasons"]
    ]
    return [
        "## Decision", "",
        f"**{decision['outcome']}** is what the gate's rules say. Where the champion changed "
        "meanwhile (`champion-changed`), or the published bytes did not answer "
        "(`published-model`), the model was held all the same: the ledger has the last word.", "",
        *_table(("rule", "result", "measured"), rows),
    ]  # fmt: skip


def _data(rows: Record) -> list[str]:
    lost = [
        (how, reason, f"{count:,}")
        for how in ("excluded", "unused")
        for reason, count in sorted(rows[how].items())
    ]
    lines = [
        "## Data", "",
        f"{rows['accepted']:,} rows of feedback in all rounds so far, {rows['used']:,} used.", "",
    ]  # fmt: skip
    for key in ("kind", "domain", "region"):
        total = sum(rows[key].values())
        shares = [(name, f"{n:,}", f"{n / total:.1%}") for name, n in _largest(rows[key])]
        lines += [*_table((key, "rows", "share"), shares), ""]
    return lines + _table(("not used", "why", "rows"), lost) if lost else lines[:-1]


def _raters(record: Record) -> list[str]:
    raters = record["raters"]
    regions = [(name, f"{n:,}") for name, n in _largest(raters["region"])]
    states = ", ".join(f"{n:,} {state}" for state, n in sorted(raters["state"].items()))
    return [
        "## Raters", "",
        f"{sum(raters['region'].values()):,} raters ({states or 'none'}). A suspended rater's "
        "judgements have no weight.", "",
        *_table(("region", "raters"), regions),
    ]  # fmt: skip


def _measured(figures: Mapping[str, float]) -> list[str]:
    rows = [(text, *_cells(figures, name)) for name, text in _FIGURES.items() if name in figures]
    lines = ["## Figures", "", *_table(("figure", "value", "interval"), rows)]
    domains = [
        (name.removeprefix(_WINS), *_cells(figures, name), f"{_prompts(figures, name):.0f}")
        for name in sorted(figures)
        if name.startswith(_WINS)
    ]
    if domains:
        heads = ("domain", "win rate", "interval", "prompts")
        lines += ["", *_table(heads, domains)]
    return lines


def _limits(record: Record) -> list[str]:
    figures, rows = record["figures"], record["rows"]
    found = [
        "Win rates are the judgement of a model, whose accuracy stands above, and not people's.",
        f"Measured on {figures.get('evaluate/prompts', 0):.0f} prompts that came with the "
        "feedback; what users ask may differ.",
        "One training run with one seed; another one may come out differently.",
        "Intervals cover the choice of prompts, not what raters and judge agree to overlook.",
        "Answers were preferred by raters or by the judge; nobody checked that they are true.",
        f"Safety here means {figures.get('raters/flags', 0):.0f} flagged answers, told by the "
        "likeness of words.",
    ]
    for key in ("domain", "region"):
        total = sum(rows[key].values())
        thin = sorted(domain_part(name) for name, n in rows[key].items() if n < _THIN * total)
        if thin:
            found.append(f"Little feedback (under {_THIN:.0%}) by {key}: {_names(thin)}.")
        if set(rows[key]) == {"none"}:
            found.append(f"No row names its {key}: differences between {key}s were not measured.")
    if not record["raters"]["region"] or set(record["raters"]["region"]) == {"none"}:
        found.append("Where the raters come from is not known.")
    return ["## Limits", "", *(f"- {line}" for line in found)]


def _not_for(record: Record) -> list[str]:
    domains = sorted(domain_part(name) for name in record["rows"]["domain"] if name != "none")
    found = [
        "decisions about people, or advice on law, medicine or safety that nobody checks",
        "languages and subjects that its feedback does not hold",
    ]
    if domains:
        found.append(f"domains other than {_names(domains)}")
    return ["## Not for", "", *(f"- {line}" for line in found)]


def _lineage(record: Record) -> list[str]:
    bound = record["decision"]["bound"]
    rows = [
        ("tag", f"round-{record['round']:04d}"),
        ("previous round", record["previous"] or "none"),
        ("code", record["code"]),
        ("model", bound.get("model")),
        ("supervised model", bound.get("reference")),
        ("champion it was measured against", bound.get("champion") or "none"),
        ("inputs.json", bound.get("inputs")),
        ("base", record["base"]),
        ("seed", record["seed"]),
        *(
            (f"data/feedback/{name}, {part['rows']:,} rows", part["sha256"])
            for name, part in sorted(record["partitions"].items())
        ),
    ]
    return [
        "## Lineage", "",
        "SHA-256 where it is a hash; settings are in params.yaml of the tag. "
        f"`roundhouse audit round {record['round']}` follows all of it.", "",
        *_table(("what", "value"), [(name, f"`{value}`") for name, value in rows]),
    ]  # fmt: skip


def _cells(figures: Mapping[str, float], name: str) -> tuple[str, str]:
    """A figure and its interval; a domain's ends are named before its name."""
    stem, _, domain = name.partition("/domain/")
    ends = [figures.get(f"{stem}_{end}" + (f"/domain/{domain}" if domain else "")) for end in _ENDS]
    known = [f"{end:.3f}" for end in ends if end is not None]
    return f"{figures[name]:.3f}", f"{known[0]} to {known[1]}" if len(known) == 2 else ""


_ENDS = ("low", "high")


def _prompts(figures: Mapping[str, float], name: str) -> float:
    return figures.get(name.replace("win_rate", "prompts"), 0.0)


def _largest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The names with most rows, and the rest together."""
    found = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [(domain_part(name), count) for name, count in found[:_MOST]]
    rest = found[_MOST:]
    return named + ([(f"{len(rest)} others", sum(n for _, n in rest))] if rest else [])


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for row in rows:
        cells = (str(cell).replace("|", "\\|") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return lines
