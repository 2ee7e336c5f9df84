"""params.yaml: every shipped file loads, every key is read, what is wrong is said in one line."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from roundhouse.errors import SettingsError
from roundhouse.params import check, load, load_raw, of_older
from roundhouse.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
SHIPPED = [PROJECT / "params.yaml", *sorted((PROJECT / "examples").rglob("*.yaml"))]


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str | None]]:
    """Path, attribute and docstring of every setting."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _fields(inner, f"{prefix}{field.alias or name}.")
        else:
            yield f"{prefix}{name}", name, field.description


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name + "/" + path.name)
def test_every_shipped_settings_file_loads(path: Path) -> None:
    load(path)


def test_every_setting_is_read_somewhere() -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("src", "flows", "tasks")
        for path in (PROJECT / folder).rglob("*.py")
        if path.name != "settings.py"
    )
    unread = [path for path, name, _ in _fields(Settings) if not re.search(rf"\.{name}\b", source)]
    assert unread == []


def test_every_setting_says_what_it_is() -> None:
    silent = [path for path, _, text in _fields(Settings) if not text or not text.endswith(".")]
    assert silent == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ppo.stepz=3", "--set ppo.stepz=3: there is no setting ppo.stepz; see params.yaml"),
        ("ppo=3", "params.yaml: ppo: input should be"),
        ("ppo.steps", "--set ppo.steps: write it as KEY=VALUE"),
        ("ppo.steps=[", "is not a YAML value"),
        ("ppo.steps=many", "params.yaml: ppo.steps: input should be a valid integer, found 'many'"),
        ("ppo.steps=0", "ppo.steps: input should be greater than or equal to 1, found 0"),
        ("seed=true", "params.yaml: seed: input should be a valid integer, found True"),
        ("ppo.lr=.inf", "ppo.lr: input should be a finite number"),
        ("ppo.lr=.nan", "ppo.lr: input should be a finite number"),
        ("ppo.minibatch=100", "ppo.minibatch 100 must divide ppo.batch"),
        ("ppo.missing_eos=subtract", "which rewards answers that never end"),
        ("model.scratch.heads=7", "heads 7 must divide hidden_size"),
        ("split.judge_share=0.85", "must leave at least 0.1 for training"),
        ("probes=[]", "probes: list should have at least 1 item"),
        ("retention.days=36501", "retention.days: input should be less than or equal to 36500"),
        ("validate.max_ahead_seconds=3153600001", "less than or equal to 3153600000"),
        ("model.base=", "params.yaml: model.base: input should be a valid string"),
    ],
)
def test_wrong_settings_are_one_line(override: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(PROJECT / "params.yaml", [override])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_the_longest_times_that_settings_take_can_be_counted_from_today() -> None:
    longest = ["retention.days=36500", "validate.max_ahead_seconds=3153600000"]
    settings = load(PROJECT / "params.yaml", longest)
    now = datetime.now(UTC)
    assert (now - timedelta(days=settings.retention.days)).year > 1900
    assert (now + timedelta(seconds=settings.validation.max_ahead_seconds)).year < 2200


def test_an_unknown_key_is_named() -> None:
    raw = load_raw(PROJECT / "params.yaml")
    raw["ppo"]["learning_rate"] = 0.1
    with pytest.raises(SettingsError, match=r"p: ppo\.learning_rate: unknown setting; remove it"):
        check(raw, "p")


def test_a_missing_key_is_named() -> None:
    raw = load_raw(PROJECT / "params.yaml")
    del raw["gate"]["max_kl"]
    with pytest.raises(SettingsError, match=r"p: gate\.max_kl: missing"):
        check(raw, "p")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not readable as YAML"),
        ("- 1", "expected a mapping of settings, found list"),
        ("", "expected a mapping of settings, found NoneType"),
        ("!!python/object/apply:os.system ['true']", "not readable as YAML"),
    ],
)
def test_a_file_that_is_no_settings_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=message) as raised:
        load(path)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file; give one with --params"):
        load(tmp_path / "none.yaml")


def test_an_override_changes_one_key() -> None:
    changed = load_raw(PROJECT / "params.yaml", ["ppo.steps=3", "publish.git_remote=origin"])
    plain = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    assert changed["ppo"].pop("steps") == 3
    assert plain["ppo"].pop("steps") != 3
    assert changed["publish"].pop("git_remote") == "origin"
    assert plain["publish"].pop("git_remote") is None
    assert changed == plain


def test_settings_of_another_version_are_filled_from_todays() -> None:
    today = load_raw(PROJECT / "params.yaml")
    older = load_raw(PROJECT / "params.yaml", ("ppo.steps=7", "seed=3"))
    del older["storage"], older["ppo"]["clip"]
    older["ppo"]["forgotten_setting"] = 1
    older["forgotten_block"] = {"a": 1}
    settings = of_older(older, today, "round-0001")
    assert (settings.seed, settings.ppo.steps) == (3, 7)
    assert settings.ppo.clip == today["ppo"]["clip"]
    assert settings.storage.keep_rounds == today["storage"]["keep_rounds"]
    older["ppo"]["steps"] = "many"
    with pytest.raises(SettingsError, match=r"round-0001: ppo.steps"):
        of_older(older, today, "round-0001")
