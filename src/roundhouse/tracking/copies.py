"""What MLflow has on record of published rounds, read for `audit verify`; nothing is made here."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from roundhouse.hashes import sha256_folder
from roundhouse.tracking.connection import LEDGER, Connection, tracked
from roundhouse.tracking.registry import CHAMPION

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class Version(NamedTuple):
    """A registered version of this ledger.

    Attributes:
        version: its number.
        run_id: of the round's run, whose artifact `model` it is.
        tags: without their prefix: round, tag, commit, data_version, sha256, decision.
        data: digests of the data sets of its run.
        figures: metric name to last value, of its run.
    """

    version: str
    run_id: str
    tags: Mapping[str, str]
    data: tuple[str, ...]
    figures: Mapping[str, float]


class Copies(Connection):
    """Reads the registry and the rounds' runs."""

    @tracked
    def versions(self, name: str) -> list[Version]:
        """All versions of a registered model that are this ledger's, oldest first."""
        found, token = [], None
        condition = f"name = '{name}' and tags.`{LEDGER}` = '{self.ledger}'"
        while True:
            page = self._client.search_model_versions(condition, page_token=token)
            found += [self._version(one) for one in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda one: int(one.version))

    @tracked
    def champion(self, name: str) -> str | None:
        """The version that the alias `champion` shows; None without one."""
        models = self._client.search_registered_models(f"name = '{name}'")
        shown = models[0].aliases.get(CHAMPION) if models else None
        return None if shown is None else str(shown)

    @tracked
    def model_digest(self, run_id: str) -> str | None:
        """SHA-256 of the model's folder as MLflow keeps it; None where it keeps none."""
        if not self._client.list_artifacts(run_id, "model"):
            return None
        with TemporaryDirectory(prefix="roundhouse-") as scratch:
            folder = self._client.download_artifacts(run_id, "model", scratch)
            return sha256_folder(Path(folder))

    def _version(self, one: "ModelVersion") -> Version:
        run = self._client.get_run(str(one.run_id))
        tags = {name.removeprefix("roundhouse."): value for name, value in one.tags.items()}
        sets = run.inputs.dataset_inputs if run.inputs else []
        data = tuple(each.dataset.digest for each in sets)
        return Version(str(one.version), str(one.run_id), tags, data, run.data.metrics)
