"""`plan` at the terminal: with nothing, with past rounds, and what it refuses."""

import hashlib
import io
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from roundhouse import cli
from roundhouse.feedback import parse
from roundhouse.ledger import Candidate, Ledger
from roundhouse.locations import Locations
from roundhouse.raters import choosing
from roundhouse.raters.table import Item
from roundhouse.rounds import past, usage
from roundhouse.rounds.stores import Folder
from tests.conftest import PROJECT

SMALL = ("--ratings", "600", "--raters", "6", "--replicates", "1")
#: Pairs that trained, and accuracy, of three rounds.
CURVE = ((1000, 0.66), (2000, 0.70), (4000, 0.73))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with settings and nothing else, in which the command is called."""
    for name in ("params.yaml", ".dvc/config", ".gitignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / name, tmp_path / name)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "params.yaml")
    git(tmp_path, "commit", "-qm", "Start")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    name = ("-c", "user.name=T", "-c", "user.email=t@localhost")
    subprocess.run(["git", *name, *arguments], cwd=root, check=True, capture_output=True)


def vote(number: int, rater: str, seconds: float | None) -> dict[str, Any]:
    row = {
        "kind": "comparison", "prompt": f"Why {number}?", "responses": ["So.", "No."],
        "choice": 0, "rater": rater, "created_at": "2026-01-31T16:59:52Z",
    }  # fmt: skip
    row |= {} if seconds is None else {"seconds": seconds}
    return parse(row, datetime.now(UTC))


def play(
    root: Path,
    ledger: Ledger,
    rows: list[dict[str, Any]],
    pairs: int,
    accuracy: float,
    doubtful: list[dict[str, Any]] | None = None,
    labelled: list[dict[str, Any]] | None = None,
) -> int:
    """A published round: rows in the ledger, figures, a tag, doubtful and labelled pairs."""
    batch = ledger.start_batch("f", "jsonl")
    ledger.append(batch, [Candidate(k, row, b"") for k, row in enumerate(rows)])
    number = ledger.take_round_number()
    figures = {"pairs": pairs, "accuracy": accuracy}
    figures |= {"accuracy_low": accuracy - 0.0196, "accuracy_high": accuracy + 0.0196}
    ledger.finish_round(
        number,
        state="published",
        watermark=ledger.watermark(),
        metrics={f"reward/{name}": value for name, value in figures.items()},
    )
    files = {
        past.UNCERTAIN: DOUBTFUL if doubtful is None else doubtful,
        usage.PAIRS: LABELLED if labelled is None else labelled,
    }
    found = {name: publish(root, name, lines) for name, lines in files.items()}
    outs = {name.split("/")[1]: {"cmd": "x", "outs": [out]} for name, (out, _) in found.items()}
    lock = {"schema": "2.0", "stages": outs}
    manifest = {name: sha256 for name, (_, sha256) in found.items()}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    (root / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    git(root, "add", "params.yaml", "dvc.lock", "manifest.json")
    git(root, "commit", "--allow-empty", "-qm", f"Round {number}")
    git(root, "tag", f"round-{number:04d}")
    return number


def publish(root: Path, name: str, rows: list[dict[str, Any]]) -> tuple[dict[str, str], str]:
    """A folder with one file in the cache: what dvc.lock says of it, and the file's SHA-256."""
    cache = Folder(root / "state" / "dvc" / "cache")
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file = hashlib.md5(lines, usedforsecurity=False).hexdigest()
    listing = json.dumps([{"md5": file, "relpath": Path(name).name}]).encode()
    folder = hashlib.md5(listing, usedforsecurity=False).hexdigest() + ".dir"
    cache.put(file, io.BytesIO(lines))
    cache.put(folder, io.BytesIO(listing))
    return {"path": str(Path(name).parent), "md5": folder}, hashlib.sha256(lines).hexdigest()


#: Of each next pair the scores are further apart and the members of one mind.
DOUBTFUL: list[dict[str, Any]] = [
    {
        "prompt": [{"role": "user", "content": f"Why {k}?"}], "responses": [f"So {k}.", "No."],
        "scores": [0.1 * k, 0.0], "disagreement": [0.0, 0.0], "uncertainty": 1.0 / (k + 1),
    }
    for k in range(40)
]  # fmt: skip


