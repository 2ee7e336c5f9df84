"""Every kind of tampering is named by `audit verify`: each is done, seen and undone on a copy."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput

from roundhouse import jsonl
from roundhouse.hashes import sha256_folder
from roundhouse.rounds import git, objects
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.stores import Folder
from roundhouse.rounds.verify import verify
from roundhouse.tracking import Copies
from tests.rounds.conftest import Played

pytestmark = pytest.mark.round

WEIGHTS = "out/align/model/model.safetensors"
Tampering = Callable[[Played], Any]


@pytest.fixture(scope="module")
def copied(played: Played, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The played checkout in another place, its MLflow files too."""
    root = tmp_path_factory.mktemp("copied") / "checkout"
    shutil.copytree(played.root, root, symlinks=True)
    there, here = str(played.root), str(root)
    with closing(sqlite3.connect(root / "state/mlflow/mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (there, here)
            )
    return played._replace(root=root)


@contextmanager
def _sql(played: Played, database: str, statement: str) -> Iterator[None]:
    """Runs a statement in one of the databases, and puts its table back afterwards."""
    table = statement.removeprefix("DELETE FROM ").removeprefix("UPDATE ").split()[0]
    with closing(sqlite3.connect(played.places.state / database)) as connection:
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        with connection:
            assert connection.execute(statement).rowcount
    try:
        yield
    finally:
        marks = ", ".join("?" * len(rows[0]))
        with closing(sqlite3.connect(played.places.state / database)) as connection, connection:
            connection.execute(f"DELETE FROM {table}")
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _ledger(statement: str) -> Tampering:
    return lambda played: _sql(played, "ledger.db", statement)


def _mlflow(statement: str) -> Tampering:
    return lambda played: _sql(played, "mlflow/mlflow.db", statement)


def _both(first: Tampering, second: Tampering) -> Tampering:
    @contextmanager
    def tamper(played: Played) -> Iterator[None]:
        with first(played), second(played):
            yield

    return tamper


@contextmanager
def _bytes(path: Path, data: bytes | None) -> Iterator[None]:
    """Gives a file other bytes, or takes it away, for a while."""
    mode, whole = path.stat().st_mode, path.read_bytes()
    path.chmod(0o644)
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
        path.chmod(mode)


def _object(played: Played, md5: str) -> Path:
    remote = stores(played.places)[-1]
    assert isinstance(remote, Folder)
    return remote.path(md5)


def _flipped(path: Path) -> bytes:
    data = path.read_bytes()
    return data[:-1] + bytes([data[-1] ^ 1])


def _remote(name: str, gone: bool = False) -> Tampering:
    def tamper(played: Played) -> Any:
        path = _object(played, objects.published(played.places, "round-0002")[name])
        return _bytes(path, None if gone else _flipped(path))

    return tamper


def _list(played: Played) -> Any:
    return _bytes(_object(played, objects.folders(played.root, "round-0002")["out/align"]), b"[]")


def _workspace(played: Played) -> Any:
    path = played.places.workspace(2) / "out/evaluate/answers.jsonl"
    return _bytes(path, _flipped(path))


def _artifact(gone: bool) -> Tampering:
    def tamper(played: Played) -> Any:
        copies = _copies(played)
        run = copies.versions("roundhouse")[1].run_id
        (path,) = (played.places.state / "mlflow/artifacts").rglob(
            f"{run}/artifacts/model/*.safetensors"
        )
        return _bytes(path, None if gone else _flipped(path))

    return tamper


@contextmanager
def _tag(played: Played, commit: str) -> Iterator[None]:
    before = git.git("rev-parse", "round-0002", cwd=played.root)
    git.git("update-ref", "refs/tags/round-0002", commit, cwd=played.root)
    try:
        yield
    finally:
        git.git("update-ref", "refs/tags/round-0002", before, cwd=played.root)


def _moved(played: Played) -> Any:
    return _tag(played, git.git("rev-parse", "HEAD", cwd=played.root))


@contextmanager
def _forged(played: Played, file: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Another commit under the tag, with the ledger and MLflow made to say that it was this one."""
    old = git.git("rev-parse", "round-0002^{commit}", cwd=played.root)
    value = change(json.loads(git.show(played.root, old, file) or ""))
    text = json.dumps(value, sort_keys=True, indent=2) + "\n"
    blob = git.git("hash-object", "-w", "--stdin", cwd=played.root, stdin=text)
    entries = git.git("ls-tree", old, cwd=played.root).splitlines()
    forged = [f"100644 blob {blob}\t{file}" if e.endswith(f"\t{file}") else e for e in entries]
    tree = git.git("mktree", cwd=played.root, stdin="\n".join(forged) + "\n")
    commit = git.git(
        "commit-tree", tree, "-p", f"{old}^1", "-p", f"{old}^2", "-m", "Round 2", cwd=played.root
    )
    ledger = _sql(played, "ledger.db", f"UPDATE round SET \"commit\" = '{commit}' WHERE number = 2")
    tag = f"UPDATE model_version_tags SET value = '{commit}' WHERE value = '{old}'"
    with _tag(played, commit), ledger, _sql(played, "mlflow/mlflow.db", tag):
        yield


def _outcome(played: Played) -> Any:
    return _forged(played, "decision.json", lambda value: value | {"outcome": "held"})


def _decided_on(played: Played) -> Any:
    def change(value: Any) -> Any:
        return value | {"bound": value["bound"] | {"figures": "0" * 64}}

    return _forged(played, "decision.json", change)


def _listed(played: Played) -> Any:
    return _forged(played, "manifest.json", lambda value: value | {WEIGHTS: "0" * 64})


def _seed(played: Played) -> Any:
    return _forged(played, "inputs.json", lambda value: value | {"seed": 18})


_SECOND = "WHERE version = '2' AND key = 'roundhouse"
TAMPERED: dict[str, tuple[Tampering, str, str]] = {
    "bytes in the remote": (_remote(WEIGHTS), WEIGHTS, "altered"),
    "a file gone": (_remote("out/raters/raters.json", True), "out/raters/raters.json", "missing"),
    "a list of DVC": (_list, "list of out/align", "altered"),
    "a file of the clone": (_workspace, "out/evaluate/answers.jsonl", "altered"),
    "the tag": (_moved, "round-0002", ""),
    "the decision's outcome": (_outcome, "decision", "promote, though decided was held"),
    "what was decided on": (_decided_on, "decision.json: figures", "decided on 000"),
    "the manifest": (_listed, WEIGHTS, "altered"),
    "the inputs": (_seed, "inputs.json", "differs from the inputs that the ledger froze"),
    "a row": (
        _ledger("UPDATE feedback SET row = replace(row, 'a', 'b') WHERE seq = 7"),
        "ledger",
        "row 7",
    ),
    "the ledger's decision": (
        _ledger("UPDATE decision SET sha256 = 'f' WHERE round = 2"),
        "decision",
        "about model f",
    ),
    "the champion": (
        _ledger("UPDATE champion SET version = '1'"),
        "champion",
        "the last decision released version 2",
    ),
    "a figure of the ledger": (
        _ledger("UPDATE round SET metrics = json_set(metrics, '$.\"evaluate/kl\"', 9.5)"),
        "figure evaluate/kl",
        "was published",
    ),
    "the data version": (
        _ledger("UPDATE round SET data_version = 'x' WHERE number = 2"),
        "data/feedback.dvc",
        "the ledger x",
    ),
    "a version's digest": (
        _mlflow(f"UPDATE model_version_tags SET value = 'x' {_SECOND}.sha256'"),
        "version 2: tag sha256",
        "x in MLflow",
    ),
    "a version of a round that is said to be blocked": (
        _both(
            _ledger("UPDATE round SET state = 'blocked' WHERE number = 2"),
            _mlflow(f"UPDATE model_version_tags SET value = 'x' {_SECOND}.sha256'"),
        ),
        "version 2: tag sha256",
        "x in MLflow",
    ),
    "a version's commit": (
        _mlflow(f"UPDATE model_version_tags SET value = 'x' {_SECOND}.commit'"),
        "version 2: tag commit",
        "x in MLflow",
    ),
    "a version gone": (
        _mlflow(f"DELETE FROM model_version_tags {_SECOND}.ledger'"),
        "version 2",
        "missing",
    ),
    "a data set": (
        _mlflow("UPDATE datasets SET digest = 'x' || digest"),
        "version 2: data set",
        "x",
    ),
    "a figure of MLflow": (
        _mlflow("UPDATE latest_metrics SET value = 99 WHERE key = 'evaluate/kl'"),
        "version 2: figure evaluate/kl",
        "99.0 in MLflow",
    ),
    "the alias": (
        _mlflow("UPDATE registered_model_aliases SET version = 1"),
        "alias champion",
        "shows version 1",
    ),
    "the registered model": (_artifact(False), "version 2: artifact model", "altered"),
    "the registered weights gone": (_artifact(True), "version 2: artifact model", "altered"),
}


def _findings(played: Played) -> list[tuple[str, str]]:
    with played.ledger() as ledger:
        found = verify(played.places, ledger)
    assert found.notes == ()
    return [(one.what, one.problem) for one in found.findings]


def _copies(played: Played) -> Copies:
    with played.ledger() as ledger:
        return Copies(played.places.tracking_uri, ledger.identity())


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_named(copied: Played, name: str) -> None:
    tamper, what, problem = TAMPERED[name]
    with tamper(copied):
        found = _findings(copied)
    assert any(one == what and problem in text for one, text in found), found


def test_a_data_set_from_before_an_erasure_is_no_finding(copied: Played) -> None:
    """A round that began anew since rows were erased keeps its first data set in MLflow."""
    with copied.ledger() as ledger:
        ended = ledger.rounds()[-1].finished_at
    (version,) = [one for one in _copies(copied).versions("roundhouse") if one.version == "2"]
    first = Dataset("feedback", "before", "dvc", "{}")
    MlflowClient(copied.places.tracking_uri).log_inputs(version.run_id, [DatasetInput(first, [])])
    (found,) = _findings(copied)
    assert found[0] == "version 2: data set"
    assert "before" in found[1]
    asked = (
        "INSERT INTO erasure (kind, subject, salt, why, who, at, finished_at, report) "
        f"VALUES ('row', 's', 's', 'w', 'w', '{ended}', '{ended}', '{{}}')"
    )
    database = sqlite3.connect(copied.places.state / "ledger.db")
    with closing(database), database:
        database.execute(asked)
    assert _findings(copied) == []
    with closing(sqlite3.connect(copied.places.state / "ledger.db")) as database, database:
        database.execute("DELETE FROM erasure")
    with closing(sqlite3.connect(copied.places.state / "mlflow/mlflow.db")) as database, database:
        gone = "SELECT dataset_uuid FROM datasets WHERE digest = 'before'"
        database.execute(f"DELETE FROM inputs WHERE source_id IN ({gone})")


def test_what_is_as_published_is_said_to_be(copied: Played) -> None:
    """Last in the file: everything that was tampered with was put back."""
    assert _findings(copied) == []


def test_ledger_dvc_tag_and_mlflow_carry_the_same_digests(played: Played) -> None:
    with played.ledger() as ledger:
        rows, decisions = ledger.rounds(), [d for d in ledger.decisions() if d.round]
    versions = _copies(played).versions("roundhouse")
    for row, decision, version in zip(rows, decisions, versions, strict=True):
        tag, clone = f"round-{row.number:04d}", played.places.workspace(row.number)
        bound = json.loads(git.show(played.root, tag, "decision.json") or "")["bound"]
        manifest = objects.manifest(played.root, tag)
        inputs = json.loads(git.show(played.root, tag, "inputs.json") or "")
        # The model: decision row, tag, clone, registry's tag and registry's bytes.
        digests = {decision.sha256, bound["model"], sha256_folder(clone / "out/align/model")}
        digests |= {version.tags["sha256"], str(_copies(played).model_digest(version.run_id))}
        assert len(digests) == 1
        # The data: DVC's pointer in the tag, ledger, registry's tag, data sets of the runs.
        data = {objects.folders(played.root, tag)["data/feedback"], row.data_version}
        data |= {version.tags["data_version"], *version.data}
        assert len(data) == 1
        # The partitions: inputs of the tag and of the ledger, manifest, bytes.
        assert row.inputs is not None
        assert json.loads(row.inputs)["partitions"] == inputs["partitions"]
        for name, part in inputs["partitions"].items():
            assert manifest[f"data/feedback/{name}"] == part["sha256"]
            assert len(list(jsonl.read(clone / "data/feedback" / name))) == part["rows"]
        # DVC's lists name the files that the manifest names, no more and no less.
        assert objects.published(played.places, tag).keys() == manifest.keys()
        commit = git.git("rev-parse", f"{tag}^{{commit}}", cwd=played.root)
        assert row.commit == version.tags["commit"] == commit


def test_without_mlflow_it_says_so_and_does_not_fail(copied: Played) -> None:
    with _away(copied.places.state / "mlflow"), copied.ledger() as ledger:
        found = verify(copied.places, ledger)
        assert not (copied.places.state / "mlflow").exists()
    assert found.findings == ()
    assert "there is no MLflow at sqlite" in found.notes[0]


@contextmanager
def _away(folder: Path) -> Iterator[None]:
    aside = folder.with_name("aside")
    folder.rename(aside)
    try:
        yield
    finally:
        aside.rename(folder)
