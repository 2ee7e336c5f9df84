"""Damage in DVC's stores that DVC itself hands on with exit code 0."""

from pathlib import Path

import pytest

from roundhouse.errors import DataError
from roundhouse.locations import Locations
from roundhouse.rounds import objects, snapshot, stages, workspace
from roundhouse.rounds.begin import Round
from roundhouse.rounds.dvc import dvc, stores
from roundhouse.rounds.verify import verify

PIPELINE = """stages:
  sft:
    cmd: >-
      mkdir -p out/sft && echo '{"a": 1}' > out/sft/figures.json && touch logs/sft.jsonl
    deps: [inputs.json]
    outs: [out/sft]
"""


def _damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    path.chmod(0o444)


def test_a_skipped_stage_is_not_believed_unseen(second: Round) -> None:
    folder, root = second.workspace, second.places.root
    (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    snapshot.take_snapshot(second)

    def watch(journal: Path) -> None:
        return

    assert not stages.run_stage(folder, root, "sft", watch).cached
    assert stages.run_stage(folder, root, "sft", watch).cached
    cache = stores(second.places)[0]
    for path in (cache / "files").rglob("*"):
        if path.is_file() and path.read_bytes() == b'{"a": 1}\n':
            _damage(path)
    (folder / "out" / "sft" / "figures.json").unlink()
    with pytest.raises(DataError, match=r"figures\.json is not what stage sft had made"):
        stages.run_stage(folder, root, "sft", watch)


def test_a_damaged_list_is_found_and_another_store_is_read(second: Round) -> None:
    places: Locations = second.places
    snapshot.take_snapshot(second)
    dvc("push", "--quiet", workspace=second.workspace, root=places.root)
    for name in ("dvc.lock", "manifest.json"):
        text = "{}" if name == "manifest.json" else "schema: '2.0'\nstages: {}"
        (second.workspace / name).write_text(text, encoding="utf-8")
    workspace.commit(second.workspace, 2, "round-0001", "Round 2")
    workspace.publish_tag(second.workspace, places, 2, None)
    (md5,) = objects.folders(places.root, "round-0002").values()
    cache = stores(places)[0]
    _damage(objects.object_path(cache, md5))
    assert sorted(objects.published(places, "round-0002")) == [
        "data/feedback/0001.jsonl",
        "data/feedback/0002.jsonl",
    ]
    found = [one for one in verify(places, second.ledger).findings if one.round == 2]
    lists = [(one.what, one.where, one.problem) for one in found if "list" in one.what]
    assert lists == [("list of data/feedback", str(cache), "altered")]
