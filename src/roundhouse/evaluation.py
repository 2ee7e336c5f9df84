"""Stage evaluate: the challenger's answers to held-out prompts, against the baseline's, as judged.

    1. choose    evaluation prompts, the same in every round as far as they still exist
    2. answer    challenger, reference and champion, one after the other, with the same seeds
    3. judge     the judge's score of every answer
    4. measure   win rate, KL, length, ends; by domain; the safety set

The baseline is the champion, or this round's supervised model where there is none. The judge is a
reward model of its own, on prompts and raters that PPO's reward never saw; the stage reward has
measured how often it agrees with people. Nothing is decided here: `gate.decide` does that.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from roundhouse import heldout, jsonl, safety
from roundhouse.errors import DataError
from roundhouse.hashes import sha256_folder
from roundhouse.heldout import Prompt, Row
from roundhouse.journal import Log
from roundhouse.learn import (
    align,
    memory,
    models,
    optimizers,
    preferences,
    reward_model,
    sampling,
    sft,
    text,
)
from roundhouse.learn.accuracy import Interval
from roundhouse.learn.models import Policy
from roundhouse.learn.reward_model import Scorer
from roundhouse.learn.sampling import Answer
from roundhouse.settings import Settings
from roundhouse.winrate import Bootstrap, by_domain, interval, length_controlled, win

#: Prompts answered at a time. Every batch has a seed of its own, the same for all models.
_BATCH = 64


class Contest(NamedTuple):
    """Answers of each model, and the challenger's KL in nats, in the order of the prompts."""

    answers: Mapping[str, Sequence[Answer]]
    kl: Sequence[float]


def run(root: Path, settings: Settings, seed: int, champion: str | None, log: Log) -> None:
    """Evaluates the round whose clone is `root`; writes `out/evaluate/`.

    Args:
        champion: sha256 of the champion that lies in `champion/model`; None where there is none.

    Raises:
        DataError: the champion is missing, or is not these bytes.
    """
    optimizers.start(seed, settings.compute.threads)
    folders = _folders(root, champion)
    raters = root / "out" / "raters"
    flags = heldout.flags(jsonl.read(raters / "flags.jsonl"))
    names = ("pairs", "demonstrations", "flags")
    rows = [row for name in names for row in jsonl.read(raters / f"{name}.jsonl")]
    prompts = heldout.choose(rows, settings.evaluate.prompts, {flag.key for flag in flags})
    judge = reward_model.load(root / "out" / "reward" / "judge")
    contest = hold(folders, prompts, settings, seed, log) if prompts else Contest({}, [])
    table = tabulate(prompts, contest, judge)
    bootstrap = Bootstrap(settings.evaluate.bootstrap_draws, settings.evaluate.confidence, seed)
    verdicts = check_safety(flags, table, settings.gate.flagged_similarity)
    figures = measure(table, bootstrap, settings.gate.min_prompts) | safety.figures(verdicts)
    figures |= independence(rows, prompts, raters)
    out = root / "out" / "evaluate"
    jsonl.write(out / "answers.jsonl", table)
    jsonl.write_json(out / "safety.json", safety.record(verdicts, settings.gate.flagged_similarity))
    jsonl.write_json(out / "figures.json", figures)


def independence(rows: Sequence[Row], prompts: Sequence[Prompt], raters: Path) -> dict[str, float]:
    """Figures that are 0 where what measures is apart from what trains.

    What the stages learned from is asked of the functions by which they chose it, not of the
    sides that the rows bear.
    """
    pairs = preferences.by_side(raters)
    judge = heldout.keys(pair.prompt for pair in pairs["judge"])
    rewarded = heldout.keys(pair.prompt for pair in pairs["train"])
    rewarded |= heldout.keys(align.training_prompts(raters))
    shown = heldout.keys(one.prompt for one in sft.demonstrations(raters, "train"))
    leaked = heldout.leaked(rows, prompts, judge | rewarded | shown)
    return {
        "evaluate/leaked_prompts": float(leaked),
        "evaluate/judge_overlap": float(len(judge & rewarded)),
    }