#: Held-out pairs know words of the doubtful ones that the training pairs do not.
LABELLED = [
    {
        "prompt": [{"role": "user", "content": f"How {k}?"}], "a": said, "b": "No way.",
        "p": 0.7, "weight": 1.0, "side": side,
    }
    for k in range(30)
    for side, said in (("train", "So it is."), ("eval", f"So {k + 10}."))
]  # fmt: skip
TRAINED = [row for row in LABELLED if row["side"] == "train"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert cli.main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("checkout")
def test_before_the_first_rating_it_plans_and_says_what_it_cannot_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = run(capsys, *SMALL, "--wage", "20")
    (plan,) = found["plans"]
    assert plan["ratings"] == 600 and plan["each"] == 100
    assert plan["cost"]["hours"] == pytest.approx(600 * 37 / 3600)
    assert plan["cost"]["money"] == pytest.approx(20 * 600 * 37 / 3600)
    assert plan["accuracy"]["value"] is None
    assert found["seconds"] == {"mean": 37.0, "median": None, "rows": 0, "source": "default"}
    assert [one["case"] for one in plan["power"]][-1] == "2 of 6 copy each other"

    assert cli.main(["plan", *SMALL[:-1], "0"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "37 seconds a comparison: the default" in text
    assert "three published rounds with different numbers of pairs, there are 0" in text


@pytest.mark.usefixtures("checkout")
def test_plans_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--ratings", "600", "--raters", "6", "--replicates", "0")
    plans = run(capsys, *small, "--overlap", "0", "1", "--together", "2", "3")["plans"]
    assert [(plan["shared"] / plan["pairs"], plan["together"]) for plan in plans] == [
        (0, 2), (0, 3), (1, 2), (1, 3)
    ]  # fmt: skip
    assert plans[0]["pairs"] > plans[2]["pairs"] > plans[3]["pairs"]
    assert cli.main(["plan", *small, "--overlap", "0", "1"]) == 0
    text = capsys.readouterr().out
    assert "0% seen by 3" in text and "100% seen by 3" in text and "found:" not in text


def test_past_rounds_give_raters_pace_and_a_curve(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger.open(Locations(checkout).ledger_url) as ledger:
        play(checkout, ledger, [vote(k, f"r{k % 9}", 20.0) for k in range(30)], *CURVE[0])
        play(checkout, ledger, [vote(k, f"r{k % 9}", None) for k in range(30, 60)], *CURVE[1])
        late = [vote(k, f"r{k % 5}", 30.0) for k in range(60, 90)]
        play(checkout, ledger, [*late, vote(90, "r0", 9000.0)], *CURVE[2])
        # Published is what has a tag.
        ledger.record_round(ledger.take_round_number(), metrics={"reward/pairs": 1.0})
    found = run(capsys, "--hours", "10", "--replicates", "0")
    assert found["raters"] == {"count": 5, "source": "round 3"}
    # 30 of 20 s, 30 of 30 s and a break, which counts for ten medians.
    mean = (30 * 20 + 30 * 30 + 300) / 61
    assert found["seconds"] == {
        "mean": pytest.approx(mean), "median": 30.0, "rows": 61, "source": "ledger"
    }  # fmt: skip
    assert found["plans"][0]["ratings"] == int(36_000 / mean) // 5 * 5
    assert [(one["pairs"], one["accuracy"]) for one in found["rounds"]] == list(CURVE)
    assert found["rounds"][0]["error"] == pytest.approx(0.01, rel=1e-3)
    then = found["plans"][0]["accuracy"]
    # A quarter of the pairs teaches the judge or measures.
    assert then["pairs_then"] == 4000 + round(0.75 * found["plans"][0]["pairs"])
    assert 0.71 < then["low"] < then["value"] < then["high"] < 0.80

    assert cli.main(["plan", "--hours", "10", "--replicates", "0"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "by 5 raters (as in round 3)" in text
    assert "the curve of 3 rounds, the last 0.730 with 4,000 pairs" in text


def test_pairs_are_chosen_from_the_newest_list(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", "--choose", "5", "--out", "x.jsonl"]) == 2
    said = capsys.readouterr().err
    assert "has an uncertain.jsonl to" in said and "reward.members of 2 or more" in said
    with Ledger.open(Locations(checkout).ledger_url) as ledger:
        play(checkout, ledger, [vote(0, "r0", None)], 1, 0.5)
    for method in ("margin", "disagreement", "information", "random"):
        out = f"{method}.jsonl"
        found = run(capsys, "--choose", "10", "--method", method, "--out", out)
        rows = [json.loads(line) for line in (checkout / out).read_text().splitlines()]
        assert len(rows) == found["pairs"] == 10
        drawn = [row["prompt"] for row in rows if row["chosen"] == "random"]
        assert len(drawn) == found["random"] == (10 if method == "random" else 2)
        assert {row["policy"] for row in rows} == {"round-0001"}
        if method in ("margin", "disagreement"):
            # Both rank the pairs as they stand in the list.
            best = [pair for pair in DOUBTFUL if pair["prompt"] not in drawn][:8]
            chosen = [row for row in rows if row["chosen"] == method]
            assert asked(chosen) == asked(best)
    run(capsys, "--choose", "10", "--method", "random", "--out", "new/folder/x.jsonl")
    assert (checkout / "new/folder/x.jsonl").exists()
    assert cli.main(["plan", "--choose", "10", "--out", "random.jsonl/x.jsonl"]) == 2
    said = capsys.readouterr().err
    assert "random.jsonl/x.jsonl cannot be written" in said and len(said.splitlines()) == 1
    assert cli.main(["plan", "--choose", "10", "--out", "new/folder"]) == 2
    assert "new/folder cannot be written (Is a directory)" in capsys.readouterr().err
    assert not (checkout / "new" / "folder.part").exists()
    answer = {"choice": 1, "rater": "r1", "created_at": "2026-01-31T16:59:52Z"}
    text = "".join(json.dumps(row | answer) + "\n" for row in rows)
    (checkout / "labelled.jsonl").write_text(text, encoding="utf-8")
    labelled = ("labelled.jsonl", "--format", "jsonl", "--map", "choice=choice")
    assert cli.main(["ingest", *labelled, "--set", "kind=comparison"]) == 0
    with Ledger.open(Locations(checkout).ledger_url) as ledger:
        taken = [row for row in ledger.rows() if row.get("policy") == "round-0001"]
    assert [row["responses"] for row in taken] == [row["responses"] for row in rows]


def asked(rows: list[dict[str, Any]]) -> set[str]:
    return {row["prompt"][0]["content"] for row in rows}


def test_telling_pairs_are_what_the_training_pairs_leave_open(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = Locations(checkout)
    with Ledger.open(places.ledger_url) as ledger:
        number = play(checkout, ledger, [vote(0, "r0", None)], 1, 0.5)
    assert past.labelled(places, number) == TRAINED
    assert run(capsys, "--choose", "10", "--out", "x.jsonl")["method"] == "information"
    rows = [json.loads(line) for line in (checkout / "x.jsonl").read_text().splitlines()]
    assert asked(rows) == asked(told_by(TRAINED))
    # Held-out pairs would have told something else.
    assert asked(rows) != asked(told_by(LABELLED))


def told_by(labelled: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ten doubtful pairs, chosen by these labelled ones."""
    items = [
        Item(row["prompt"], row["responses"][0], row["responses"][1], "", "") for row in DOUBTFUL
    ]
    taught = [Item(row["prompt"], row["a"], row["b"], "", "") for row in labelled]
    p, weight = (np.array([row[name] for row in labelled]) for name in ("p", "weight"))
    margin, features, known = choosing.by_text(items, taught, p, weight)
    picked = choosing.choose("information", 10, 1, margin, None, features, known)
    return [DOUBTFUL[k] for k in picked]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_few_pairs_and_one_label_are_enough_to_choose(
    count: int, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger.open(Locations(checkout).ledger_url) as ledger:
        play(checkout, ledger, [vote(0, "r0", None)], 1, 0.5, DOUBTFUL[:count], TRAINED[:1])
    assert run(capsys, "--choose", "10", "--out", "x.jsonl")["pairs"] == count
    rows = [json.loads(line) for line in (checkout / "x.jsonl").read_text().splitlines()]
    assert asked(rows) == asked(DOUBTFUL[:count])


METHODS = ("random", "margin", "disagreement", "information")


@pytest.mark.parametrize(
    ("doubtful", "labelled", "refused", "says"),
    [
        ([], TRAINED, METHODS, "round 1 lists no pair to choose from: choose after another"),
        (DOUBTFUL, [], METHODS[3:], "round 1 has no labelled pair, which --method information"),
    ],
)
def test_where_there_is_nothing_to_choose_from_or_by_one_line_says_what_to_do(
    doubtful: list[dict[str, Any]],
    labelled: list[dict[str, Any]],
    refused: tuple[str, ...],
    says: str,
    checkout: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Ledger.open(Locations(checkout).ledger_url) as ledger:
        play(checkout, ledger, [vote(0, "r0", None)], 1, 0.5, doubtful, labelled)
    for method in METHODS:
        out = checkout / f"{method}.jsonl"
        code = cli.main(["plan", "--choose", "5", "--method", method, "--out", str(out)])
        assert (code, out.exists()) == ((2, False) if method in refused else (0, True))
        said = capsys.readouterr().err
        if method in refused:
            assert said.startswith(f"roundhouse: {says}") and said.count("\n") == 1


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--raters", "5"), "say how much: --ratings, --hours, or --money with --wage"),
        (("--ratings", "100"), "no published round tells how many raters there are"),
        (("--money", "100", "--raters", "5"), "--money needs --wage"),
        (("--ratings", "100", "--raters", "2"), "a shared pair is seen by 3"),
        (("--ratings", "2", "--raters", "5"), "2 ratings for 5 raters: at least one each"),
        (("--ratings", "90000", "--raters", "5"), "at most 10,000, ask more people"),
        (("--ratings", "100", "--raters", "5", "--overlap", "1.5"), "from 0 to 1"),
        (("--ratings", "100", "--raters", "5", "--overlap", "nan"), "from 0 to 1"),
        (("--ratings", "100", "--raters", "5", "--together", "1"), "seen by 2 or more"),
        (("--choose", "5"), "--choose needs --out FILE"),
        (("--choose", "0", "--out", "x.jsonl"), "--choose 0: there is nothing to choose"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", *arguments]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.startswith("roundhouse: ") and captured.err.count("\n") == 1
    assert says in captured.err


@pytest.mark.parametrize(
    "arguments",
    [("--hours", "nan"), ("--hours", "0"), ("--money", "x"), ("--hours", "1", "--ratings", "1")],
)
def test_amounts_are_numbers_above_0(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", *arguments])
    assert ended.value.code == 2
    assert "above 0" in (said := capsys.readouterr().err) or "not allowed with" in said
