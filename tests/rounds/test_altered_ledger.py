"""What somebody changed in a ledger is named, on two rounds without their stages."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roundhouse import cli, jsonl
from roundhouse.errors import DataError, UsageError
from roundhouse.feedback import KEY, content_hash, parse, rater_key
from roundhouse.ledger import Candidate, Ledger, schema
from roundhouse.ledger.append import next_chain, row_digest
from roundhouse.locations import Locations
from roundhouse.rounds import audit, forget, git, registered
from roundhouse.rounds.begin import Round
from roundhouse.rounds.shelf import Shelf
from roundhouse.rounds.verify import Finding, verify
from tests.rounds.conftest import open_round, publish_held

EXCLUDED = [{"check": "repeated", "id": f"{name}-1", "partition": 1} for name in ("ann", "bob")]
FILES = {
    **{f"out/raters/{name}.jsonl": b"" for name in ("demonstrations", "flags", "pairs", "unused")},
    "out/raters/raters.json": b"[]\n",
    "out/validate/excluded.jsonl": "".join(jsonl.dumps(one) + "\n" for one in EXCLUDED).encode(),
    "out/validate/figures.json": b'{"validate/excluded/repeated": 2}\n',
    "out/validate/report.json": b'{"blocked": null, "expectations": [], "success": true}\n',
}
#: All that the end of a round writes, as it is before.
OPEN = (
    "state = 'open', finished_at = NULL, decision = NULL, reasons = '[]', metrics = '{}', "
    'data_version = NULL, "commit" = NULL'
)


@pytest.fixture(scope="module")
def over(make_checkout: Callable[..., Path]) -> Iterator[Round]:
    """The second of two rounds that are over; people overruled a check and a rater."""
    places = Locations(make_checkout())
    with Ledger.open(places.ledger_url) as ledger:
        ledger.add_override(None, "ann", "watch", "hurries", kind="rater")
        _receive(ledger, 1)
        first = open_round(places, ledger, None)
        ledger.add_override(1, "balance", "accepted", "sorted by length")
        publish_held(replace(first, accept=(("balance", "sorted by length"),)), "win-rate", FILES)
        _receive(ledger, 2)
        second = open_round(places, ledger, "round-0001")
        publish_held(second, "kl", FILES)
        yield second


def _receive(ledger: Ledger, number: int) -> None:
    for rater in ("ann", "bob", "carl"):
        row: dict[str, Any] = {"id": f"{rater}-{number}", "kind": "demonstration", "rater": rater}
        row |= {"prompt": f"Asked by {rater} on day {number}", "response": f"{rater} says {number}"}
        row |= {"created_at": "2026-01-01T00:00:00Z"}
        batch = ledger.start_batch("f", "jsonl")
        ledger.append(batch, [Candidate(1, parse(row, datetime.now(UTC)), b"")])


@contextmanager
def _database(over: Round) -> Iterator[sqlite3.Connection]:
    """The ledger's database, put back afterwards."""
    file = over.places.state / "ledger.db"
    with closing(sqlite3.connect(file)) as found, closing(sqlite3.connect(":memory:")) as kept:
        found.backup(kept)
        try:
            yield found
        finally:
            kept.backup(found)


@contextmanager
def _altered(over: Round, *statements: str) -> Iterator[None]:
    with _database(over) as database:
        with database:
            for statement in statements:
                assert database.execute(statement).rowcount
        yield


@contextmanager
def _forged(over: Round) -> Iterator[None]:
    """Another text in the first row, with all that is computed from it made to agree."""
    with _database(over) as database:
        database.row_factory = sqlite3.Row
        chain = schema.GENESIS
        with database:
            for row in database.execute("SELECT * FROM feedback ORDER BY seq").fetchall():
                content = json.loads(row["row"])
                content |= {"response": "forged"} if row["seq"] == 1 else {}
                digest = row_digest(row["salt"], jsonl.dumps(content))
                chain = next_chain(chain, digest)
                values = (jsonl.dumps(content), content_hash(content), digest, chain, row["seq"])
                database.execute(
                    "UPDATE feedback SET row = ?, content_hash = ?, digest = ?, chain = ? "
                    "WHERE seq = ?",
                    values,
                )
            database.execute("UPDATE head SET chain = ?", (chain,))
        yield


def _findings(over: Round) -> tuple[Finding, ...]:
    with Ledger.open(over.places.ledger_url) as ledger:
        return verify(over.places, ledger).findings


def _ann(over: Round) -> str:
    return f"rater {rater_key('ann', over.settings.split.salt)[:KEY]}"


