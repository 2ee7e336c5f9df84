"""Number by number, the loss of DPO of ours and its gradient against those of TRL 1.12.0.

    make peers && .venv/bin/python -m benchmarks.agreement_dpo

For each model family of `benchmarks/agreement.py`: its policy, its reference, and pairs of answers
of unlike length with hard labels (TRL's sigmoid loss knows no others). TRL's DPOTrainer computes
loss and gradient in .venv-peers; ours works on the same tokens and weights. Prints the largest
absolute difference of each quantity; the exit code is 1 if one is over the tolerance. `--json FILE`
writes them too.
"""

import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.agreement import FAMILIES, LIMIT, WORDS, Case, case, main, trl, words
from benchmarks.random_models import EOS
from roundhouse.learn import dpo
from roundhouse.learn.dpo import Encoded
from roundhouse.learn.models import Policy
from roundhouse.learn.tokenizer import word_level

BETA = 0.3


def pairs(given: Case) -> Encoded:
    """Both answers to each prompt of the case: the first is the better one; most of them end."""
    answers = [
        tuple([*words(1 + (7 * row + 5 * side) % LIMIT), EOS][:LIMIT] for side in (0, 1))
        for row in range(len(given.prompts))
    ]
    ones = [1.0] * len(answers)
    return Encoded(given.prompts, [(a, b) for a, b in answers], ones, ones)


def write(given: Case, data: Encoded, folder: Path) -> None:
    """The folder that the other side reads."""
    for name in ("policy", "reference"):
        getattr(given, name).save_pretrained(folder / name)
        word_level(WORDS).save_pretrained(folder / name)
    rows = [
        {"prompt_ids": prompt, "chosen_ids": a, "rejected_ids": b}
        for prompt, (a, b) in zip(data.prompts, data.answers, strict=True)
    ]
    content = {"pairs": rows, "beta": BETA}
    (folder / "case.json").write_text(json.dumps(content), encoding="utf-8")


def compare(given: Case, data: Encoded, theirs: dict[str, Tensor]) -> dict[str, float]:
    """The largest absolute difference of each quantity between TRL's and ours."""
    tokenizer, rows = word_level(WORDS), range(len(data.prompts))
    reference = dpo.measured(Policy(given.reference, tokenizer), data, 4)
    found = dpo.logprobs(Policy(given.policy, tokenizer), data, rows)
    p, weights = torch.tensor(data.p), torch.tensor(data.weights)
    loss = dpo.loss(found, reference, p, weights, BETA)
    loss.backward()  # type: ignore[no-untyped-call]
    rewards = (BETA * (found - reference)).detach().mean(dim=0)
    own = {
        "loss": loss.detach(),
        "logps/chosen": found.detach()[:, 0].mean(),
        "logps/rejected": found.detach()[:, 1].mean(),
        "rewards/chosen": rewards[0],
        "rewards/rejected": rewards[1],
        "rewards/margins": dpo.margins(found, reference, BETA).detach().mean(),
    }
    differences = {name: (value - theirs[name]).abs().item() for name, value in own.items()}
    gradients = {name: weight.grad for name, weight in given.policy.named_parameters()}
    differences["gradient"] = max(
        (gradient - theirs[f"gradient/{name}"]).abs().max().item()
        for name, gradient in gradients.items()
        if gradient is not None
    )
    return differences


def differences() -> dict[str, dict[str, float]]:
    """By family, the largest difference of each quantity."""
    found = {}
    with tempfile.TemporaryDirectory() as root:
        cases = {family: case(family) for family in FAMILIES}
        data = {family: pairs(given) for family, given in cases.items()}
        folders = {family: Path(root) / family for family in FAMILIES}
        for family, given in cases.items():
            write(given, data[family], folders[family])
        trl("trl_dpo", folders.values())
        for family, given in cases.items():
            theirs = load_file(folders[family] / "trl.safetensors")
            found[family] = compare(given, data[family], theirs)
    return found


if __name__ == "__main__":
    main(differences, __doc__)
