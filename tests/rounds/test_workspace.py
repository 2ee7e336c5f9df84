"""A round's clone, its commit and its tag; and that the user's checkout stays as it was."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse.errors import CheckoutError
from roundhouse.locations import Locations
from roundhouse.rounds import git, workspace
from tests.rounds.conftest import tracked_state


def _plan(root: Path, previous: str | None = None, allow_dirty: bool = False) -> workspace.Plan:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    return workspace.Plan(git.head(root), previous, text, allow_dirty)


def _publish(root: Path, number: int, previous: str | None) -> Path:
    """A clone with a pointer and a lock of its own, committed and tagged."""
    places = Locations(root)
    clone = workspace.create(places, number, _plan(root, previous))
    for name in ("data/feedback.dvc", "dvc.lock"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text(f"of round {number}\n", encoding="utf-8")
    workspace.commit(clone, number, previous, f"Round {number}")
    workspace.publish_tag(clone, places, number, None)
    return clone


def test_a_round_leaves_the_checkout_as_it_was(make_checkout: Callable[..., Path]) -> None:
    root = make_checkout()
    (root / "notes.txt").write_text("untracked", encoding="utf-8")
    before = tracked_state(root)
    _publish(root, 1, None)
    _publish(root, 2, "round-0001")
    assert tracked_state(root) == before
    assert git.round_tags(root) == [1, 2]


def test_the_commit_has_code_and_previous_round_as_parents(
    make_checkout: Callable[..., Path],
) -> None:
    root = make_checkout()
    _publish(root, 1, None)
    clone = _publish(root, 2, "round-0001")
    parents = git.git("rev-parse", "round-0002^@", cwd=root).split()
    assert parents == [git.head(root), git.git("rev-parse", "round-0001^{commit}", cwd=root)]
    assert (clone / "dvc.lock").read_text(encoding="utf-8") == "of round 2\n"


def test_only_named_files_are_committed(make_checkout: Callable[..., Path]) -> None:
    root = make_checkout()
    places = Locations(root)
    clone = workspace.create(places, 1, _plan(root))
    for name in ("out/sft/model.safetensors", "data/feedback/0001.jsonl", "stray.txt"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("text of a rater", encoding="utf-8")
    (clone / "inputs.json").write_text("{}", encoding="utf-8")
    workspace.commit(clone, 1, None, "Round 1")
    changed = git.git("diff", "--name-only", "HEAD", "round-0001", cwd=clone).splitlines()
    assert changed == ["inputs.json"]


def test_data_pointers_come_from_the_previous_round(make_checkout: Callable[..., Path]) -> None:
    root = make_checkout()
    _publish(root, 1, None)
    clone = workspace.create(Locations(root), 2, _plan(root, "round-0001"))
    assert (clone / "data/feedback.dvc").read_text(encoding="utf-8") == "of round 1\n"


@pytest.mark.parametrize("kind", ["detached", "shallow"])
def test_it_works_from_a_detached_or_shallow_checkout(
    make_checkout: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    root = make_checkout()
    if kind == "detached":
        git.git("checkout", "--quiet", "--detach", cwd=root)
    else:
        subprocess.run(
            ["git", "commit", "-q", "--allow-empty", "-m", "x"],
            cwd=root,
            check=True,
            env={
                "GIT_AUTHOR_NAME": "T",
                "GIT_AUTHOR_EMAIL": "t@x",
                "PATH": "/usr/bin",
                "GIT_COMMITTER_NAME": "T",
                "GIT_COMMITTER_EMAIL": "t@x",
            },
        )
        git.git("clone", "-q", "--depth", "1", f"file://{root}", str(tmp_path / "s"), cwd=tmp_path)
        root = tmp_path / "s"
    _publish(root, 1, None)
    _publish(root, 2, "round-0001")
    assert git.round_tags(root) == [1, 2]


def test_edited_code_is_refused_by_name(make_checkout: Callable[..., Path]) -> None:
    root = make_checkout()
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    with pytest.raises(CheckoutError, match=r"^dvc\.yaml differs from the last commit"):
        workspace.refuse_edited_code(root)


def test_edited_settings_are_not_code(make_checkout: Callable[..., Path]) -> None:
    root = make_checkout()
    with (root / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("# tried something\n")
    workspace.refuse_edited_code(root)
    clone = workspace.create(Locations(root), 1, _plan(root))
    assert (clone / "params.yaml").read_text(encoding="utf-8").endswith("# tried something\n")


def test_allow_dirty_records_the_difference(make_checkout: Callable[..., Path]) -> None:
    root = make_checkout()
    with (root / "dvc.yaml").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    clone = workspace.create(Locations(root), 1, _plan(root, allow_dirty=True))
    workspace.commit(clone, 1, None, "Round 1")
    assert "+# edited" in (git.show(clone, "round-0001", "dirty.patch") or "")
    assert (git.show(clone, "round-0001", "dvc.yaml") or "").endswith("# edited\n")


def test_edits_of_any_encoding_are_carried(make_checkout: Callable[..., Path]) -> None:
    root = make_checkout()
    edited = {"dvc.yaml": b"# Windows wrote this\r\n", "README.md": b"caf\xe9\r\n"}
    for name, text in edited.items():
        with (root / name).open("ab") as file:
            file.write(text)
    new = "src/roundhouse/neu é.py"
    (root / new).write_text("NEW = 1\n", encoding="utf-8")
    git.git("add", "--", new, cwd=root)
    (root / "LICENSE").unlink()
    clone = workspace.create(Locations(root), 1, _plan(root, allow_dirty=True))
    for name in (*edited, new):
        assert (clone / name).read_bytes() == (root / name).read_bytes()
    workspace.commit(clone, 1, None, "Round 1")
    # The tag is the code that ran: another machine may have to go on from it.
    assert git.show(clone, "round-0001", new) == "NEW = 1\n"
    assert git.show(clone, "round-0001", "LICENSE") is None


def test_a_folder_outside_git_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckoutError, match="not inside a git checkout"):
        git.toplevel(tmp_path)


def test_a_checkout_without_a_commit_is_refused(tmp_path: Path) -> None:
    git.git("init", "--quiet", cwd=tmp_path)
    with pytest.raises(CheckoutError, match="has no commit yet"):
        git.toplevel(tmp_path)