@pytest.mark.parametrize(
    ("statement", "number", "what", "problem"),
    [
        ("UPDATE feedback SET erasure = 99 WHERE seq = 3", 0, "ledger", "99, that nobody made"),
        ("UPDATE round SET state = 'blocked'", 1, "round-0001", "has it as blocked"),
        ("UPDATE round SET state = 'open'", 2, "round-0002", "has it as open"),
        (
            "UPDATE round SET state = 'blocked', data_version = 'x'",
            2, "data/feedback.dvc", "the ledger x",
        ),
        (
            "UPDATE round SET state = 'abandoned', metrics = '{}'",
            1, "figure validate/excluded/repeated", "None in the ledger, 2 was published",
        ),
        ("UPDATE round SET decision = 'promoted'", 1, "decision", "says promoted, its decision"),
        ("UPDATE round SET decision = NULL", 2, "decision", "says None, its decision row held"),
        ("UPDATE round SET reasons = '[]'", 1, "reasons", "says none, its decision row win-rate"),
        ("UPDATE round SET inputs = NULL", 1, "inputs.json", "missing"),
        ("UPDATE round SET inputs = '{}'", 1, "inputs.json", "differs"),
        ("UPDATE round SET watermark = 2", 2, "watermark", "2 in the ledger, 6 in inputs.json"),
        ("DELETE FROM override", 1, "check balance", "nobody's word accepts it"),
        ("UPDATE override SET round = 2", 2, "check balance", "a word that the round had not"),
        ("DELETE FROM override", 1, "rater", "watch by a person's word of"),
        ("UPDATE override SET state = 'ok' WHERE kind = 'rater'", 2, "rater", "watch by a person"),
        (
            "UPDATE override SET subject = 'bob' WHERE kind = 'rater'",
            2, "rater", "which is not there",
        ),
        (
            "UPDATE override SET subject = 'erased-1' WHERE kind = 'rater'",
            2, "rater", "which is not there",
        ),
        ("DELETE FROM decision", 2, "decision", "there is none, though the round is published"),
    ],
)  # fmt: skip
def test_a_changed_row_is_named(
    over: Round, statement: str, number: int, what: str, problem: str
) -> None:
    what = _ann(over) if what == "rater" else what
    with _altered(over, statement):
        found = _findings(over)
    assert any((one.round, one.what) == (number, what) and problem in one.problem for one in found)


def test_a_forged_row_whose_chain_was_made_to_agree_is_not_what_rounds_were_made_from(
    over: Round,
) -> None:
    with _forged(over):
        found = _findings(over)
    text = "at row {} it is not the one that the round was made from"
    assert found == tuple(
        Finding(number, "chain", "ledger", text.format(3 * number)) for number in (1, 2)
    )


#: What stands in a file that no reader can take, and what is said of it.
UNREADABLE = [
    ("manifest.json", "{", "Invalid JSON"),
    ("manifest.json", '["out"]', "Input should be an object"),
    ("manifest.json", '{"out/a": 1}', "out/a: Input should be a valid string"),
    ("inputs.json", "\udcff", ""),
    ("inputs.json", "{}", "round: Field required"),
    ("dvc.lock", "stages: [", "while parsing"),
    ("dvc.lock", "stages: {sft: {}}", "KeyError: 'outs'"),
    ("data/feedback.dvc", "outs: none", "ValueError"),
    ("decision.json", "[" * 100_000, ""),
    ("decision.json", '{"outcome": "held", "reasons": []}', "KeyError: 'bound'"),
    ("decision.json", '{"outcome": "held", "reasons": [], "bound": "x"}', "valid dictionary"),
    ("params.yaml", "\t", "found character"),
    ("params.yaml", "split: {}", "KeyError: 'salt'"),
]


