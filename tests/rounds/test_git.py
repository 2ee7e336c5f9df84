"""Two machines that share a git remote: tags are fetched, and never replaced."""

import os
import socket
import time
from pathlib import Path

import pytest

from roundhouse import processes
from roundhouse.errors import DataError, RemoteError, RoundhouseError
from roundhouse.rounds.git import fetch_rounds, git, push_new_tag, round_tags

TAG = "round-0001"


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Path, Path]:
    """Two clones of one bare repository, `origin` for both."""
    hub, one, two = (tmp_path / name for name in ("hub.git", "one", "two"))
    git("init", "--quiet", "--bare", "--initial-branch", "main", str(hub), cwd=tmp_path)
    git("clone", "--quiet", str(hub), str(one), cwd=tmp_path)
    _commit(one, "start")
    git("push", "--quiet", "origin", "HEAD:main", cwd=one)
    git("clone", "--quiet", str(hub), str(two), cwd=tmp_path)
    return one, two


def _commit(root: Path, text: str) -> str:
    (root / "file").write_text(text, encoding="utf-8")
    git("add", "file", cwd=root)
    git("commit", "--quiet", "-m", text, cwd=root)
    return git("rev-parse", "HEAD", cwd=root)


def _round(root: Path, text: str) -> Path:
    """A round's clone with a commit and its tag, as publish makes them."""
    clone = root.parent / f"{root.name}-0001"
    git("clone", "--quiet", str(root), str(clone), cwd=root.parent)
    commit = _commit(clone, text)
    git("tag", "--annotate", TAG, commit, "-m", text, cwd=clone)
    return clone


def test_a_round_of_one_machine_is_known_to_the_other(machines: tuple[Path, Path]) -> None:
    one, two = machines
    before = git("for-each-ref", cwd=one)
    clone = _round(one, "a round")
    for _ in range(2):
        push_new_tag(clone, one, "origin", TAG)
    assert git("for-each-ref", cwd=one) == before, "the tag gets its name here last"
    fetch_rounds(two, "origin")
    assert round_tags(two) == [1]
    assert git("rev-parse", TAG, cwd=two) == git("rev-parse", TAG, cwd=clone)
    fetch_rounds(two, "origin")


def test_a_tag_of_another_machine_is_never_replaced(machines: tuple[Path, Path]) -> None:
    one, two = machines
    push_new_tag(_round(one, "first"), one, "origin", TAG)
    mine = _round(two, "second")
    with pytest.raises(DataError, match=r"origin has another round-0001 .*nothing was replaced"):
        push_new_tag(mine, two, "origin", TAG)
    assert round_tags(two) == []
    fetch_rounds(two, "origin")
    assert git("show", f"{TAG}:file", cwd=two) == "first"
    git("tag", "--force", TAG, "HEAD", cwd=two)
    with pytest.raises(DataError, match="names another commit than at origin"):
        fetch_rounds(two, "origin")


def test_the_code_of_a_round_begun_elsewhere_is_fetched(machines: tuple[Path, Path]) -> None:
    one, two = machines
    code = _commit(one, "newer code")
    with pytest.raises(RemoteError, match=f"gives no {code}"):
        fetch_rounds(two, "origin", code)
    git("push", "--quiet", "origin", "HEAD:refs/heads/work", cwd=one)
    fetch_rounds(two, "origin", code)
    assert git("cat-file", "-t", code, cwd=two) == "commit"


def test_a_remote_that_is_away_is_named_without_its_password(machines: tuple[Path, Path]) -> None:
    one, _ = machines
    address = "http://me:geheim@127.0.0.1:1/hub.git"
    git("remote", "set-url", "origin", address, cwd=one)
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1") as fetched:
        fetch_rounds(one, "origin")
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1") as pushed:
        push_new_tag(_round(one, "a"), one, "origin", TAG)
    assert "geheim" not in f"{fetched.value} {pushed.value}"


def test_a_remote_that_never_answers_is_not_waited_for(
    machines: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = machines
    clone, mark = _round(one, "a"), one.parent.name
    monkeypatch.setenv(processes.ROUND_MARK, mark)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://me:geheim@127.0.0.1:{silent.getsockname()[1]}/hub.git"
        git("remote", "set-url", "origin", address, cwd=one)
        started = time.monotonic()
        with pytest.raises(RemoteError, match=r"does not answer: git fetch was ended after 2 s$"):
            fetch_rounds(one, "origin", patience=2.0)
        with pytest.raises(RemoteError, match=r"does not answer: git push was ended after 2 s$"):
            push_new_tag(clone, one, "origin", TAG, patience=2.0)
        assert time.monotonic() - started < 60
    # What was killed beside the git that we waited for may be dying still.
    until = time.monotonic() + 10
    while (left := list(processes.marked(mark, processes.ROUND_MARK))) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def test_ssh_neither_asks_nor_waits_unless_the_user_has_chosen_one(
    machines: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = machines
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("ssh", "my-ssh"):
        (programs / name).write_text(f'#!/bin/sh\necho "$0 $*" > {tmp_path}/called\nexit 255\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    for variable in ("GIT_SSH", "GIT_SSH_COMMAND"):
        monkeypatch.delenv(variable, raising=False)
    git("remote", "set-url", "origin", "git@localhost:hub.git", cwd=one)

    def called() -> str:
        with pytest.raises(RemoteError, match="gives no refs/tags"):
            fetch_rounds(one, "origin")
        return (tmp_path / "called").read_text(encoding="utf-8")

    assert called().startswith(f"{programs}/ssh -o BatchMode=yes -o ConnectTimeout=20 ")
    git("config", "core.sshCommand", "my-ssh -i key", cwd=one)
    assert called().startswith(f"{programs}/my-ssh -i key ")
    monkeypatch.setenv("GIT_SSH_COMMAND", "my-ssh -i other")
    assert called().startswith(f"{programs}/my-ssh -i other ")


def test_what_git_says_at_length_is_cut_to_its_reason(tmp_path: Path) -> None:
    git("init", "--quiet", cwd=tmp_path)
    with pytest.raises(RoundhouseError) as error:
        git("cat-file", "-p", f"{'x' * 2000} at last", cwd=tmp_path)
    assert len(str(error.value)) < 500
    assert str(error.value).endswith("at last")
