"""What looks like personal data in a text: e-mail addresses, phone numbers, cards, keys, IBANs.

Patterns with checks, no dictionaries: a card passes Luhn's test, an IBAN its own (ISO 7064), a
phone number is written as one (with a plus, an area code in brackets, a leading zero in groups, or
after a word such as "call"). So dates, times, amounts, clauses and ids are left alone. So are
names, addresses and whatever a person says in words: the scan finds slips, it does not anonymise.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

#: Fields whose texts are scanned.
FIELDS = ("prompt", "responses", "response", "correction", "reason", "comment", "gold")

_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[^\W_][\w-]{0,62}\.){1,8}[^\W\d_]{2,24}(?!\w)")
_DIGITS = re.compile(
    r"(?<![\w.,/@-])(?<!\d:)(?:\+ ?)?\(?\d(?:[ ()./-]{0,2}\d){6,21}(?![\w@]|[.:/-]\d)"
)
_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:\d{4}|\d\d)(?!\d)")
_CARD = re.compile(r"\d{13,19}|\d{4}(?:[ -]\d{4}){3}(?:[ -]\d{1,3})?|\d{4}[ -]\d{6}[ -]\d{4,5}")
_ISSUER = re.compile(r"4|5[1-5]|2[2-7]|3[04-9]|6(?:011|[45])")
_CALL = re.compile(
    r"\b(?:tel|phone|telephone|mobile|cell|call|ring|fax|whatsapp|sms|text)\w{0,5}"
    r"(?:[ .:#-]+(?:no|number|me|us|him|her|them|at|on|is|to)\b)*[ .:#-]*$",
    re.I,
)
_PHONES = (
    re.compile(r"\+ ?[1-9]\d{0,2}[ ./-]?(?:\(\d{1,4}\))?[\d ./-]{5,17}"),
    re.compile(r"\(\d{2,5}\)[ .-]?\d[\d .-]{4,11}"),
    re.compile(r"(?:1[ .-])?[2-9]\d\d([ .-])[2-9]\d\d\1\d{4}"),
    re.compile(r"0\d{1,4}(?:[ /-]\d{2,8}){1,5}"),
    re.compile(r"0[1-9]\d{8,9}"),
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_KEYS = (
    re.compile(
        r"-----BEGIN (?:[A-Z]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
        # Its body has no two dashes in a row, so that no beginning is searched past the next one.
        r"(?:(?:[^-]|-(?!-)){0,10000}+-----END (?:[A-Z]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----)?"
    ),
    re.compile(r"(?<!\w)(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)"),
    re.compile(r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255})"),
    re.compile(r"(?<!\w)(?:xox[abprs]-[\w-]{10,250}|sk-[\w-]{20,250}|AIza[\w-]{35}|hf_\w{30,40})"),
    re.compile(r"(?<![\w-])eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}"),
    re.compile(r"\b[Bb]earer +(?=\S*\d)[\w.~+/-]{20,2000}=*"),
    re.compile(
        r"(?i)\b(?:api[_ -]?key|secret(?:[_ -]?key)?|access[_ -]?token|token|passw(?:or)?d)"
        r"[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?=[^\s\"']{0,60}\d)[\w.~+/-]{16,200}=*"
    ),
)
#: Bytes with every digit as 0; bytes with every sign as x, but for white space.
_ZEROS = bytes(48 if 48 <= byte < 58 else byte for byte in range(256))
_SHAPE = bytes(byte if byte in b" \t\r\n" else 120 for byte in range(256))
#: Blanks that do not break a line, as pages put them between groups of digits.
_BLANKS = {0xA0: " ", 0x2007: " ", 0x202F: " "}
_LONG_NUMBER, _LONG_WORD = b"0" * 7, b"x" * 16
_RUN = re.compile(r"\+?\(?[0-9](?:[ ()./-]*[0-9]){6,}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d)?|\d\d\.\d\d\.\d{4}(?: \d\d)?")


class Found(NamedTuple):
    """One find; `start` and `end` are positions in the text."""

    kind: str
    start: int
    end: int


def kinds(row: Mapping[str, Any]) -> list[str]:
    """The kinds of personal data that a row's texts seem to hold, sorted.

    >>> kinds({"prompt": "Write to ann@example.org, please."})
    ['e-mail']
    """
    text = "\n".join(part for name in FIELDS if name in row for part in _texts(row[name]))
    return sorted({one.kind for one in find(text)})


def redacted(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with every find in its texts replaced by its kind in brackets.

    >>> redacted({"prompt": "Write to ann@example.org, please."})
    {'prompt': 'Write to [e-mail], please.'}
    """
    return {name: _replaced(value) if name in FIELDS else value for name, value in row.items()}


