"""What the scan for personal data finds, and what it leaves alone."""

import string
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roundhouse import personal
from roundhouse.params import load
from roundhouse.simulate.archive import archive
from tests.conftest import PROJECT

TOKEN = "Ab3dEf6hIj9kLm2nOp5q"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mail jo.smith+x@mail.example.co.uk today", "e-mail"),
        ("Call me on 020 7946 0958.", "phone"),
        ("+44 20 7946 0958", "phone"),
        ("+1 (415) 555-2671", "phone"),
        ("0049 171 1234567", "phone"),
        ("(555) 123-4567", "phone"),
        ("555-234-5678", "phone"),
        ("0171/1234567", "phone"),
        ("06 12 34 56 78", "phone"),
        ("phone: 7946095", "phone"),
        ("tel:+491701234567", "phone"),
        ("Tel:0301234567", "phone"),
        ("+49\u00a0170\u202f1234567", "phone"),
        ("ann@m\u00fcller.de", "e-mail"),
        ("card:4111111111111111", "card"),
        ("4111111111111111,123", "card"),
        ("4111 1111 1111 1111", "card"),
        ("5500-0000-0000-0004", "card"),
        ("card 378282246310005.", "card"),
        ("AKIA" + "IOSFODNN7EXAMPLE", "key"),
        ("ghp_" + "a1" * 18, "key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "key"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----", "key"),
        (f"Authorization: Bearer {TOKEN}", "key"),
        (f"api_key = '{TOKEN}'", "key"),
        ("GB82 WEST 1234 5698 7654 32", "iban"),
        ("pay to DE89370400440532013000", "iban"),
    ],
)
def test_what_is_found(text: str, kind: str) -> None:
    (found,) = personal.find(f"Well, {text} if you like")
    assert found.kind == kind
    assert personal.redact(f"A {text}").count(f"[{kind}]") == 1
    assert personal.find(personal.redact(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31", "2026-01-31T16:59:52Z", "31.01.2026 16:59", "2024-11-05 10:15-2024-11-06",
        "10/11/2025-12/11/2025", "from 1990-2020", "2026 01 31 10 30",
        "12:00:0123456", "ratio 1:1234567", "1234567,89",
        "1,000,000", "1\u00a0000\u00a0000",
        "1 000 000", "1000000000", "100 200 300 400", "99999999999",
        "clause 12.3.4.5.6.7", "section 1.2.3.4567", "version 10.15.7.1234567", "0.1234567890",
        "sim-0001-000402", "f-0012345678", "123456789", "item 00012345678901",
        "4111111111111112", "ISBN 978-3-16-148410-0", "192.168.100.200",
        "token = the_quick_brown_fox_jumps", "GB82 WEST 1234 5698 7654 33", "a@b", "x @ y.com",
        "Room 0123 4567", "the bearer of good news is here", "@mention and #topic",
    ],
)  # fmt: skip
def test_what_is_left_alone(text: str) -> None:
    assert personal.find(f"Well, {text} if you like") == []


def test_the_simulators_texts_hold_none() -> None:
    settings = load(PROJECT / "params.yaml")
    small = {"archive_demonstrations": 3000, "archive_pairs": 1500}
    simulate = settings.simulate.model_copy(update=small)
    rows = list(archive(settings.model_copy(update={"simulate": simulate}), seed=1))
    assert len(rows) > 4000
    assert [row for row in rows if personal.kinds(row)] == []


def test_a_row_is_redacted_in_its_texts_alone() -> None:
    row = {
        "rater": "ann@example.org",
        "prompt": [{"role": "user", "content": "I am ann@example.org"}],
        "responses": ["Call 020 7946 0958", "No"],
        "created_at": "2026-01-31T16:59:52Z",
    }
    assert personal.kinds(row) == ["e-mail", "phone"]
    assert personal.redacted(row) == row | {
        "prompt": [{"role": "user", "content": "I am [e-mail]"}],
        "responses": ["Call [phone]", "No"],
    }


@given(
    st.text(st.characters(exclude_categories=["Nd", "Cs"], exclude_characters="@"), max_size=200)
)
def test_without_digits_signs_and_long_words_nothing_is_found(text: str) -> None:
    words = " ".join(word[:15] for word in text.split())
    assert personal.find(words) == []


@given(
    st.text(string.ascii_letters + string.digits + " .,-+()@/:", max_size=300),
    st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.(org|com)", fullmatch=True),
)
def test_an_address_is_found_in_any_text_and_redacting_ends(text: str, address: str) -> None:
    whole = f"{text} {address} {text}"
    assert "e-mail" in {one.kind for one in personal.find(whole)}
    assert address not in personal.redact(whole)
    places = [(one.start, one.end) for one in personal.find(whole)]
    assert all(end <= start for (_, end), (start, _) in pairwise(places))


def test_beginnings_of_keys_without_end_cost_what_other_words_cost() -> None:
    hostile = "-----BEGIN PRIVATE KEY-----" * 20_000
    started = time.process_time()
    assert len(personal.find(hostile)) == 20_000
    assert personal.find("-eyJ" * 100_000) == []
    assert time.process_time() - started < 5
