"""The few git commands a round needs, with an identity of the project's own and no hooks."""

import os
import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from roundhouse import processes
from roundhouse.errors import CheckoutError, DataError, RemoteError, RoundhouseError
from roundhouse.locations import tag_number

# The machine may have no identity, a signing key with a passphrase, or hooks that are not ours.
_CONFIG = (
    ("user.name", "Roundhouse"),
    ("user.email", "roundhouse@localhost"),
    ("commit.gpgsign", "false"),
    ("tag.gpgsign", "false"),
    ("core.hooksPath", os.devnull),
    ("advice.detachedHead", "false"),
    ("gc.auto", "0"),
)

#: Characters of what git said that an error repeats.
_LONGEST = 300
#: Seconds that a remote gets for all that a command wants of it.
PATIENCE = 300.0
#: Seconds after which the lock of one tag is nobody's.
_DEAD = 60.0
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"
_ALL_ROUNDS = "refs/tags/round-*:refs/tags/round-*"


def git(*args: str, cwd: Path, check: bool = True, stdin: str | None = None) -> str:
    """Runs git in `cwd` and returns its output without the last newline.

    Raises:
        RoundhouseError: git ended with an error and `check` is set; the message is git's own line.
    """
    done = run(args, cwd=cwd, stdin=stdin)
    if check and done.returncode:
        raise RoundhouseError(f"git {args[0]} failed in {cwd}: {_reason(done)}")
    return done.stdout.removesuffix("\n")


