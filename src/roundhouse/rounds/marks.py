"""What erased rows leave in files: how to find it, and a file without it.

A text is found by runs of four words that stand in no row that stays, so that a prompt which others
answered too is not taken for one person's words, and a shortened or quoted text is found all the
same. Scripts without spaces have runs of eight signs instead. A name (a rater, a row's id) is found
where no letter or digit is joined to it, so in a file's name too; where what stays, or a setting's
name, has it as a part, only on its own. A name that is also a common word, or the value of another
field, counts only where the key says what it is.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from roundhouse import jsonl
from roundhouse.feedback import messages
from roundhouse.rounds.names import Names
from roundhouse.rows import FIELDS, KINDS
from roundhouse.settings import Settings

RUN = 4
#: Length of a run of signs (characters) of a script that puts no spaces between words.
SIGNS = 8
#: A shorter text is looked for as a whole, and among other words only at this length (characters).
SHORT = 12

_WORD = re.compile(r"\w+")
#: Thai to Lao, Myanmar, Khmer, kana, Chinese characters.
_SIGN = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_TEXTS = ("response", "correction", "reason", "comment", "gold")
_NAMES = ("region", "domain", "aspect", "guideline", "policy", "source", "group")
_VALUES = ("id", "rater", "supersedes", *_NAMES)
_KEYS = frozenset(["rater", "raters", "row", "rows", "id", "ids", "supersedes"])
_GONE = object()

Run = tuple[str, ...]


class Marks:
    """The marks of some rows.

    Args:
        rows: the erased rows.
        raters: people whose very name is erased.
        stay: every row that stays, read once.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]],
        raters: Iterable[str],
        stay: Iterable[Mapping[str, Any]],
    ) -> None:
        self.ids: set[str] = set()
        self._runs: set[Run] = set()
        self._wholes: set[Run] = set()
        for row in rows:
            self.ids.add(row["id"])
            for text in texts(row):
                words = _words(text)
                self._runs.update(_marks(text, words))
                if words and len(words) < RUN:
                    self._wholes.add(tuple(words))
        self._names = self.ids | set(raters)
        self._weak = {name for name in self._names if _is_weak(name)}
        self._alone: set[str] = set()
        self._leave_out(stay)
        self._strong = self._names - self._weak
        self._found = Names(self._strong)
        self._lengths = {len(run) for run in self._wholes if len("".join(run)) >= SHORT}

    def without(self, data: bytes) -> bytes | None:
        """A file without the marks: the same bytes where there are none.

        JSON loses the records and entries that bear a mark, text its lines. Any other file that
        bears one goes as a whole: None.
        """
        if _holds_no_text(data):
            return data
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return None if self.in_text(data.decode("utf-8", "replace")) else data
        if "\0" in text:
            return None if self.in_text(text) else data
        kept = self._json(text)
        if kept is None:
            kept = self._lines(text)
        return data if kept == text else kept.encode()

    def without_rows(self, data: bytes) -> bytes:
        """A partition without the rows, whatever the others say."""
        lines = data.splitlines(keepends=True)
        return b"".join(line for line in lines if json.loads(line)["id"] not in self.ids)

    def in_text(self, text: str) -> bool:
        """Whether a text of any form bears a mark."""
        if "\\" in text:
            text = _ESCAPE.sub(_unescaped, text)
        if any(not joined or name not in self._alone for name, joined in self._found.found(text)):
            return True
        words = _words(text)
        if not self._runs.isdisjoint(_marks(text, words)):
            return True
        return any(not self._wholes.isdisjoint(_runs(words, length)) for length in self._lengths)

    def _leave_out(self, stay: Iterable[Mapping[str, Any]]) -> None:
        """Forgets what the rows that stay have too."""
        plain = {name.casefold(): name for name in self._names if _WORD.fullmatch(name)}
        names = Names(self._names - self._weak)
        self._alone.update(_joined(names, json.dumps(Settings.model_json_schema())))
        for row in stay:
            values = "\n".join(str(row.get(name, "")) for name in _VALUES)
            self._alone.update(_joined(names, values))
            for text in texts(row):
                self._alone.update(_joined(names, text))
                words = _words(text)
                self._runs.difference_update(_marks(text, words))
                self._wholes.discard(tuple(words))
                self._weak.update(plain[word] for word in plain.keys() & set(words))
            for name in _NAMES:
                value = row.get(name)
                for one in value if isinstance(value, list) else [value]:
                    if one in self._names:
                        self._weak.add(one)

    def _json(self, text: str) -> str | None:
        """Lines of JSON, or JSON, without the marks; None for what is neither."""
        lines = self._json_lines(text)
        if lines is not None:
            return lines
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict | list):
            return None
        kept = self._pruned(value, "", record=False)
        if kept == value:
            return text
        return (
            json.dumps([] if kept is _GONE else kept, ensure_ascii=False, sort_keys=True, indent=2)
            + "\n"
        )

    def _json_lines(self, text: str) -> str | None:
        kept: list[str] = []
        # Not splitlines: a text may hold other separators of lines as they are.
        for line in io.StringIO(text, newline="\n") if "\n" in text else []:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                return None
            left = self._pruned(value, "", record=True)
            if left == value:
                kept.append(line)
            elif left is not _GONE:
                kept.append(jsonl.dumps(left) + "\n")
        return "".join(kept) if "\n" in text else None

    def _lines(self, text: str) -> str:
        if not self.in_text(text):
            return text
        lines = text.splitlines(keepends=True)
        kept = "".join(line for line in lines if not self.in_text(line))
        # A mark may go over the end of a line.
        return "" if self.in_text(kept) else kept

    def _pruned(self, value: Any, key: str, record: bool) -> Any:
        """A value without marks. A record goes as a whole where one of its own fields bears one."""
        if isinstance(value, dict):
            return self._pruned_object(value, key, record)
        if isinstance(value, list):
            parts = [self._pruned(part, key, isinstance(part, dict)) for part in value]
            kept = [part for part in parts if part is not _GONE]
            return _GONE if value and not kept else kept
        return _GONE if self._bears(value, key) else value

    def _pruned_object(self, value: dict[str, Any], key: str, record: bool) -> Any:
        kept = {}
        for name, part in value.items():
            if self._is_named(name, key):
                continue
            left = self._pruned(part, name, record=False)
            if left is not _GONE:
                kept[name] = left
            elif record:
                return _GONE
        return kept

    def _bears(self, value: Any, key: str) -> bool:
        if not isinstance(value, str):
            return False
        return (
            self._is_named(value, key)
            or tuple(_words(value)) in self._wholes
            or self.in_text(value)
        )

    def _is_named(self, value: str, key: str) -> bool:
        if value in self._strong:
            return True
        return value in self._weak and key in _KEYS


