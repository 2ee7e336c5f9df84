"""Whether the published bytes load and answer, asked in a fresh process.

`python -m roundhouse.smoke FOLDER PROMPT` prints one line of JSON; exit code 0 says that the model
passed. A model passes that loads from safetensors without code of its own, holds only finite
weights, and answers a probe with finite logits and some text.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from roundhouse.errors import ModelError
from roundhouse.hashes import sha256_folder

#: Seconds that loading and one short answer may take.
TIMEOUT = 300.0
#: Tokens of the probe's answer.
TOKENS = 32


class SmokeResult(NamedTuple):
    """What a fresh process made of a model folder."""

    passed: bool
    text: str
    """One line for a person."""
    sha256: str
    """`hashes.sha256_folder` of the folder as the process read it; empty where it read nothing."""


def run(folder: Path, probe: str, timeout: float = TIMEOUT) -> SmokeResult:
    """Loads `folder` in a new process and lets it answer `probe`; never raises for a bad model."""
    command = [sys.executable, "-m", "roundhouse.smoke", str(folder.resolve()), probe]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return SmokeResult(False, f"no answer within {timeout:g} s", "")
    try:
        result = SmokeResult(**json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return SmokeResult(False, f"the process ended with {done.returncode}, saying: {said}", "")
    # A process that told of success and then died (of memory, of a bad library) has not passed.
    return result._replace(passed=result.passed and done.returncode == 0)


def answer(folder: Path, probe: str) -> SmokeResult:
    """The same in this process."""
    sha256 = sha256_folder(folder) if folder.is_dir() else ""
    try:
        text, problem = _ask(folder, probe)
    except ModelError as error:
        return SmokeResult(False, str(error), sha256)
    if problem:
        return SmokeResult(False, problem, sha256)
    return SmokeResult(
        True, f"loads in a fresh process and answers in {len(text)} characters", sha256
    )


def _ask(folder: Path, probe: str) -> tuple[str, str]:
    """The greedy answer, and what is wrong with it, if anything."""
    import torch  # noqa: PLC0415 - the gate imports this module for its result type alone

    from roundhouse.learn import models, sampling, text  # noqa: PLC0415 - these import torch

    policy = models.load(folder)
    for name, weight in policy.model.named_parameters():
        if not torch.isfinite(weight).all():
            return "", f"weight {name} is not finite"
    room = max(1, getattr(policy.model.config, "max_position_embeddings", 512) - TOKENS)
    prompt = text.encode_prompts(policy.tokenizer, [[{"role": "user", "content": probe}]], room)
    answers = sampling.sample(
        policy.model,
        prompt,
        limit=TOKENS,
        temperature=0.0,
        eos=text.eos_id(policy.tokenizer),
        pad=text.pad_id(policy.tokenizer),
        generator=torch.Generator(policy.model.device).manual_seed(0),
    )
    if not torch.isfinite(answers.logprobs).all():
        return "", "the probe's logits are not finite"
    said = text.decode(policy.tokenizer, answers.as_lists())[0]
    return said, "" if said else "the answer to the probe is empty"


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m roundhouse.smoke", description=__doc__)
    parser.add_argument("folder", type=Path, help="model folder as published")
    parser.add_argument("prompt", help="what it is asked")
    options = parser.parse_args(arguments)
    result = answer(options.folder, options.prompt)
    sys.stdout.write(json.dumps(result._asdict()) + "\n")
    return 0 if result.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
