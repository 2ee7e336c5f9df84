"""What a feedback row may hold: its five kinds as pydantic types, and the codes of what is refused.

`feedback.parse` is the door; this module is its grammar.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    with_config,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

#: Reason codes of a quarantined row, and what to do about it. Codes are stable: scripts read them.
REASONS: dict[str, str] = {
    "bad_encoding": "write the file as UTF-8",
    "bad_time": "write created_at as 2026-01-31T16:59:52Z, a date that exists",
    "choice_out_of_range": 'choice is 0, 1 or "tie"',
    "control_character": "names hold no control, bidirectional or invisible characters",
    "duplicate_key": "name every field once in a row",
    "empty_answer": "every answer needs text",
    "empty_name": "leave the field out, or give it a value",
    "empty_prompt": "the prompt needs text",
    "expired": "older than retention.days lets rows become; nothing of it is kept",
    "forgotten": "its rater, or the row, was erased on request; nothing of it is kept",
    "future_time": "check the clock that wrote created_at",
    "id_conflict": "this id has other content already; use a new id and name the old in supersedes",
    "identical_answers": "the answers differ in white space at most; nothing was judged",
    "lone_surrogate": "the text was cut inside a character; export it again",
    "missing_field": "add the field, in the file or with --map or --set",
    "no_time_zone": "write the zone of created_at, such as Z or +05:30",
    "not_csv": "quote cells as CSV does, and double the quotes within",
    "not_finite": "numbers are finite; leave the field out where there is none",
    "not_json": "each line is one JSON object",
    "not_object": "each line is one JSON object in braces",
    "nul_byte": "remove the NUL bytes; the export is damaged",
    "padded_name": "remove the white space around the name",
    "score_out_of_scale": "score lies within scale, ends included",
    "too_deep": "a row is nested three levels at most",
    "too_large": "shorten the row, or split the texts",
    "too_long": "names have 512 characters at most",
    "too_many_columns": "quote the cells that hold the separator",
    "truncated_line": "the file ends within a row; export or copy it again",
    "unknown_field": "remove the field, or map it to a field of this kind",
    "unknown_kind": "kind is comparison, rating, correction, demonstration or flag",
    "wrong_length": "responses holds two answers; policy is one name, or one per answer",
    "wrong_type": "correct the value's type; ids and names are text in quotes",
    "wrong_value": "correct the value",
}

NAME_LENGTH = 512
HIDDEN = "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_REFUSED = rf"\p{{Cc}}\p{{Zl}}\p{{Zp}}{HIDDEN}"
_NAME = rf"^[^\s{_REFUSED}](?:[^{_REFUSED}]*[^\s{_REFUSED}])?$"


class RowError(Exception):
    """A row that cannot be accepted.

    Attributes:
        code: a key of `REASONS`.
        message: one line: the field and what is wrong with it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def _choice(value: Any) -> Any:
    # A Literal would take True for 1 and 1.0 for 1.
    if type(value) not in (int, str):
        raise PydanticCustomError("wrong_type", 'should be 0, 1 or "tie"')
    if value not in (0, 1, "tie"):
        raise PydanticCustomError("choice_out_of_range", 'should be 0, 1 or "tie"')
    return value


def _which(value: Any) -> Any:
    if type(value) is not int:
        raise PydanticCustomError("wrong_type", "should be 0 or 1")
    if value not in (0, 1):
        raise PydanticCustomError("wrong_value", "should be 0 or 1")
    return value


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


def _form(value: Any) -> str:
    return "list" if isinstance(value, list) else "text"


Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=NAME_LENGTH)]
Number = Annotated[float, Field(ge=-1e12, le=1e12), AfterValidator(_whole)]
Amount = Annotated[float, Field(ge=0, le=1e12), AfterValidator(_whole)]
Choice = Annotated[Any, BeforeValidator(_choice)]
Which = Annotated[Any, BeforeValidator(_which)]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@with_config(_STRICT)
class Message(TypedDict):
    """One turn of a chat prompt."""

    role: Literal["system", "user", "assistant"]
    content: Text


Prompt = Annotated[
    Annotated[Text, Tag("text")] | Annotated[list[Message], Tag("list")],
    Discriminator(_form),
]
Policy = Annotated[
    Annotated[Name, Tag("text")] | Annotated[list[Name], Field(min_length=1), Tag("list")],
    Discriminator(_form),
]


class Common(TypedDict):
    """What every kind requires, and what is optional on all."""

    id: NotRequired[Name]
    prompt: Prompt
    rater: Name
    created_at: Text
    region: NotRequired[Name]
    domain: NotRequired[Name]
    aspect: NotRequired[Name]
    guideline: NotRequired[Name]
    policy: NotRequired[Policy]
    """What wrote the answers: one name, or one per response."""
    seconds: NotRequired[Amount]
    """Time the rater took, in seconds."""
    position: NotRequired[Which]
    """Which answer the rater saw first."""
    strength: NotRequired[Amount]
    """How much better the chosen answer is, on the source's own scale."""
    group: NotRequired[Name]
    """What must stay on one side of the split: a debate, a document."""
    anchor: NotRequired[bool]
    """Whether the item is re-rated every round."""
    rater_kind: NotRequired[Literal["human", "ai"]]
    source: NotRequired[Name]
    supersedes: NotRequired[Name]
    comment: NotRequired[Text]


@with_config(_STRICT)
class Comparison(Common):
    """Which of two answers is better."""

    kind: Literal["comparison"]
    responses: Annotated[list[Text], Field(min_length=2, max_length=2)]
    choice: Choice
    gold: NotRequired[Choice]


@with_config(_STRICT)
class Rating(Common):
    """A score for one answer, ends of the scale included."""

    kind: Literal["rating"]
    response: Text
    score: Number
    scale: Annotated[list[Number], Field(min_length=2, max_length=2)]
    gold: NotRequired[Number]


@with_config(_STRICT)
class Correction(Common):
    """An answer and what it should have been."""

    kind: Literal["correction"]
    response: Text
    correction: Text
    gold: NotRequired[Text]


@with_config(_STRICT)
class Demonstration(Common):
    """An answer written, or approved, by a person."""

    kind: Literal["demonstration"]
    response: Text
    gold: NotRequired[Text]


@with_config(_STRICT)
class Flag(Common):
    """An answer that must not be given, and why."""

    kind: Literal["flag"]
    response: Text
    reason: Text
    gold: NotRequired[Text]


ROW: TypeAdapter[Any] = TypeAdapter(
    Annotated[Comparison | Rating | Correction | Demonstration | Flag, Field(discriminator="kind")]
)
_KINDS = (Comparison, Rating, Correction, Demonstration, Flag)
FIELDS = frozenset(name for kind in _KINDS for name in kind.__annotations__)
"""Every field that some kind of row has."""

KINDS = ("comparison", "rating", "correction", "demonstration", "flag")
"""The kinds of feedback, as rows name them."""