def hold(
    folders: Mapping[str, Path],
    prompts: Sequence[Prompt],
    settings: Settings,
    seed: int,
    log: Log,
) -> Contest:
    """Lets every model answer every prompt; no more than two models are in memory at once."""
    asked = [prompt.messages for prompt in prompts]
    answers: dict[str, Sequence[Answer]] = {}
    kl: Sequence[float] = []
    for step, (name, folder) in enumerate(folders.items(), start=1):
        policy = models.load(folder)
        answers[name] = answer(policy, asked, settings, seed)
        if name == "challenger":
            reference = models.load(folders["reference"])
            kl = divergence(policy, reference, asked, answers[name], settings)
        log(step, len(folders), {})
    return Contest(answers, kl)


def answer(
    policy: Policy, prompts: Sequence[text.Messages], settings: Settings, seed: int
) -> list[Answer]:
    """One answer to each prompt; what a batch draws depends on the seed and its place alone."""
    answers: list[Answer] = []
    for number, first in enumerate(range(0, len(prompts), _BATCH)):
        answers += sampling.answer(
            policy,
            prompts[first : first + _BATCH],
            settings.model,
            settings.evaluate.temperature,
            seed + number,
        )
    return answers


@torch.no_grad()
def divergence(
    policy: Policy,
    reference: Policy,
    prompts: Sequence[text.Messages],
    answers: Sequence[Answer],
    settings: Settings,
) -> list[float]:
    """KL of the policy from the reference in nats an answer, estimated on the policy's own answers.

    The sum over tokens of log policy/reference: unbiased, so single answers may be negative. Greedy
    answers (temperature 0) are measured at temperature 1, and then it is no estimate of the KL.
    """
    temperature = settings.evaluate.temperature or 1.0
    tokens = text.encode_prompts(policy.tokenizer, prompts, settings.model.prompt_tokens)
    sums: list[float] = []
    size = memory.rows_at_once(_BATCH, settings.compute.micro_batch)
    for first in range(0, len(prompts), size):
        said = [one.tokens for one in answers[first : first + size]]
        pad = text.pad_id(policy.tokenizer)
        batch = text.collate(tokens[first : first + size], said, pad, policy.model.device)
        ratio = models.response_logprobs(policy.model, batch, temperature)
        ratio = ratio - models.response_logprobs(reference.model, batch, temperature)
        sums += ratio.sum(dim=1).tolist()
    return sums


def tabulate(prompts: Sequence[Prompt], contest: Contest, judge: Scorer) -> list[dict[str, Any]]:
    """The rows of answers.jsonl: one a prompt, with every model's answer and its score.

    A score or KL that is not a finite number is None; `measure` counts those rows.
    """
    names, asked = list(contest.answers), [prompt.messages for prompt in prompts]
    scores = {
        name: reward_model.score(judge, asked, [answer.text for answer in contest.answers[name]])
        for name in names
    }
    return [
        {
            "key": prompt.key,
            "prompt": prompt.messages,
            "domain": prompt.domain,
            "measured": prompt.measured,
            "answers": {name: contest.answers[name][i].text for name in names},
            "ended": {name: contest.answers[name][i].ended for name in names},
            # In tokens, the one that ends the answer included.
            "length": {name: len(contest.answers[name][i].tokens) for name in names},
            "scores": {name: _finite(scores[name][i]) for name in names},
            "kl": _finite(contest.kl[i]),
        }
        for i, prompt in enumerate(prompts)
    ]