@pytest.mark.parametrize(("file", "text", "reason"), UNREADABLE)
def test_a_file_that_cannot_be_read_is_named_and_hides_no_other_round(
    over: Round,
    file: str,
    text: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(over.places.root)
    with (
        _committed(over, file, text),
        _altered(over, "UPDATE round SET reasons = '[]' WHERE number = 2"),
    ):
        assert cli.main(["audit", "verify", "--json"]) == 1
        found = json.loads(capsys.readouterr().out)["findings"]
        assert cli.main(["audit", "verify"]) == 1
    said = [one["problem"] for one in found if one["what"] == "round-0001"]
    assert said[-1].startswith(f"round-0001: {file} cannot be read (") and reason in said[-1]
    assert "\n" not in said[-1] and len(said[-1]) < 350
    assert (2, "reasons") in {(one["round"], one["what"]) for one in found}


def test_inputs_of_a_newer_version_say_what_to_do(over: Round) -> None:
    inputs = json.loads(git.show(over.places.root, "round-0001", "inputs.json") or "")
    with (
        _committed(over, "inputs.json", json.dumps(inputs | {"newer": 1})),
        pytest.raises(DataError) as caught,
    ):
        assert over.previous_inputs
    assert str(caught.value) == (
        "round-0001: inputs.json cannot be read (newer: Extra inputs are not permitted): a newer "
        "version may have written it: bring this checkout to the newest commit"
    )


def test_a_round_without_readable_settings_keeps_no_other_from_the_registry(over: Round) -> None:
    shelf = Shelf(over.places)
    assert registered._names(shelf, {1, 2}) == {over.settings.publish.model_name: {1, 2}}
    with _committed(over, "params.yaml", "- publish"):
        assert registered._names(shelf, {1, 2}) == {over.settings.publish.model_name: {2}}


def test_two_models_with_one_version_are_told_apart_by_name_and_round(over: Round) -> None:
    params = git.show(over.places.root, "round-0001", "params.yaml") or ""
    named = params.replace("model_name: roundhouse", "model_name: earlier")
    released = "UPDATE decision SET version = '1', action = 'promote', champion_after = '1'"
    champion = "UPDATE champion SET version = '1', round = 2, decision = 2"
    with _committed(over, "params.yaml", named), _altered(over, released, champion):
        with pytest.raises(UsageError) as caught:
            audit.audit_model(over.places, over.ledger, "1")
        first, second = (
            audit.audit_model(over.places, over.ledger, f"{name}/1")
            for name in ("earlier", "roundhouse")
        )
        with pytest.raises(UsageError, match=r"^no round published version other/1: see"):
            audit.audit_model(over.places, over.ledger, "other/1")
    assert str(caught.value) == (
        "version 1 is that of earlier/1 (round 1), roundhouse/1 (round 2): give the name with it, "
        "or see `roundhouse audit round N`"
    )
    assert [(one["round"], one["version"]) for one in (first, second)] == [(1, "1"), (2, "1")]
    assert [one["champion"] for one in (first, second)] == [False, True]
    assert [[told["round"] for told in one["history"]] for one in (first, second)] == [[1, 2], [2]]


@contextmanager
def _committed(over: Round, file: str, text: str) -> Iterator[None]:
    """Moves the tag of round 1 to a commit that differs in one file."""
    root = over.places.root
    tag = git.git("rev-parse", "round-0001", cwd=root)
    tree = _tree_with(root, "round-0001:", file, text)
    commit = git.git("commit-tree", tree, "-p", "round-0001^1", "-m", "Round 1", cwd=root)
    git.git("update-ref", "refs/tags/round-0001", commit, cwd=root)
    try:
        yield
    finally:
        git.git("update-ref", "refs/tags/round-0001", tag, cwd=root)


def _tree_with(root: Path, tree: str, file: str, text: str) -> str:
    name, _, rest = file.partition("/")
    if rest:
        entry = f"040000 tree {_tree_with(root, f'{tree}{name}/', rest, text)}"
    else:
        changed = root.with_name("changed")
        changed.write_text(text, encoding="utf-8", errors="surrogateescape")
        entry = f"100644 blob {git.git('hash-object', '-w', str(changed), cwd=root)}"
    listed = git.git("ls-tree", tree.removesuffix("/"), cwd=root).splitlines()
    entries = [one for one in listed if not one.endswith(f"\t{name}")]
    lines = "\n".join([*entries, f"{entry}\t{name}"])
    return git.git("mktree", cwd=root, stdin=f"{lines}\n")


@pytest.mark.parametrize("change", ["reasons = reasons", "state = 'blocked', \"commit\" = NULL"])
def test_a_tag_that_is_gone_is_named(over: Round, change: str) -> None:
    root = over.places.root
    tag = git.git("rev-parse", "round-0001", cwd=root)
    git.git("tag", "--delete", "round-0001", cwd=root)
    try:
        with _altered(over, f"UPDATE round SET {change} WHERE number = 1"):
            assert _findings(over) == (Finding(1, "round-0001", "git", "missing"),)
            # Another machine may have published it, and the remote that has it is away.
            found = verify(over.places, over.ledger, all_rounds=False)
            assert found.findings == () and "round-0001, which is not here" in found.notes[0]
    finally:
        git.git("update-ref", "refs/tags/round-0001", tag, cwd=root)


def test_a_round_that_is_not_over_is_not_held_against_the_ledger(over: Round) -> None:
    """It died before its decision, or between that and its end; others were never published."""
    assert _findings(over) == (), "both rounds are over, and nothing was altered"
    wiped = f"UPDATE round SET {OPEN} WHERE number = 2"
    with _altered(over, wiped):
        assert _findings(over) == ()
    with _altered(over, wiped, "DELETE FROM decision WHERE round = 2"):
        assert _findings(over) == ()
    for state in ("open", "blocked", "abandoned"):
        another = f"INSERT INTO round SELECT 3, '{state}', started_at, NULL, NULL, NULL, '[]', "
        with _altered(
            over, another + "'{}', '', '', '{}', NULL, 1, NULL FROM round WHERE number = 1"
        ):
            assert _findings(over) == ()


def test_an_erasure_leaves_chain_words_and_counts(over: Round) -> None:
    """Last in the file: what is forgotten stays so."""
    before = audit.audit_round(over.places, over.ledger, 1)["rows"]
    assert before == {"accepted": 3, "used": 1, "excluded": {"repeated": 2}, "erased": 0}
    forget.forget_rater(over.places, "ann", "asked by letter")
    assert _findings(over) == ()
    rows = audit.audit_round(over.places, over.ledger, 1)["rows"]
    assert rows == before | {"erased": 1}
    with _forged_word(over):
        assert {one.what for one in _findings(over)} == {_ann(over)}


def _forged_word(over: Round) -> Any:
    return _altered(over, "UPDATE override SET state = 'ok' WHERE subject = 'erased-1'")
