"""Published files as audits read them: line by line, and none that was not hashed first."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from roundhouse.locations import Locations
from roundhouse.rounds import objects
from roundhouse.rounds.begin import read_inputs
from roundhouse.rounds.git import show
from roundhouse.rounds.inputs import Inputs
from roundhouse.rounds.workspace import SETTINGS_FILE


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
        """A round's settings as they were written, unchecked: later versions have others."""
        text = show(self.places.root, tag, SETTINGS_FILE)
        found: dict[str, Any] = yaml.safe_load(text or "{}")
        return found

    def decision(self, tag: str) -> dict[str, Any]:
        """A round's decision as it was committed; empty where there is none."""
        found: dict[str, Any] = json.loads(show(self.places.root, tag, "decision.json") or "{}")
        return found

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
