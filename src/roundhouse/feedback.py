"""The canonical feedback row: five kinds, one door, and what follows from a row's prompt and rater.

`parse` turns a decoded JSON object into the canonical plain dict or raises `RowError` with a code
from `REASONS`. What it decides where JSON leaves room:

- Names (id, rater, region, domain, aspect, guideline, policy, group, source, supersedes) are text
  and stay as they are: `00123`, `NA`, `../../x` and `-rf` are names. A number is not a name: `123`
  is refused, since nobody can tell whether it was `00123`. Control characters, line separators,
  bidirectional controls, invisible characters and white space at either end are refused.
- Texts (prompt, answers, reason, comment) are kept byte for byte, HTML, tabs and bidirectional
  characters included; only NUL and lone surrogates are refused, as no database stores them.
- `null` is an absent field. A boolean is neither a number nor a choice. `4.0` is written as `4`.
- Times need a zone and become UTC, `2026-01-31T16:59:52Z`; a fraction of a second is kept.
- `id` defaults to the content hash. A row that supersedes another one needs an id of its own.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from roundhouse import jsonl
from roundhouse.rows import FIELDS, HIDDEN, REASONS, ROW, RowError
from roundhouse.settings import SplitSettings

__all__ = [
    "REASONS",
    "Row",
    "RowError",
    "Side",
    "content_hash",
    "messages",
    "normalise",
    "on_panel",
    "parse",
    "prompt_key",
    "rater_key",
    "rater_keys",
    "side",
    "sides",
]

#: A canonical row: `id` always set, absent optional fields left out.
Row = dict[str, Any]
Side = Literal["train", "judge", "eval"]
#: Signs of a rater's key as people read it.
KEY = 8

_VISIBLE = re.compile(rf"[^\s\x00-\x1f\u200c\u200d{HIDDEN}]")
_CONTROL = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{HIDDEN}]")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)


def parse(obj: Any, now: datetime, ahead: float = 300.0) -> Row:
    """Turns a decoded JSON value into the canonical row.

    Args:
        obj: what the reader decoded; anything but a dict is an error.
        now: when the row was received, with a time zone.
        ahead: how far `created_at` may lie after `now`, in seconds.

    Raises:
        RowError: the first thing that is wrong with the row.
    """
    if not isinstance(obj, dict):
        raise RowError("not_object", f"a row is a JSON object, found {_shown(obj)}")
    if None in obj.values():
        obj = {key: value for key, value in obj.items() if value is not None or key not in FIELDS}
    try:
        row: Row = ROW.validate_python(obj)
    except ValidationError as error:
        raise _row_error(error.errors(include_url=False)[0]) from None
    _check_texts(row)
    row["created_at"] = _utc(row["created_at"], now + timedelta(seconds=ahead))
    if "id" not in row:
        row["id"] = content_hash(row)
    elif row.get("supersedes") == row["id"]:
        raise RowError("id_conflict", "supersedes: names the row itself; give it a new id")
    return row


def content_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the row's canonical JSON without `id`: what makes two rows duplicates."""
    content = {key: value for key, value in row.items() if key != "id"}
    return hashlib.sha256(jsonl.dumps(content).encode()).hexdigest()


def messages(prompt: str | list[dict[str, str]]) -> list[dict[str, str]]:
    """A prompt as chat messages; plain text is one message of the user."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def normalise(text: str) -> str:
    """NFKC, case folded, white space collapsed: what makes two prompts the same one."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def prompt_key(row: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the row's group, or else of its prompt's normalised text.

    A chat of one user message has the key of the same text given as a string.
    """
    text = row["group"] if "group" in row else normalise(_prompt_text(row["prompt"]))
    return hashlib.sha256(text.encode()).hexdigest()


def side(key: str, split: SplitSettings) -> Side:
    """The side of the split that a prompt key belongs to, by salted hash alone."""
    fraction = _fraction(split.salt, key)
    if fraction < split.eval_share:
        return "eval"
    return "judge" if fraction < split.eval_share + split.judge_share else "train"


def sides(keys: Iterable[str], split: SplitSettings) -> dict[str, Side]:
    """The sides of all keys of a round, none of them empty where there are three keys or more.

    Every key goes by `side`. Where that leaves a side empty, the key whose hash lies nearest to the
    side's interval moves there from a side that can spare it: with few groups (13 debates) an empty
    side is likely. A key that moved may move back once more keys come, so only splits of few groups
    are not for ever.
    """
    found: dict[str, Side] = {key: side(key, split) for key in sorted(set(keys))}
    if len(found) < 3:
        return found
    first, second = split.eval_share, split.eval_share + split.judge_share
    intervals: dict[Side, tuple[float, float]] = {
        "eval": (0.0, first),
        "judge": (first, second),
        "train": (second, 1.0),
    }
    for empty, (low, high) in intervals.items():
        if empty not in found.values():
            taken = list(found.values())
            spare = [key for key in found if taken.count(found[key]) > 1]
            place = {key: _fraction(split.salt, key) for key in spare}
            nearest = min(spare, key=lambda key: (max(low - place[key], place[key] - high), key))
            found[nearest] = empty
    return found


def rater_key(rater: str, salt: str) -> str:
    """What stands for a rater's name where a record outlives it; `salt` is `split.salt`."""
    return hashlib.sha256(f"{salt}rater\0{rater}".encode()).hexdigest()


