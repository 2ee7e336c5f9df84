"""UKPConvArg1 as canonical feedback rows: real votes on which of two arguments convinces more.

    python examples/convincing_arguments/convert.py --data DIR --out FOLDER

DIR holds ratings.csv.gz (one vote a line) and pairs.csv.gz (one pair of arguments a line, with both
texts). FOLDER gets votes.jsonl, one comparison for every vote, and demonstrations.jsonl, the
arguments that won most (`best`). What a row's fields mean here stands in README.md.
"""

import argparse
import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse import jsonl

Line = Mapping[str, str]
Row = dict[str, Any]

SOURCE = "UKPConvArg1"
CHOICES: dict[str, int | str] = {"a1": 0, "a2": 1, "equal": "tie"}

#: An argument is a demonstration if it is in this share of its side by votes won ...
BEST_SHARE = 1 / 3
#: ... and was voted on at least this often.
FEWEST_VOTES = 30


class Side(NamedTuple):
    """One side of a debate, each as the source names it."""

    debate: str
    claim: str

    @property
    def prompt(self) -> str:
        """What an argument answers, in words."""
        debate, claim = (name.replace("-", " ") for name in self)
        return f"{debate.capitalize()}? Argue for: {claim}."


def side(topic: str) -> Side:
    """The debate and the side that a topic's id names.

    >>> side("is-the-school-uniform-a-good-or-bad-idea-_good").prompt
    'Is the school uniform a good or bad idea? Argue for: good.'
    """
    debate, _, claim = topic.rpartition("_")
    return Side(debate.strip("-"), claim.strip("-"))


def votes(ratings: Iterable[Line], pairs: Iterable[Line]) -> Iterator[Row]:
    """One comparison for every vote, in the order in which they were given.

    Raises:
        SystemExit: a vote is on a pair that has no texts, or its value is unknown.
    """
    ratings = sorted(ratings, key=lambda vote: (vote["submit_time"], vote["pair_id"]))
    texts = {pair["pair_id"]: [pair["text1"], pair["text2"]] for pair in pairs}
    at_once = Counter(map(_assignment, ratings))
    for vote in ratings:
        if vote["pair_id"] not in texts or vote["value"] not in CHOICES:
            raise SystemExit(f"ratings: no such pair or value: {vote['pair_id']}, {vote['value']}")
        topic = side(vote["topic"])
        row: Row = {
            "id": f"{vote['pair_id']}/{vote['rater']}",
            "kind": "comparison",
            "prompt": topic.prompt,
            "responses": texts[vote["pair_id"]],
            "choice": CHOICES[vote["value"]],
            "rater": vote["rater"],
            "created_at": vote["submit_time"],
            "seconds": round(_seconds(vote) / at_once[_assignment(vote)], 1),
            "group": topic.debate,
            "domain": topic.debate,
            "source": SOURCE,
        }
        yield row | ({"comment": vote["reason"]} if vote["reason"].strip() else {})


class Tally(NamedTuple):
    """What the votes say of one argument: a tie is half a win."""

    won: float
    votes: int
    last: str

    @property
    def share(self) -> float:
        """Share of its votes that it won."""
        return self.won / self.votes


def demonstrations(rows: Iterable[Row]) -> Iterator[Row]:
    """The arguments that raters preferred, as answers worth imitating."""
    by_prompt: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_prompt[row["prompt"]].append(row)
    for prompt, found in by_prompt.items():
        for text, tally in best(found):
            yield {
                "kind": "demonstration",
                "prompt": prompt,
                "response": text,
                "rater": "all-raters-together",
                "created_at": tally.last,
                "group": found[0]["group"],
                "domain": found[0]["domain"],
                "source": f"{SOURCE}, best third of its side by votes won",
                "comment": f"won {tally.won:g} of {tally.votes} votes, a tie counting half",
            }


def best(rows: Iterable[Row]) -> list[tuple[str, Tally]]:
    """The best third of one side's arguments by share of votes won, best first."""
    tallies: dict[str, Tally] = {}
    for row in rows:
        for place, text in enumerate(row["responses"]):
            won, count, last = tallies.get(text, Tally(0.0, 0, ""))
            won += 0.5 if row["choice"] == "tie" else float(row["choice"] == place)
            tallies[text] = Tally(won, count + 1, max(last, row["created_at"]))
    ranked = sorted(tallies.items(), key=lambda item: (-item[1].share, item[0]))
    chosen = ranked[: round(BEST_SHARE * len(ranked))]
    return [(text, tally) for text, tally in chosen if tally.votes >= FEWEST_VOTES]


def read(path: Path) -> list[Line]:
    """The lines of a gzipped CSV file by column name; every cell stays text."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise SystemExit(f"{path}: not found; README.md says where the data are") from None


def _assignment(vote: Line) -> tuple[str, ...]:
    """What a rater was given and sent back at once: one to three pairs, with one time for all."""
    return vote["rater"], vote["hit_id"], vote["accept_time"], vote["submit_time"]


def _seconds(vote: Line) -> float:
    started = datetime.fromisoformat(vote["accept_time"])
    return (datetime.fromisoformat(vote["submit_time"]) - started).total_seconds()


def main() -> None:
    """Reads the two files, writes the two files."""
    options = argparse.ArgumentParser(description="UKPConvArg1 as canonical feedback rows.")
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    chosen = options.parse_args()
    pairs = read(chosen.data / "pairs.csv.gz")
    rows = list(votes(read(chosen.data / "ratings.csv.gz"), pairs))
    jsonl.write(chosen.out / "votes.jsonl", rows)
    jsonl.write(chosen.out / "demonstrations.jsonl", demonstrations(rows))


if __name__ == "__main__":
    main()
