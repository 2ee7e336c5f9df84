"""Published files as audits read them: line by line, and none that was not hashed first."""

import json
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import Any

import yaml

from roundhouse.errors import DataError
from roundhouse.locations import Locations
from roundhouse.rounds import objects
from roundhouse.rounds.begin import read_inputs
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.git import show
from roundhouse.rounds.inputs import Inputs
from roundhouse.rounds.workspace import SETTINGS_FILE


class Shelf:
    """The files of all published rounds; what names them is read once a round."""

    def __init__(self, places: Locations) -> None:
        self.places = places
        self._digests: dict[str, dict[str, str]] = {}
        self._md5: dict[str, dict[str, str]] = {}
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
        with self._whole(tag, name).open("rb") as file:
            yield from file

    def rows(self, tag: str, name: str) -> Iterator[dict[str, Any]]:
        """The rows of a published JSON Lines file; raises as `lines` does."""
        for line in self.lines(tag, name):
            yield json.loads(line)

    def json(self, tag: str, name: str) -> Any:
        """A published JSON file; raises as `lines` does."""
        return json.loads(b"".join(self.lines(tag, name)))

    def _whole(self, tag: str, name: str) -> Path:
        """The file in the first store that has it unharmed."""
        digest = self.digest(tag, name)
        if tag not in self._md5:
            self._md5[tag] = objects.published(self.places, tag)
        for store in stores(self.places):
            path = objects.object_path(store, self._md5[tag].get(name, "none"))
            if path.exists():
                with path.open("rb") as file:
                    if file_digest(file, "sha256").hexdigest() == digest:
                        return path
        raise DataError(f"{name} of {tag} is missing or altered: run `roundhouse audit verify`")
