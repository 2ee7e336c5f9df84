"""What the command line refuses: arguments out of range, and what the system does not let it do."""

import shutil
import subprocess
from pathlib import Path

import pytest

from roundhouse import cli
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from tests.conftest import PROJECT

HUGE = "99999999999999999999"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with settings and an empty ledger, in which the command is called."""
    shutil.copyfile(PROJECT / "params.yaml", tmp_path / "params.yaml")
    named = ("git", "-c", "user.name=T", "-c", "user.email=t@localhost")
    for command in (("init", "--quiet"), ("add", "params.yaml"), ("commit", "-qm", "Start")):
        subprocess.run([*named, *command], cwd=tmp_path, check=True)
    Ledger.open(Locations(tmp_path).ledger_url).close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        (("resume", HUGE), 2**31 - 1),
        (("resume", "0"), 2**31 - 1),
        (("rollback", HUGE), 2**31 - 1),
        (("raters", "--round", HUGE), 2**31 - 1),
        (("audit", "round", HUGE), 2**31 - 1),
        (("audit", "diff", "1", HUGE), 2**31 - 1),
        (("up", "--prefect-port", "99999"), 65535),
        (("up", "--mlflow-port", "65536"), 65535),
    ],
)
@pytest.mark.usefixtures("checkout")
def test_a_number_out_of_range_is_refused(
    arguments: tuple[str, ...], most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    said = f"{arguments[-1]!r} is not a whole number from 1 to {most}\n"
    assert capsys.readouterr().err.endswith(said)


def test_what_the_system_refuses_is_one_line(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = checkout / "state" / "round.lock"
    lock.mkdir()
    assert cli.main(["clean"]) == 1
    assert capsys.readouterr().err == f"roundhouse: {lock}: Is a directory\n"