def texts(row: Mapping[str, Any]) -> Iterator[str]:
    """What people or models wrote in a row."""
    for turn in messages(row["prompt"]):
        yield turn["content"]
    yield from row.get("responses", ())
    for name in _TEXTS:
        if isinstance(row.get(name), str):
            yield row[name]


def _holds_no_text(data: bytes) -> bool:
    """Plots, and weights: safetensors begin with the length of their header."""
    header = int.from_bytes(data[:8], "little")
    return data.startswith(b"\x89PNG") or (data[8:9] == b"{" and header <= len(data) - 8)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _joined(names: Names, text: str) -> Iterator[str]:
    return (name for name, joined in names.found(text) if joined)


def _marks(text: str, words: list[str]) -> Iterator[Run]:
    """The runs that a text is known by; `words` are its own."""
    yield from _runs(words)
    yield from _runs(_SIGN.findall(text), SIGNS)


def _runs(words: list[str], length: int = RUN) -> Iterator[Run]:
    return zip(*(words[start:] for start in range(length)), strict=False)


def _unescaped(match: re.Match[str]) -> str:
    code, plain = match.groups()
    return chr(int(code, 16)) if code else {"n": "\n", "t": "\t", "r": "\r"}.get(plain, plain)


#: Values that files of rounds have in other places.
_WORDS = frozenset(
    [
        "train",
        "judge",
        "eval",
        "sft",
        "reward",
        "align",
        "ppo",
        "dpo",
        "validate",
        "raters",
        "evaluate",
        "ok",
        "watch",
        "suspended",
        "minority",
        "human",
        "ai",
        "tie",
        "true",
        "false",
        "null",
        "none",
        "user",
        "assistant",
        "system",
        "promoted",
        "held",
        "blocked",
    ]
)


def _is_weak(name: str) -> bool:
    """Whether a name is also a common value, so that it counts only where a rater stands."""
    plain = name.casefold()
    return len(name) < 3 or name.isdigit() or plain in FIELDS or name in KINDS or plain in _WORDS
