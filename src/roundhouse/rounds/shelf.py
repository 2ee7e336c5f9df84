"""Published files as audits read them: line by line, and none that was not hashed first."""

import json
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import TypeAdapter

from roundhouse.errors import DataError
from roundhouse.locations import Locations
from roundhouse.rounds import objects
from roundhouse.rounds.begin import read_inputs
from roundhouse.rounds.committed import committed
from roundhouse.rounds.inputs import Inputs
from roundhouse.rounds.workspace import DECISION_FILE, SETTINGS_FILE

_RECORD = TypeAdapter(dict[str, Any])


class Shelf:
    """The files of all published rounds; what names them is read once a round."""

    def __init__(self, places: Locations, mend: bool = True) -> None:
        """
        Args:
            places: the checkout's.
            mend: put damaged copies right where another store has them unharmed.
        """
        self.places = places
        self._mend = mend
        self._digests: dict[str, dict[str, str]] = {}
        self._readers: dict[str, objects.Reader] = {}
        self._inputs: dict[str, Inputs] = {}

    def inputs(self, tag: str) -> Inputs:
        """A round's frozen inputs."""
        if tag not in self._inputs:
            self._inputs[tag] = read_inputs(self.places.root, tag)
        return self._inputs[tag]

    def settings(self, tag: str) -> dict[str, Any]:
        """A round's settings as they were written: later versions have others.

        Raises:
            DataError: there are none, or they cannot be read.
        """
        found = committed(self.places.root, tag, SETTINGS_FILE, _settings)
        if found is None:
            raise DataError(f"{tag} has no {SETTINGS_FILE}: fetch the tag again")
        return found

    def decision(self, tag: str) -> dict[str, Any]:
        """A round's decision as it was committed; empty where there is none.

        Raises:
            DataError: it cannot be read.
        """
        return committed(self.places.root, tag, DECISION_FILE, _decision) or {}

    def digest(self, tag: str, name: str) -> str | None:
        """SHA-256 of a published file by its round's manifest: rounds that share it share this."""
        if tag not in self._digests:
            self._digests[tag] = objects.manifest(self.places.root, tag)
        return self._digests[tag].get(name)

    def lines(self, tag: str, name: str) -> Iterator[bytes]:
        """The lines of a published file.

        Raises:
            DataError: no store has the bytes that were published.
        """
        with self._reader(tag).open(name) as file:
            yield from file

    def rows(self, tag: str, name: str) -> Iterator[dict[str, Any]]:
        """The rows of a published JSON Lines file; raises as `lines` does."""
        for line in self.lines(tag, name):
            yield json.loads(line)

    def json(self, tag: str, name: str) -> Any:
        """A published JSON file; raises as `lines` does."""
        return json.loads(b"".join(self.lines(tag, name)))

    def _reader(self, tag: str) -> objects.Reader:
        if tag not in self._readers:
            self._readers[tag] = objects.Reader(self.places, tag, self._mend)
        return self._readers[tag]


def _settings(text: str) -> dict[str, Any]:
    """With those that every audit needs."""
    found = _RECORD.validate_python(yaml.safe_load(text))
    for section, key in (("split", "salt"), ("publish", "model_name")):
        if not isinstance(found[section][key], str):
            raise TypeError(f"{section}.{key} is no text")
    return found


def _decision(text: str) -> dict[str, Any]:
    """With what every audit needs; other versions may say more."""
    found = _RECORD.validate_json(text)
    for reason in found["reasons"]:
        _RECORD.validate_python(reason)
        reason["rule"], reason["passed"], reason["text"]
    found["outcome"], _RECORD.validate_python(found["bound"])["model"]
    return found