def rater_keys(raters: Iterable[str], salt: str) -> dict[str, str]:
    """Each rater's key as people read it: the first `KEY` signs, or as many as tell them apart."""
    whole = {rater: rater_key(rater, salt) for rater in raters}
    length = KEY
    while len({key[:length] for key in whole.values()}) < len(whole):
        length += 1
    return {rater: key[:length] for rater, key in whole.items()}


def on_panel(rater: str, split: SplitSettings) -> bool:
    """Whether a rater belongs to the judge's panel, whom the reward model never sees."""
    return _fraction(split.salt, rater) < split.judge_rater_share


def _fraction(salt: str, key: str) -> float:
    # 52 bits, so that the quotient is exact and never rounds up to 1.
    return int(hashlib.sha256((salt + key).encode()).hexdigest()[:13], 16) / 16**13


def _prompt_text(prompt: str | list[dict[str, str]]) -> str:
    turns = messages(prompt)
    if len(turns) == 1 and turns[0]["role"] == "user":
        return turns[0]["content"]
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def _check_texts(row: Row) -> None:
    """What spans fields: texts that are there, answers that differ, values inside their scale."""
    if not any(_VISIBLE.search(turn["content"]) for turn in messages(row["prompt"])):
        raise RowError("empty_prompt", "prompt: holds no text")
    answers = row.get("responses") or [row["response"]]
    if "correction" in row:
        answers = [*answers, row["correction"]]
    for answer in answers:
        if not _VISIBLE.search(answer):
            raise RowError("empty_answer", "an answer holds no text")
    if len(answers) == 2 and answers[0].split() == answers[1].split():
        raise RowError("identical_answers", "the two answers are the same but for white space")
    if "scale" in row:
        _check_score(row)
    if "reason" in row and not _VISIBLE.search(row["reason"]):
        raise RowError("wrong_value", "reason: holds no text")
    policy = row.get("policy")
    if isinstance(policy, list) and len(policy) != len(row.get("responses", [0])):
        raise RowError("wrong_length", f"policy: {len(policy)} names; one per response")


def _check_score(row: Row) -> None:
    low, high = row["scale"]
    if not low < high:
        raise RowError("wrong_value", f"scale: [{low}, {high}] does not rise")
    for name in ("score", "gold"):
        if name in row and not low <= row[name] <= high:
            raise RowError(
                "score_out_of_scale", f"{name}: {row[name]} lies outside [{low}, {high}]"
            )


def _utc(text: str, latest: datetime) -> str:
    match = _TIME.fullmatch(text)
    if match is None:
        raise RowError("bad_time", f"created_at: {_shown(text)} is no date and time")
    day, minute, second, fraction, zone = match.groups()
    whole = f"{day}T{minute}{(second or ':00')[:3]}{(zone or 'Z').upper()}"
    try:
        moment = datetime.fromisoformat(whole).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RowError("bad_time", f"created_at: {_shown(text)} does not exist") from None
    if zone is None:
        raise RowError("no_time_zone", f"created_at: {_shown(text)} has no time zone")
    if moment > latest:
        raise RowError("future_time", f"created_at: {_shown(text)} lies in the future")
    parts = (fraction or "").rstrip("0")
    return moment.isoformat()[:19] + (f".{parts}Z" if parts else "Z")


#: Pydantic's error types to reason codes; what is not here is wrong_type.
_CODES = {
    "missing": "missing_field",
    "extra_forbidden": "unknown_field",
    "union_tag_invalid": "unknown_kind",
    "union_tag_not_found": "missing_field",
    "string_unicode": "lone_surrogate",
    "string_too_long": "too_long",
    "too_short": "wrong_length",
    "too_long": "wrong_length",
    "finite_number": "not_finite",
    "literal_error": "wrong_value",
    "greater_than_equal": "wrong_value",
    "less_than_equal": "wrong_value",
}


def _row_error(error: ErrorDetails) -> RowError:
    places = [str(place) for place in error["loc"][1:] if place not in ("text", "list")]
    field = _shown(".".join(places))[1:-1] or "a field's name"
    kind, value = error["type"], error["input"]
    if kind == "union_tag_not_found":
        return RowError("missing_field", "kind: missing")
    if kind == "union_tag_invalid":
        return RowError("unknown_kind", f"kind: {_shown(error.get('ctx', {}).get('tag'))}")
    if kind == "string_pattern_mismatch":
        return RowError(_name_code(value), f"{field}: {_shown(value)}")
    code = kind if kind in REASONS and kind != "too_long" else _CODES.get(kind, "wrong_type")
    if code in ("missing_field", "unknown_field"):
        return RowError(code, f"{field}: {code.removesuffix('_field')}")
    return RowError(code, f"{field}: {error['msg'].lower()}, found {_shown(value)}")


def _name_code(value: str) -> str:
    if "\0" in value:
        return "nul_byte"
    if not value.strip():
        return "empty_name"
    return "control_character" if _CONTROL.search(value) else "padded_name"


def _shown(value: Any, most: int = 60) -> str:
    """A value for a message: one short line of ASCII, whatever it holds."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and abs(value) > 10**20:
        return "a huge number"
    text = ascii(value[:most] if isinstance(value, str) else value)
    return text if len(text) <= most else text[: most - 3] + "..."