def redact(text: str) -> str:
    """A text with every find replaced by its kind in brackets."""
    for one in reversed(find(text)):
        text = f"{text[: one.start]}[{one.kind}]{text[one.end :]}"
    return text


def find(text: str) -> list[Found]:
    """Everything in a text that looks like personal data, in order, without overlaps."""
    plain = text if text.isascii() else text.translate(_BLANKS)
    found = sorted(_candidates(plain), key=lambda one: (one.start, -one.end))
    kept: list[Found] = []
    for one in found:
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def _candidates(text: str) -> Iterator[Found]:
    # Most texts have none of it, and are let off by what costs a microsecond.
    if "@" in text:
        yield from _matches("e-mail", _EMAIL, text)
    raw = text.encode("utf-8", "replace")
    # Every key is one long word, or stands between lines of dashes.
    if "PRIVATE KEY" in text or _LONG_WORD in raw.translate(_SHAPE):
        for pattern in _KEYS:
            yield from _matches("key", pattern, text)
    # Every number, and every IBAN, has seven digits in a row once its separators are gone.
    if _LONG_NUMBER in raw.translate(_ZEROS, b" ()./-"):
        for run in _RUN.finditer(text):
            if not _TIME.fullmatch(run[0]):
                yield from _numbers(text, run.start(), run.end())


def _numbers(text: str, start: int, end: int) -> Iterator[Found]:
    """Phones, cards and IBANs at a run of digits and separators."""
    for match in _DIGITS.finditer(text, start, end + 2):
        kind = _number(text, match)
        if kind:
            yield Found(kind, match.start(), match.end())
    for match in _IBAN.finditer(text, max(0, start - 16), end + 24):
        if _is_iban(match[0]):
            yield Found("iban", match.start(), match.end())


def _matches(kind: str, pattern: re.Pattern[str], text: str) -> Iterator[Found]:
    for match in pattern.finditer(text):
        yield Found(kind, match.start(), match.end())


def _number(text: str, match: re.Match[str]) -> str | None:
    """What a run of digits is, if anything."""
    shown = match[0]
    digits = re.sub(r"\D", "", shown)
    if _CARD.fullmatch(shown) and _ISSUER.match(digits) and _luhn(digits):
        return "card"
    if _DATE.search(shown) or not 7 <= len(digits) <= 15 or len(set(digits)) < 3:
        return None
    if any(pattern.fullmatch(shown) for pattern in _PHONES) and len(digits) > 8:
        return "phone"
    return "phone" if _CALL.search(text, max(0, match.start() - 40), match.start()) else None


def _luhn(digits: str) -> bool:
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(int(digit) for digit in digits[-1::-2])
    return (total + sum(value - 9 if value > 9 else value for value in doubled)) % 10 == 0


def _is_iban(shown: str) -> bool:
    plain = shown.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def _texts(value: Any) -> Iterator[str]:
    """The texts of a field; what is nested deeper than a chat is no text of any row."""
    for part in value if isinstance(value, list) else [value]:
        text = part.get("content") if isinstance(part, dict) else part
        if isinstance(text, str):
            yield text


def _replaced(value: Any) -> Any:
    if isinstance(value, list):
        return [_replaced_part(part) for part in value]
    return _replaced_part(value)


def _replaced_part(part: Any) -> Any:
    if isinstance(part, dict) and isinstance(part.get("content"), str):
        return part | {"content": redact(part["content"])}
    return redact(part) if isinstance(part, str) else part
