"""The model registry: one version a round, and the alias that shows the ledger's champion."""

from collections.abc import Mapping
from pathlib import Path

from roundhouse import projection
from roundhouse.errors import TrackingError
from roundhouse.tracking.connection import LEDGER, Connection, mlflow, once, tracked

#: Of the version that is released.
CHAMPION = "champion"
#: Tag of a version.
_DECISION = "roundhouse.decision"


class Registry(Connection):
    """The registered model of a ledger."""

    @tracked
    def register(
        self,
        round_run_id: str,
        model_folder: Path,
        name: str,
        tags: Mapping[str, str],
        description: str = "",
    ) -> str:
        """Puts a model folder into the registry; returns its version, the same on every call.

        The files become the artifact `model` of the round's run, and the version points there.
        """
        number = self._client.get_run(round_run_id).data.tags["roundhouse.round"]
        version = self._version(name, number)
        if version is None:
            self._client.log_artifacts(round_run_id, str(model_folder), "model")
            if not self._client.search_registered_models(f"name = '{name}'"):
                once(self._client.create_registered_model, name)
            own = projection.tags(tags) | {"roundhouse.round": number, LEDGER: self.ledger}
            source = f"runs:/{round_run_id}/model"
            self._client.create_model_version(
                name,
                source,
                run_id=round_run_id,
                tags=own,
                description=description,
                await_creation_for=0,
            )
            version = self._version(name, number)
        if version is None:
            raise TrackingError(f"MLflow at {self.where}: version of round {number} vanished")
        return version

    @tracked
    def show_decisions(self, made: Mapping[tuple[int, str], str]) -> None:
        """Tags versions with what the ledger says became of them, where they do not say so yet.

        Args:
            made: round and version to `promoted` or `held`.
        """
        for one in self._client.search_model_versions(f"tags.`{LEDGER}` = '{self.ledger}'"):
            outcome = made.get((int(one.tags["roundhouse.round"]), str(one.version)))
            if outcome and one.tags.get(_DECISION) != outcome:
                self._client.set_model_version_tag(one.name, one.version, _DECISION, outcome)

    @tracked
    def show_champion(self, name: str, version: str) -> bool:
        """Points the alias at the ledger's champion; False where it shows another ledger's.

        The ledger holds the decision itself; this is its picture, and repaired when it is off.
        Under a name that `publish.model_name` had before, no version of this ledger keeps it.
        """
        shown = self._shown(name)
        free = not shown or self._owner(name, shown) in (self.ledger, None)
        if free and shown != version:
            self._client.set_registered_model_alias(name, CHAMPION, version)
        own = self._client.search_model_versions(f"tags.`{LEDGER}` = '{self.ledger}'")
        versions = {(one.name, str(one.version)) for one in own}
        for other in {one for one, _ in versions} - {name}:
            if (other, self._shown(other)) in versions:
                self._client.delete_registered_model_alias(other, CHAMPION)
        return free

    def _shown(self, name: str) -> str:
        """The version that has the alias; empty without one."""
        model = next(iter(self._client.search_registered_models(f"name = '{name}'")), None)
        return str(model.aliases.get(CHAMPION, "")) if model else ""

    def _owner(self, name: str, version: str) -> str | None:
        try:
            owner = self._client.get_model_version(name, version).tags.get(LEDGER)
        except mlflow().exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return str(owner) if owner else None

    def _version(self, name: str, number: str) -> str | None:
        """The round's version; a second one, made by a repeated request, is deleted."""
        condition = f"name = '{name}' and tags.`roundhouse.round` = '{number}'"
        condition += f" and tags.`{LEDGER}` = '{self.ledger}'"
        found = sorted(int(v.version) for v in self._client.search_model_versions(condition))
        for surplus in found[1:]:
            once(self._client.delete_model_version, name, str(surplus))
        return str(found[0]) if found else None
