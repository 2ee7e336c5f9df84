"""What every process is given, and what a person's own choice keeps."""

from pathlib import Path

from roundhouse.environment import environment


def test_tools_are_silent_and_keep_their_files_in_the_checkout(tmp_path: Path) -> None:
    variables = environment(tmp_path, given={})
    assert variables["DO_NOT_TRACK"] == variables["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert variables["GX_ANALYTICS_ENABLED"] == "false"
    for name in ("PREFECT_HOME", "MPLCONFIGDIR", "MLFLOW_TRACKING_URI"):
        assert str(tmp_path / "state") in variables[name]
    assert "MLFLOW_RUN_ID" not in variables


def test_a_place_that_a_person_chose_stays(tmp_path: Path) -> None:
    given = {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "NO_PROXY": "git.internal"}
    variables = environment(tmp_path, given)
    assert variables["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert variables["NO_PROXY"] == "git.internal,127.0.0.1,localhost"


def test_servers_of_an_up_that_died_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "up.lock").touch()
    note = '{"mark": "m", "servers": {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}}'
    (tmp_path / "state" / "up.json").write_text(note, encoding="utf-8")
    assert environment(tmp_path, given={})["MLFLOW_TRACKING_URI"].startswith("sqlite:")