def measure(table: Sequence[Row], bootstrap: Bootstrap, smallest: int) -> dict[str, float]:
    """Figures of the rows that count.

    What cannot be measured, for want of prompts or of finite numbers, is left out, and the gate
    holds because it is missing.
    """
    rows = [row for row in table if row["measured"]]
    figures = {"evaluate/prompts": float(len(rows))}
    if not rows:
        return figures
    whole = [row for row in rows if None not in (row["kl"], *row["scores"].values())]
    figures["evaluate/not_finite"] = float(len(rows) - len(whole))
    if len(whole) < len(rows):
        return figures
    baseline = baseline_of(rows[0])
    figures["evaluate/against_champion"] = float(baseline == "champion")
    wins = [_win(row, baseline) for row in rows]
    figures |= _spread("win_rate", interval(wins, bootstrap))
    longer = [row["length"]["challenger"] - row["length"][baseline] for row in rows]
    controlled = length_controlled(wins, longer, bootstrap)
    figures |= _spread("win_rate_length_controlled", controlled)
    against_reference = [_win(row, "reference") for row in rows]
    figures |= _spread("win_rate_reference", interval(against_reference, bootstrap))
    figures |= _spread("kl", interval([row["kl"] for row in rows], bootstrap))
    same = [row["answers"]["challenger"] == row["answers"][baseline] for row in rows]
    figures["evaluate/identical"] = fmean(same)
    figures["evaluate/eos_rate"] = fmean(row["ended"]["challenger"] for row in rows)
    for name, part in (("score", "scores"), ("length", "length")):
        figures[f"evaluate/{name}"] = fmean(row[part]["challenger"] for row in rows)
        figures[f"evaluate/{name}_baseline"] = fmean(row[part][baseline] for row in rows)
    said = {name: {row["answers"][name] for row in rows} for name in ("challenger", baseline)}
    figures["evaluate/distinct_ratio"] = len(said["challenger"]) / len(said[baseline])
    # A baseline that says nothing at all counts as one token long, so that the ratio is a number.
    shortest = max(1.0, figures["evaluate/length_baseline"])
    figures["evaluate/length_ratio"] = figures["evaluate/length"] / shortest
    domains = by_domain(wins, [row["domain"] for row in rows], bootstrap, smallest)
    figures["evaluate/domains"] = float(len(domains))
    for domain, (count, found) in domains.items():
        figures[f"evaluate/prompts/domain/{domain}"] = float(count)
        figures |= _spread("win_rate", found, f"/domain/{domain}")
    return figures


def check_safety(
    flags: Sequence[safety.Flag], table: Sequence[Row], threshold: float
) -> list[safety.Verdict]:
    """The safety set's verdicts on the answers in the table."""
    if not flags:
        return []
    said = {row["key"]: row["answers"] for row in table}
    baseline = baseline_of(table[0])
    return safety.check(
        flags,
        {key: answers["challenger"] for key, answers in said.items()},
        {key: answers[baseline] for key, answers in said.items()},
        threshold,
    )


def baseline_of(row: Row) -> str:
    """Whom the challenger must beat: the champion, or the reference where there is none."""
    return "champion" if "champion" in row["answers"] else "reference"


def _win(row: Row, other: str) -> float:
    answers, scores = row["answers"], row["scores"]
    return win((answers["challenger"], scores["challenger"]), (answers[other], scores[other]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _spread(what: str, found: Interval, where: str = "") -> dict[str, float]:
    return {
        f"evaluate/{what}{where}": found.value,
        f"evaluate/{what}_low{where}": found.low,
        f"evaluate/{what}_high{where}": found.high,
    }


def _folders(root: Path, champion: str | None) -> dict[str, Path]:
    """Model folders by name; the champion's is compared with its record."""
    folders = {
        "challenger": root / "out" / "align" / "model",
        "reference": root / "out" / "sft" / "model",
    }
    if champion is not None:
        folder = root / "champion" / "model"
        if not folder.is_dir() or sha256_folder(folder) != champion:
            raise DataError(
                f"{folder}: not the champion that this round is measured against; "
                "`roundhouse audit verify` names what is altered or missing"
            )
        folders["champion"] = folder
    return folders
