"""A base model by its hub name: pinned to a commit, from the hub's own cache, truly offline."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from roundhouse import model_folder, params
from roundhouse.errors import SettingsError

PROJECT = Path(__file__).parents[1]
NAME, REVISION = "acme/stories", "5" * 40

CHECK = """
import sys
from pathlib import Path
from roundhouse import model_folder, params
from roundhouse.errors import RoundhouseError
overrides = [f"model.base={sys.argv[1]}", f"model.revision={sys.argv[2]!r}"]
model = params.load(Path(sys.argv[3]), overrides).model
try:
    folder = model_folder.of_stage(model)
    model_folder.check(folder)
    model_folder.check_finite(folder)
    print(model_folder.digest(folder))
except RoundhouseError as error:
    print(type(error).__name__, error)
"""
ANSWER = """
from roundhouse.learn import models, sampling
policy = models.load_policy(model)
chat = [[{"role": "user", "content": "Once upon a time"}]]
print(sampling.answer(policy, chat, model, 0.0, 0)[0].text)
"""


def cache(folder: Path, source: Path) -> Path:
    """A hub cache as its client lays it out: bytes under blobs/, names linked to them."""
    home = folder / "hub" / "models--acme--stories"
    snapshot = home / "snapshots" / REVISION
    (home / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(source.iterdir())):
        (home / "blobs" / f"{number:040x}").write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", f"{number:040x}"))
    return snapshot


def run(code: str, folder: Path, base: str = NAME, revision: str = REVISION) -> list[str]:
    """Runs a program offline, with nothing but that cache, under the guard of every connection."""
    paths = [str(PROJECT / "tests" / "offline"), str(PROJECT / "src")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, base, revision, str(PROJECT / "params.yaml")],
        cwd=folder,
        env=os.environ
        | {
            "HF_HUB_CACHE": str(folder / "hub"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join(paths),
            "ROUNDHOUSE_OFFLINE_LOG": str(folder / "outward.jsonl"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "outward.jsonl").exists()
    return done.stdout.splitlines()


def test_the_real_model_comes_through_the_hubs_cache_and_answers(
    shared: Path, tmp_path: Path
) -> None:
    source = shared / "models" / "stories260K"
    snapshot = cache(tmp_path, source)
    # What else lies in a cache that others use too is neither read nor hashed.
    (snapshot / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    (snapshot / "modeling_evil.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    digest, said = run(CHECK + ANSWER, tmp_path)
    (tmp_path / "plain").mkdir()
    for path in source.glob("*.*"):
        (tmp_path / "plain" / path.name).write_bytes(path.read_bytes())
    assert digest == model_folder.digest(tmp_path / "plain")
    assert len(said.split()) > 3


@pytest.mark.parametrize("damage", ["auto_map", "link", "nan"])
def test_what_the_hub_gives_is_checked_like_any_folder(tmp_path: Path, damage: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    config = {"auto_map": {"AutoModel": "evil.Model"}} if damage == "auto_map" else {}
    (source / "config.json").write_text(json.dumps(config), encoding="utf-8")
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    data = b"\x00\x00\xc0\x7f" if damage == "nan" else bytes(4)
    weights = len(header).to_bytes(8, "little") + header + data
    (source / "model.safetensors").write_bytes(weights)
    snapshot = cache(tmp_path, source)
    if damage == "link":
        (tmp_path / "secret").write_text("{}", encoding="utf-8")
        (snapshot / "generation_config.json").symlink_to(tmp_path / "secret")
    (said,) = run(CHECK, tmp_path)
    reason = {"auto_map": "code of its own", "link": "leads out", "nan": "NaN"}[damage]
    assert said.startswith("ModelError") and reason in said


@pytest.mark.parametrize(
    ("base", "revision", "reason"),
    [
        (NAME, "null", "SettingsError .*needs model.revision, the commit"),
        (NAME, "6" * 40, "ModelError .*the hub does not give it"),
        ("acme/unknown", REVISION, "ModelError .*the hub does not give it"),
        ("./folder", REVISION, r"SettingsError model\.revision pins a hub name"),
    ],
)
def test_a_name_that_nothing_can_be_had_for_is_refused_in_one_line(
    tmp_path: Path, base: str, revision: str, reason: str
) -> None:
    code = CHECK.replace("!r}", "}") if revision == "null" else CHECK
    (said,) = run(code, tmp_path, base, revision)
    assert re.match(reason, said)


@pytest.mark.parametrize("revision", ["main", "v1.0", "5" * 39, "A" * 40])
def test_a_revision_is_a_commit_and_nothing_that_moves(revision: str) -> None:
    given = [f"model.base={NAME}", f"model.revision={revision!r}"]
    with pytest.raises(SettingsError, match=r"model\.revision"):
        params.load(PROJECT / "params.yaml", given)
    with pytest.raises(SettingsError, match="scratch is none"):
        params.load(PROJECT / "params.yaml", [f"model.revision={REVISION!r}"])
