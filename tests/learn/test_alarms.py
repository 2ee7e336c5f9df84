"""Alarms: what raises each, what is remembered, and which of them stop."""

import json

import pytest

from roundhouse.errors import AlarmError
from roundhouse.learn import alarms
from roundhouse.learn.alarms import Watch
from roundhouse.settings import Alarm, AlarmSettings

CALM = {
    "ppo/ratio": 1.0,
    "ppo/kl": 2.0,
    "ppo/eos_rate": 1.0,
    "ppo/length": 20.0,
    "ppo/explained_variance": 0.5,
}


def limits(*stop: Alarm) -> AlarmSettings:
    return AlarmSettings(
        min_ratio=0.5,
        max_ratio=2.0,
        max_kl=10.0,
        min_eos_rate=0.8,
        max_length_ratio=1.5,
        min_explained_variance=0.0,
        explained_variance_after=4,
        stop=list(stop),
    )


@pytest.mark.parametrize(
    ("name", "figure", "within", "beyond"),
    [
        ("ratio", "ppo/ratio", 2.0, 2.01),
        ("ratio", "ppo/ratio", 0.5, 0.49),
        ("kl", "ppo/kl", 10.0, 10.1),
        ("eos", "ppo/eos_rate", 0.8, 0.79),
        ("length", "ppo/length", 30.0, 30.1),
        ("explained_variance", "ppo/explained_variance", 0.0, -0.01),
    ],
)
def test_each_alarm_is_raised_beyond_its_limit_and_alone(
    name: str, figure: str, within: float, beyond: float
) -> None:
    assert alarms.raised(5, CALM | {figure: within}, 20.0, limits()) == {}
    assert list(alarms.raised(5, CALM | {figure: beyond}, 20.0, limits())) == [name]


def test_a_critic_has_some_steps_to_learn() -> None:
    poor = CALM | {"ppo/explained_variance": -4.0}
    assert alarms.raised(4, poor, 20.0, limits()) == {}
    assert list(alarms.raised(5, poor, 20.0, limits())) == ["explained_variance"]


def test_length_grows_from_that_of_the_first_step() -> None:
    watch = Watch(limits())
    assert watch.look(1, CALM | {"ppo/length": 8.0})["ppo/alarms/length"] == 0
    assert watch.look(2, CALM | {"ppo/length": 11.0})["ppo/alarms/length"] == 0
    assert watch.look(3, CALM | {"ppo/length": 13.0})["ppo/alarms/length"] == 1


def test_a_step_has_a_figure_for_every_alarm_and_the_training_their_sums() -> None:
    watch = Watch(limits())
    seen = [watch.look(step, CALM | {"ppo/kl": kl}) for step, kl in enumerate((1, 11, 12), 1)]
    assert [figures["ppo/alarms/kl"] for figures in seen] == [0, 1, 1]
    assert set(seen[0]) == {f"ppo/alarms/{name}" for name in alarms.NAMES}
    assert watch.figures() == dict.fromkeys(seen[0], 0) | {"ppo/alarms/kl": 2}


def test_only_an_alarm_that_is_set_to_stop_stops() -> None:
    both = CALM | {"ppo/kl": 31.2, "ppo/ratio": 2.5}
    warns, stops = Watch(limits("eos")), Watch(limits("eos", "kl"))
    for watch in (warns, stops):
        watch.look(12, both)
    warns.stop(12)
    with pytest.raises(AlarmError, match=r"alarm kl at step 12: KL 31\.2 nats an answer, over 10"):
        stops.stop(12)
    stops.look(13, CALM)
    stops.stop(13)


def test_what_it_remembers_goes_through_json() -> None:
    watch, again = Watch(limits()), Watch(limits())
    watch.look(1, CALM | {"ppo/kl": 11.0})
    again.load_state_dict(json.loads(json.dumps(watch.state_dict())))
    for one in (watch, again):
        one.look(2, CALM | {"ppo/kl": 11.0, "ppo/length": 31.0})
    assert again.figures() == watch.figures()
    assert again.figures()["ppo/alarms/kl"] == 2
    assert again.figures()["ppo/alarms/length"] == 1
