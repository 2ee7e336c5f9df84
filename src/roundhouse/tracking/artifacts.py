"""Small files that MLflow keeps of a ledger's runs, rewritten where words in them must go."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from roundhouse.tracking.connection import Connection, tracked

#: Below these lie weights and tokenizers, which nobody's words stand in.
_MODELS = ("model",)


class Artifacts(Connection):
    """The artifacts of one ledger's runs, wherever their store is."""

    @tracked
    def rewrite(self, change: Callable[[bytes], bytes | None]) -> list[str]:
        """Puts `change(bytes)` in the place of each file that it changes; None leaves it empty.

        MLflow deletes no single file, but takes another under the same name.

        Returns:
            RUN/PATH of what was changed.
        """
        changed = []
        for run in self._search({}):
            for path in self._paths(run.info.run_id, ""):
                if self._rewrite(run.info.run_id, path, change):
                    changed.append(f"{run.info.run_id}/{path}")
        return changed

    def _paths(self, run_id: str, folder: str) -> Iterator[str]:
        for entry in self._client.list_artifacts(run_id, folder or None):
            if entry.is_dir and entry.path not in _MODELS:
                yield from self._paths(run_id, entry.path)
            elif not entry.is_dir:
                yield entry.path

    def _rewrite(self, run_id: str, path: str, change: Callable[[bytes], bytes | None]) -> bool:
        with TemporaryDirectory(prefix="roundhouse-") as scratch:
            file = Path(self._client.download_artifacts(run_id, path, scratch))
            data = file.read_bytes()
            kept = change(data)
            if kept == data:
                return False
            file.write_bytes(kept or b"")
            folder = Path(path).parent.as_posix()
            self._client.log_artifact(run_id, str(file), None if folder == "." else folder)
        return True
