"""What MLflow says of published rounds, held against the ledger: digests, bytes, figures."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from roundhouse.errors import DataError
from roundhouse.ledger import Decision, Erasures, Ledger, Round
from roundhouse.locations import tag_name
from roundhouse.projection import metric_name
from roundhouse.rounds.records import Problem, ended
from roundhouse.rounds.shelf import Shelf
from roundhouse.tracking import Copies
from roundhouse.tracking.copies import Version


def disagreements(shelf: Shelf, ledger: Ledger, copies: Copies) -> Iterator[tuple[int, Problem]]:
    """Round number and problem, for everything in MLflow that contradicts the ledger.

    Raises:
        TrackingError: MLflow is away.
    """
    made = {one.round: one for one in ledger.decisions() if one.round is not None}
    asked = [request.at for request in Erasures(ledger).all()]
    rows = {row.number: row for row in ledger.rounds() if ended(row)}
    names, champion = _names(shelf, made.keys() & rows.keys()), ledger.champion()
    named = {number for numbers in names.values() for number in numbers}
    for name, numbers in names.items():
        versions = {one.version: one for one in copies.versions(name)}
        for number in sorted(numbers):
            row, one = rows[number], versions.get(made[number].version)
            found = [*_version(row, made[number], one, copies), *_data(row, one, asked, copies)]
            yield from ((number, problem) for problem in found)
        yield from ((0, problem) for problem in _surplus(versions, made, rows, copies))
        # One whose round is not published yet may stand under any name.
        here = champion and (champion.round in numbers or champion.round not in named)
        wanted = champion.version if champion and here else None
        yield from ((0, problem) for problem in _alias(name, versions, wanted, copies))


def _names(shelf: Shelf, numbers: set[int]) -> dict[str, set[int]]:
    """Name in the registry to the rounds that were published under it."""
    found: dict[str, set[int]] = {}
    for number in numbers:
        # A tag that is gone, or cannot be read, is named where the round is looked into.
        with suppress(DataError):
            name = shelf.settings(tag_name(number))["publish"]["model_name"]
            found.setdefault(name, set()).add(number)
    return found


def _version(row: Round, made: Decision, one: Version | None, copies: Copies) -> Iterator[Problem]:
    what = f"version {made.version}"
    if one is None:
        yield Problem(what, copies.where, "missing")
        return
    wanted = {
        "round": str(row.number),
        "tag": tag_name(row.number),
        "commit": row.commit,
        "data_version": row.data_version,
        "sha256": made.sha256,
        "decision": row.decision,
    }
    for key, value in wanted.items():
        if one.tags.get(key) != value:
            text = f"{one.tags.get(key)} in MLflow, {value} in the ledger"
            yield Problem(f"{what}: tag {key}", copies.where, text)
    digest = copies.model_digest(one.run_id)
    if digest != made.sha256:
        problem = "missing" if digest is None else "altered"
        yield Problem(f"{what}: artifact model", copies.where, problem)
    for name, figure in sorted(row.metrics.items()):
        # A figure that MLflow was away for comes later; one that differs does not.
        shown = one.figures.get(metric_name(name), figure)
        if shown != figure:
            text = f"{shown} in MLflow, {figure} in the ledger"
            yield Problem(f"{what}: figure {name}", copies.where, text)


def _data(
    row: Round, one: Version | None, asked: Sequence[str], copies: Copies
) -> Iterator[Problem]:
    """Other data sets than the published one. A run keeps all that it was ever given: those from
    before rows were erased, while the round was being made, are rightly there."""
    if one is None or not set(one.data) - {row.data_version}:
        return
    ended = row.finished_at or ""
    if row.data_version in one.data and any(row.started_at <= at <= ended for at in asked):
        return
    text = f"{', '.join(one.data)} in MLflow, {row.data_version} in the ledger"
    yield Problem(f"version {one.version}: data set", copies.where, text)


def _surplus(
    versions: dict[str, Version], made: dict[int, Decision], rows: dict[int, Round], copies: Copies
) -> Iterator[Problem]:
    """Versions that no decision is about; a round that is still being published may have one."""
    decided = {one.version for one in made.values()}
    published = {str(number) for number in rows}
    for one in versions.values():
        if one.version not in decided and one.tags.get("round") in published:
            yield Problem(f"version {one.version}", copies.where, "no decision is about it")


def _alias(
    name: str, versions: dict[str, Version], wanted: str | None, copies: Copies
) -> Iterator[Problem]:
    """The alias may show another ledger's champion, and be away; it must not show a wrong one.

    Args:
        wanted: the champion's version, if it is registered under this name.
    """
    shown = copies.champion(name)
    if shown in versions and shown != wanted:
        text = f"shows version {shown}; the ledger's champion is {wanted or 'none'} of {name}"
        yield Problem("alias champion", copies.where, text)
