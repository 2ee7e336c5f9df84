"""A person is forgotten in a checkout that has played a round: every byte is searched."""

import csv
import json
import signal
import sqlite3
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roundhouse import feedback
from roundhouse.ledger import Erasures, Ledger
from roundhouse.locations import Locations
from roundhouse.params import load

pytestmark = pytest.mark.round

Command = Callable[..., subprocess.CompletedProcess[str]]

# Written backwards: the checkout holds this file too, and is searched for them.
RATER = "77-rehtaefllikq"[::-1]
ROW = "-wollahsllikq"[::-1]
#: Words that nobody else and no program says.
WORDS = tuple(
    word[::-1] for word in ("trowelbbiz", "tsiuqonram", "enavrednulp", "ebmocretxo", "elbbirghsuh")
)


def said(name: str) -> str:
    """A sentence of the person's own."""
    return f"My {name} told the {WORDS[0]} that {WORDS[1]} and {WORDS[2]} never meet at noon."


def person(split: Any) -> Iterator[dict[str, Any]]:
    """Rows of every kind, on prompts of every side, the evaluation's too."""
    common = {"rater": RATER, "region": "north", "domain": "legal"}
    sides = set()
    for number in range(60):
        prompt = f"What does the {WORDS[3]} of case {number} say about {WORDS[4]} in old wills?"
        side = feedback.side(feedback.prompt_key({"prompt": prompt}), split)
        if side in sides:
            continue
        sides.add(side)
        kinds: dict[str, dict[str, Any]] = {
            "comparison": {"responses": [said("left"), said("right")], "choice": 1},
            "rating": {"response": said("rated"), "score": 2, "scale": [1, 5]},
            "correction": {"response": said("wrong"), "correction": said("right one")},
            "demonstration": {"response": said("shown")},
            "flag": {"response": said("bad"), "reason": f"harms every {WORDS[0]} here"},
        }
        for kind, fields in kinds.items():
            at = f"2026-01-{len(sides):02d}T10:00:00Z"
            row = {"id": f"{ROW}{side}-{kind}", "kind": kind, "prompt": prompt, "created_at": at}
            yield row | common | fields
    assert sides == {"train", "judge", "eval"}


def jsonl_file(folder: Path, split: Any) -> Path:
    """The person's rows, and lines that are quarantined: an unknown field, no JSON, a taken id."""
    rows = list(person(split))
    path = folder / f"export_{RATER}.jsonl"
    lines = [json.dumps(row) for row in rows]
    lines += [json.dumps(rows[0] | {"id": f"{ROW}odd", "mood": said("mood")})]
    lines += [json.dumps(rows[1])[:-9], json.dumps(rows[0] | {"prompt": said("again")})]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def csv_file(folder: Path) -> Path:
    """A mapped table: a good row and one whose score lies outside its scale."""
    path = folder / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["nr", "question", "answer", "stars", "annotator", "at"])
        for number, score in ((f"{ROW}c1", 3), (f"{ROW}c2", 99)):
            asked, told = f"Is a {WORDS[3]} a {number}?", said(number)
            table.writerow([number, asked, told, score, RATER, "2026-01-09T10:00:00Z"])
    return path


def ingest(roundhouse: Command, root: Path, folder: Path) -> list[dict[str, Any]]:
    """Both files come in; what `ingest --json` says of each."""
    split = load(root / "params.yaml").split
    maps = ["id=nr", "prompt=question", "response=answer", "score=stars", "rater=annotator"]
    table = ["ingest", str(csv_file(folder)), "--format", "csv", "--json", "--set", "kind=rating"]
    table += ["--set", "scale=1,5", "--map", "created_at=at"]
    table += [part for name in maps for part in ("--map", name)]
    lines = ["ingest", str(jsonl_file(folder, split)), "--format", "jsonl", "--json"]
    return [said_json(roundhouse(root, *command)) for command in (lines, table)]


def said_json(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    """What a command printed."""
    assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout)


def traces(root: Path) -> list[str]:
    """Every place below a checkout that has a word, an id or the name of the person."""
    names = (*WORDS, RATER, ROW)
    found = []
    for where, data in everything(root):
        lower = data.lower()
        found += [f"{where}: {name}" for name in names if name.encode() in lower]
    return found