def run(
    args: Sequence[str], *, cwd: Path, stdin: str | None = None, patience: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs git and returns what it did, whatever its exit code; it never asks on the terminal.

    Raises:
        TimeoutExpired: it ran for longer than the patience (seconds), and was ended.
    """
    options = [part for key, value in _CONFIG for part in ("-c", f"{key}={value}")]
    env = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_WORK_TREE")}
    env |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    with (
        subprocess.Popen(
            ["git", *options, *args],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            start_new_session=True,
        ) as process,
        processes.killed_on_error(process),
    ):
        out, err = process.communicate(stdin, patience)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def ask(
    args: Sequence[str], *, root: Path, remote: str, patience: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Runs a git command that talks to a remote: a round's lock is held meanwhile.

    Args:
        args: the command.
        root: the checkout, whose remote it is.
        remote: its name there.
        patience: seconds that it gets.

    Raises:
        RemoteError: the remote does not answer in time.
    """
    try:
        return run([*_ssh(root), *args], cwd=root, patience=patience)
    except subprocess.TimeoutExpired:
        raise RemoteError(
            f"git remote {remote} of {root} does not answer: "
            f"git {args[0]} was ended after {patience:.0f} s"
        ) from None


def _ssh(root: Path) -> list[str]:
    """The options by which ssh neither asks nor waits, where the user has set no ssh of their own.

    A key with a passphrase, or a host that is not known, would have it ask on the terminal.
    """
    chosen = {"GIT_SSH", "GIT_SSH_COMMAND"} & os.environ.keys()
    if chosen or run(["config", "core.sshCommand"], cwd=root).returncode == 0:
        return []
    return ["-c", f"core.sshCommand={_SSH}"]


def fetch_rounds(
    root: Path, remote: str, commit: str | None = None, patience: float = PATIENCE
) -> None:
    """Brings the round tags of a remote here, and a commit if it is named and not here yet.

    Args:
        root: the checkout.
        remote: its remote's name.
        commit: to be brought too.
        patience: seconds that the remote gets for each of the two.

    Raises:
        DataError: a tag there names another commit than here.
        RemoteError: the remote is away, or does not have the commit.
    """
    if commit and run(["cat-file", "-e", f"{commit}^{{commit}}"], cwd=root).returncode == 0:
        commit = None
    # Not --quiet: that hides why a tag was refused.
    fetch = ["fetch", "--no-tags", "--no-write-fetch-head", remote]
    for wanted in (_ALL_ROUNDS, *([commit] if commit else [])):
        done = ask([*fetch, wanted], root=root, remote=remote, patience=patience)
        if "would clobber existing tag" in done.stderr:
            raise DataError(
                f"a round tag in {root} names another commit than at {remote}: find out which "
                f"one the ledger knows (`roundhouse rounds`), delete the other ({_reason(done)})"
            )
        if done.returncode:
            raise RemoteError(f"git remote {remote} of {root} gives no {wanted}: {_reason(done)}")


def push_new_tag(
    workspace: Path, root: Path, remote: str, tag: str, patience: float = PATIENCE
) -> None:
    """Publishes a clone's tag at a remote of the checkout; one that is there is never replaced.

    Args:
        workspace: the clone.
        root: the checkout.
        remote: its remote's name.
        tag: of the clone.
        patience: seconds that the remote gets to take it, and to say which one it has.

    Raises:
        DataError: the remote has that tag on something else.
        RemoteError: the remote is away, or refuses.
    """
    name = f"refs/tags/{tag}"
    made = git("rev-parse", name, cwd=workspace)
    # The remote's name and credentials are the checkout's; the tag gets its name there last.
    from_clone = ["--quiet", "--no-tags", "--no-write-fetch-head", str(workspace), name]
    git("fetch", *from_clone, cwd=root)
    push = ["push", "--quiet", remote, f"{made}:{name}"]
    done = ask(push, root=root, remote=remote, patience=patience)
    if done.returncode == 0:
        return
    look = ["ls-remote", remote, name]
    there = ask(look, root=root, remote=remote, patience=patience).stdout.split()
    if there and there[0] != made:
        raise DataError(
            f"{remote} has another {tag} ({there[0][:12]}, made here: {made[:12]}): another "
            "machine published that round, and nothing was replaced; see `roundhouse rounds`"
        )
    raise RemoteError(f"git remote {remote} of {root} did not take {tag}: {_reason(done)}")


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


def forget_dead_git(workspace: Path) -> None:
    """Removes the locks that a killed git left in a clone; only the round's owner may call it."""
    inside = workspace / ".git"
    for lock in (*inside.glob("*.lock"), *inside.glob("refs/tags/*.lock")):
        lock.unlink(missing_ok=True)


def forget_dead_tags(root: Path) -> None:
    """Removes locks of round tags in the checkout whose git is dead: a live one takes moments."""
    common = root / git("rev-parse", "--git-common-dir", cwd=root)
    for lock in (common / "refs" / "tags").glob("round-*.lock"):
        with suppress(FileNotFoundError):
            if time.time() - lock.stat().st_mtime > _DEAD:
                lock.unlink()


def head(root: Path) -> str:
    """The commit that is checked out."""
    return git("rev-parse", "HEAD", cwd=root)


def round_tags(root: Path) -> list[int]:
    """The numbers of all `round-NNNN` tags, ascending."""
    tags = git("tag", "--list", "round-[0-9]*", cwd=root).split()
    return sorted(tag_number(tag) for tag in tags if tag.removeprefix("round-").isdigit())


def edited(root: Path) -> list[str]:
    """Tracked files that differ from HEAD, staged or not."""
    return git("diff", "--name-only", "-z", "HEAD", "--", cwd=root).split("\0")[:-1]


def show(root: Path, revision: str, path: str) -> str | None:
    """A file's text at a revision, or None where that revision lacks it."""
    done = run(["show", f"{revision}:{path}"], cwd=root)
    return done.stdout if done.returncode == 0 else None


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """What git said, in one line, without the credentials that an address may hold."""
    said = re.sub(r"://[^/@\s]*@", "://", " ".join(done.stderr.split()))
    if len(said) > _LONGEST:
        # On a full disk it names every file before it says why; the reason comes last.
        said = f"... {said[-_LONGEST:]}"
    return said or f"exit code {done.returncode}"
