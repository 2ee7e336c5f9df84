"""A round's own clone under `rounds/NNNN`, and the commit and tag that are made from it.

The user's checkout is read, never written: what comes back to it is one tag.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from roundhouse import failpoints
from roundhouse.errors import CheckoutError
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import dvc
from roundhouse.rounds.git import edited, git, head, push_new_tag, round_tags

#: Settings may be edited and travel with the round; every other tracked file is code.
SETTINGS_FILE = "params.yaml"
PATCH_FILE = "dirty.patch"
DATA_POINTER = "data/feedback.dvc"
CARD_FILE = "model-card.md"
DECISION_FILE = "decision.json"

#: What a round commits, where it exists. Nothing else may enter its commit.
COMMITTED = (
    SETTINGS_FILE,
    "inputs.json",
    DATA_POINTER,
    "dvc.lock",
    "manifest.json",
    DECISION_FILE,
    CARD_FILE,
    PATCH_FILE,
)


@dataclass(frozen=True)
class Plan:
    """What a clone is made from; kept in the ledger, so that a killed start can be made again.

    Attributes:
        code: commit of the user's checkout.
        previous: tag of the last published round.
        settings: text of the round's params.yaml.
        allow_dirty: carry edits of tracked code.
        accept: checks that a person accepts, each with the reason.
    """

    code: str
    previous: str | None
    settings: str
    allow_dirty: bool
    accept: Sequence[Sequence[str]] = ()


def refuse_edited_code(root: Path) -> None:
    """Stops a round that would run other code than the last commit's.

    Raises:
        CheckoutError: a tracked file other than params.yaml differs from HEAD.
    """
    files = [path for path in edited(root) if path != SETTINGS_FILE]
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise CheckoutError(
            f"{files[0]}{more} differs from the last commit: commit it, "
            "or add --allow-dirty to record the difference with the round"
        )


def settings_text(source: Path, raw: dict[str, object], changed: bool) -> str:
    """The round's params.yaml: the user's file as it is, or the same data with its overrides."""
    if changed:
        return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
    return source.read_text(encoding="utf-8")


def create(
    places: Locations, number: int, plan: Plan, bring: Callable[[Path], None] | None = None
) -> Path:
    """Makes the clone of a round, whole or not at all, and returns its folder.

    It starts at the plan's code; data pointers and dvc.lock come from the previous round.

    Args:
        places: the checkout's.
        number: of the round.
        plan: what it is made from.
        bring: where the round has its tag already, which the clone then holds: brings the bytes
            that the tag names.
    """
    workspace = places.workspace(number)
    part = places.rounds / f".making-{number:04d}"
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    git("clone", "--quiet", "--no-checkout", str(places.root), str(part), cwd=places.root)
    git("checkout", "--quiet", "--detach", plan.code, cwd=part)
    if bring:
        git("read-tree", "--reset", "-u", tag_name(number), cwd=part)
        bring(part)
    else:
        _begin(places.root, part, plan)
    dvc.configure(part, places)
    failpoints.hit("workspace.made")
    if workspace.exists():
        # Named as what `clean` sweeps, should this die in the middle.
        doomed = workspace.with_name(f".removing-{workspace.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        workspace.replace(doomed)
        shutil.rmtree(doomed)
    part.replace(workspace)
    return workspace


def _begin(root: Path, part: Path, plan: Plan) -> None:
    """What a round that has nothing yet starts from."""
    if plan.allow_dirty:
        _carry_edits(root, part)
    if plan.previous:
        for path in (DATA_POINTER, "dvc.lock"):
            git("checkout", "--quiet", plan.previous, "--", path, cwd=part)
    (part / SETTINGS_FILE).write_text(plan.settings, encoding="utf-8")


def commit(workspace: Path, number: int, previous: str | None, message: str) -> str:
    """Commits the round's named files on top of code and previous round; returns the commit.

    A repeat of the same content makes the same tree, and a finished tag is never replaced.
    """
    paths = [path for path in COMMITTED if (workspace / path).exists()]
    git("add", "--force", "--", *paths, cwd=workspace)
    if (workspace / PATCH_FILE).exists():
        # Code that --allow-dirty carried into the round.
        git("add", "--update", cwd=workspace)
    tree = git("write-tree", cwd=workspace)
    parents = ["-p", head(workspace)]
    if previous:
        parents += ["-p", git("rev-parse", f"{previous}^{{commit}}", cwd=workspace)]
    made = git("commit-tree", tree, *parents, "-m", message, cwd=workspace)
    failpoints.hit("publish.committed")
    git("tag", "--annotate", "--force", tag_name(number), made, "-m", message, cwd=workspace)
    return made


def publish_tag(workspace: Path, places: Locations, number: int, remote: str | None) -> None:
    """Hands the tag to the git remote that the settings name, then to the user's repository.

    In this order, a tag that another machine published first never lies here beside it. A tag that
    the repository has is the round's, whatever an earlier try left in the clone.

    Raises:
        DataError: the remote has that tag on something else.
    """
    tag = tag_name(number)
    known = number in round_tags(places.root)
    if remote:
        push_new_tag(places.root if known else workspace, places.root, remote, tag)
    if not known:
        git("push", "--quiet", str(places.root), f"refs/tags/{tag}", cwd=workspace)


def _carry_edits(root: Path, workspace: Path) -> None:
    # git writes the file itself: a patch has the bytes of what was edited, of any encoding.
    patch = workspace / PATCH_FILE
    files = ("--", ".", f":(exclude){SETTINGS_FILE}")
    git("diff", "--binary", f"--output={patch}", "HEAD", *files, cwd=root)
    if patch.stat().st_size:
        # New and deleted files count as edits in the index alone.
        git("apply", "--index", "--whitespace=nowarn", PATCH_FILE, cwd=workspace)
    else:
        patch.unlink()