def everything(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file as it lies there, git's objects unpacked, and databases table by table too."""
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data, where = path.read_bytes(), str(path.relative_to(root))
        yield where, where.encode() + b"\n" + data
        if data.startswith(b"SQLite format 3"):
            yield from tables(path)
        if "objects" in path.parts and data[:1] == b"\x78":
            yield f"{where} unpacked", zlib.decompress(data)
    for folder in sorted(root.rglob(".git")):
        command = ["git", "cat-file", "--batch", "--batch-all-objects"]
        yield (
            f"{folder} all objects",
            subprocess.run(command, cwd=folder.parent, check=True, capture_output=True).stdout,
        )


def tables(path: Path) -> Iterator[tuple[str, bytes]]:
    """A database's rows as text."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.text_factory = bytes
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in names:
        try:
            rows = connection.execute(f'SELECT * FROM "{name.decode()}"').fetchall()
        except sqlite3.OperationalError:
            # A virtual table of an extension that is not loaded here; its bytes are read above.
            continue
        yield f"{path.name} {name.decode()}", repr(rows).encode()
    connection.close()


@pytest.fixture(scope="module")
def forgotten(
    make_checkout: Callable[..., Path],
    roundhouse: Command,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    """A round was played with the person's rows; the person was forgotten, with a kill between."""
    root = make_checkout()
    first, second = ingest(roundhouse, root, tmp_path_factory.mktemp("exports"))
    assert (first["accepted"], first["quarantined"]) == (15, 3)
    assert (second["accepted"], second["quarantined"]) == (1, 1)
    done = roundhouse(root, "raters", "set", RATER, "watch", "--why", f"{RATER} was tired")
    assert done.returncode == 0, done.stderr
    assert roundhouse(root, "round").returncode == 0
    places = [where for where in traces(root) if "/objects/" in where or ".git" in where]
    assert not places, "no word of a person reaches git"
    found = {where.split(":")[0].split("/")[0] for where in traces(root)}
    assert {"state", "rounds"} <= found, "the search finds what is there"
    words = ("forget", "rater", RATER, "--why", f"{RATER} asked on the phone", "--json")
    done = roundhouse(root, *words, ROUNDHOUSE_FAIL="forget.stores=kill")
    assert done.returncode == -signal.SIGKILL
    unfinished = said_json(roundhouse(root, "audit", "verify", "--json"), code=1)
    assert [f["what"] for f in unfinished["findings"]] == ["request 1 to erase"]
    (request,) = said_json(roundhouse(root, *words))
    return root, request


def test_nothing_of_the_person_is_left(forgotten: tuple[Path, dict[str, Any]]) -> None:
    root, request = forgotten
    assert traces(root) == []
    assert request["finished_at"]
    assert request["why"] == "[erased] asked on the phone"


def test_the_request_says_what_was_trained_on_the_rows(
    forgotten: tuple[Path, dict[str, Any]],
) -> None:
    _, request = forgotten
    report = request["report"]
    assert (report["rows"], report["quarantined"]) == (16, 4)
    (made,) = report["rounds"]
    assert (made["round"], made["version"], made["rows"]) == (1, "1", 16)
    assert 0 < made["weight"] <= 1
    assert {"sft", "reward"} & set(made["used"])
    assert report["look_at"] == []


def test_the_record_still_holds(
    forgotten: tuple[Path, dict[str, Any]], roundhouse: Command
) -> None:
    root, request = forgotten
    found = said_json(roundhouse(root, "audit", "verify", "--json"))
    assert found["findings"] == []
    assert {one["request"] for one in found["erased"]} == {request["id"]}
    assert "data/feedback/0001.jsonl" in {one["what"] for one in found["erased"]}
    raters = said_json(roundhouse(root, "raters", "--json"))
    assert RATER not in {one["rater"] for one in raters}
    assert len(raters) > 10
    said_json(roundhouse(root, "audit", "round", "1", "--json"))
    assert roundhouse(root, "audit", "rater", RATER).returncode == 2


def test_said_again_it_is_done_already(
    forgotten: tuple[Path, dict[str, Any]], roundhouse: Command
) -> None:
    root, request = forgotten
    again = said_json(roundhouse(root, "forget", "rater", RATER, "--why", "again", "--json"))
    assert again == [request]
    said = roundhouse(root, "audit", "rater", RATER).stderr
    assert f"{RATER} was erased under request {request['id']}" in said


def test_the_old_export_is_refused(
    forgotten: tuple[Path, dict[str, Any]], roundhouse: Command, tmp_path: Path
) -> None:
    root, _ = forgotten
    for counts in ingest(roundhouse, root, tmp_path):
        assert counts["received"] == counts["quarantined"]
        assert counts["reasons"] == {"forgotten": counts["received"]}
    with Ledger.open(Locations(root).ledger_url) as ledger:
        assert len(Erasures(ledger).all()) == 1
    assert traces(root) == []


def test_the_next_round_leaves_the_rows_out(
    forgotten: tuple[Path, dict[str, Any]], roundhouse: Command
) -> None:
    root, _ = forgotten
    record = said_json(roundhouse(root, "round", "--json"))
    assert record["round"] == 2
    assert record["decision"] in ("promoted", "held")
    assert traces(root) == []
    assert said_json(roundhouse(root, "audit", "verify", "--json"))["findings"] == []
    difference = said_json(roundhouse(root, "audit", "diff", "1", "2", "--json"))
    assert difference["partitions_altered"] == ["0001.jsonl"]
