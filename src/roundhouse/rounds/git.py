"""The few git commands a round needs, with an identity of the project's own and no hooks."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from roundhouse.errors import CheckoutError, RoundhouseError
from roundhouse.locations import tag_number

# The machine may have no identity, a signing key that asks for a passphrase, or hooks that are not ours.
_CONFIG = (
    ("user.name", "Roundhouse"),
    ("user.email", "roundhouse@localhost"),
    ("commit.gpgsign", "false"),
    ("tag.gpgsign", "false"),
    ("core.hooksPath", os.devnull),
    ("advice.detachedHead", "false"),
    ("gc.auto", "0"),
)


def git(*args: str, cwd: Path, check: bool = True, stdin: str | None = None) -> str:
    """Runs git in `cwd` and returns its output without the last newline.

    Raises:
        RoundhouseError: git ended with an error and `check` is set; the message is git's own line.
    """
    done = run(args, cwd=cwd, stdin=stdin)
    if check and done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise RoundhouseError(f"git {args[0]} failed in {cwd}: {reason}")
    return done.stdout.removesuffix("\n")


def run(
    args: Sequence[str], *, cwd: Path, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs git and returns what it did, whatever its exit code; it never asks on the terminal."""
    options = [part for key, value in _CONFIG for part in ("-c", f"{key}={value}")]
    env = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_WORK_TREE")}
    env |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(
        ["git", *options, *args],
        cwd=cwd,
        env=env,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
    )


def toplevel(folder: Path) -> Path:
    """The checkout that `folder` lies in.

    Raises:
        CheckoutError: it lies in none, or in one without a commit, or in a bare repository.
    """
    done = run(["rev-parse", "--show-toplevel"], cwd=folder)
    if done.returncode:
        raise CheckoutError(
            f"{folder} is not inside a git checkout: run `roundhouse` in a clone of the project"
        )
    root = Path(done.stdout.removesuffix("\n"))
    if run(["rev-parse", "--verify", "-q", "HEAD^{commit}"], cwd=root).returncode:
        raise CheckoutError(f"{root} has no commit yet: commit the project first")
    return root


def head(root: Path) -> str:
    """The commit that is checked out."""
    return git("rev-parse", "HEAD", cwd=root)


def round_tags(root: Path) -> list[int]:
    """The numbers of all `round-NNNN` tags, ascending."""
    tags = git("tag", "--list", "round-[0-9]*", cwd=root).split()
    return sorted(tag_number(tag) for tag in tags if tag.removeprefix("round-").isdigit())


def edited(root: Path) -> list[str]:
    """Tracked files that differ from HEAD, staged or not."""
    return git("diff", "--name-only", "HEAD", "--", cwd=root).splitlines()


def show(root: Path, revision: str, path: str) -> str | None:
    """A file's text at a revision, or None where that revision lacks it."""
    done = run(["show", f"{revision}:{path}"], cwd=root)
    return done.stdout if done.returncode == 0 else None
