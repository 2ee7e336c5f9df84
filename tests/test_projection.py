"""What MLflow is shown, as plain data."""

from pathlib import Path

from roundhouse import jsonl, projection


def test_settings_become_dotted_parameters() -> None:
    settings = {"ppo": {"steps": 30, "lr": 0.1}, "publish": {"git_remote": None}, "probes": ["a"]}
    assert projection.flatten(settings) == {
        "ppo.steps": "30",
        "ppo.lr": "0.1",
        "publish.git_remote": "None",
        "probes": '["a"]',
    }


def test_a_domain_may_be_called_anything() -> None:
    assert projection.metric_name("evaluate/kl") == "evaluate/kl"
    assert projection.metric_name("a/domain/law & order") == "a/domain/law _ order"
    assert projection.metric_name("a/domain/..") == "a/domain/_"
    assert projection.metric_name("a/domain/recht für alle") == "a/domain/recht für alle"
    assert len(projection.metric_name("a" * 300)) == 250


def test_the_note_has_the_decision_the_figures_with_intervals_and_the_times() -> None:
    figures = {
        "evaluate/win_rate": 0.8,
        "evaluate/win_rate_low": 0.76,
        "evaluate/win_rate_high": 0.84,
        "evaluate/win_rate/domain/legal": 0.7,
        "ppo/kl": 9.0,
    }
    known = {"roundhouse.commit": "abc", "roundhouse.data_version": "d41d.dir"}
    note = projection.note(known, "held", ["kl over 8"], figures, {"seconds/sft": 41.6})
    assert note.splitlines() == [
        "**held**: kl over 8",
        "",
        "data version: `d41d.dir` · commit: `abc`",
        "",
        "| figure | value | interval |",
        "| --- | ---: | --- |",
        "| evaluate/win_rate | 0.8 | 0.76 to 0.84 |",
        "| ppo/kl | 9 |  |",
        "",
        "Seconds: sft 42",
    ]


def test_only_answers_to_probes_are_shown(tmp_path: Path) -> None:
    rows = [{"prompt": "probe", "response": "yes"}, {"prompt": "mine", "response": "no"}]
    jsonl.write(tmp_path / "samples.jsonl", rows)
    jsonl.write_json(tmp_path / "params.yaml", {"probes": ["probe"]})
    table = projection.probe_answers(tmp_path / "samples.jsonl", tmp_path / "params.yaml")
    assert table["data"] == [["probe", "yes"]]
