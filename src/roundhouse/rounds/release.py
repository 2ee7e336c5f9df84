"""The champion after its release: put an earlier one back, or talk to the one there is."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from roundhouse import smoke
from roundhouse.errors import DataError, TrackingError, UsageError
from roundhouse.ledger import Champion, Decision, Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import objects, picture
from roundhouse.rounds.begin import read_settings
from roundhouse.rounds.decide import MODEL
from roundhouse.rounds.extracted import published_model
from roundhouse.smoke import SmokeResult
from roundhouse.tracking import Tracker

#: What a round's decision row makes of the round.
OUTCOMES = {"promote": "promoted", "hold": "held"}


def rollback(places: Locations, ledger: Ledger, number: int | None, why: str) -> Champion:
    """Makes an earlier champion the champion again, after its bytes have loaded and answered.

    Args:
        number: the round whose model; None takes the champion before this one.

    Raises:
        UsageError: there is no such earlier champion.
        DataError: its published bytes are missing or altered, or do not answer.
    """
    now = ledger.champion()
    target = choose(ledger.decisions(), now, number)
    with published_model(places, target.model_round, target.sha256) as folder:
        settings = read_settings(places.root, tag_name(target.model_round))
        result = smoke.run(folder, settings.probes[0])
    if not result.passed:
        raise DataError(f"round {target.model_round}'s model was not put back: {result.text}")
    expected = now.decision if now else None
    decision = ledger.roll_back(target.model_round, target.version, target.sha256, expected, why)
    with suppress(TrackingError):
        show_champion(places, ledger, picture.open_tracker(places, ledger))
    return Champion(target.model_round, target.version, target.sha256, decision.id)


def choose(decisions: Sequence[Decision], now: Champion | None, number: int | None) -> Decision:
    """The release to go back to: of that round, or the one that the champion came after.

    Said twice it goes back twice, and never to what was rolled back.

    Raises:
        UsageError: there is none.
    """
    released = [one for one in decisions if one.action != "hold"]
    if number is None:
        found = _line(released)[:-1]
    else:
        current = now.round if now else None
        found = [one for one in released if one.model_round == number != current]
    if not found:
        if number is None:
            wanted = "no earlier champion"
        elif now and number == now.round:
            wanted = f"round {number} is the champion"
        else:
            wanted = f"round {number} was never the champion"
        raise UsageError(f"nothing to put back: {wanted}; see `roundhouse rounds`")
    return found[-1]


def _line(released: Sequence[Decision]) -> list[Decision]:
    """The champions that stand, one upon the other: a rollback takes off what came after."""
    line: list[Decision] = []
    for one in released:
        rounds = [standing.model_round for standing in line]
        if one.action == "rollback" and one.model_round in rounds:
            del line[rounds.index(one.model_round) + 1 :]
        else:
            line.append(one)
    return line


def show_champion(places: Locations, ledger: Ledger, tracker: Tracker) -> bool:
    """Points MLflow's alias at the champion, under the name that it was registered by.

    Returns:
        Whether its version was found there; True where there is no champion.

    Raises:
        TrackingError: MLflow is away. The ledger has decided; `up` and later rounds try again.
    """
    champion = ledger.champion()
    if champion is None:
        return True
    name = read_settings(places.root, tag_name(champion.round)).publish.model_name
    return tracker.show_champion(name, champion.version)


def show_decisions(ledger: Ledger, tracker: Tracker) -> None:
    """Says in MLflow of every version what the ledger decided on it, where that is not there.

    Raises:
        TrackingError: MLflow is away. The ledger has decided; `up` and later rounds try again.
    """
    made = [one for one in ledger.decisions() if one.round is not None]
    tracker.show_decisions({(one.model_round, one.version): OUTCOMES[one.action] for one in made})


def answers_as_published(
    places: Locations, number: int, sha256: str, probe: str, timeout: float = smoke.TIMEOUT
) -> SmokeResult:
    """What a fresh process makes of a round's model as the remote gives it out.

    Args:
        places: the checkout's.
        number: of a round whose tag is there.
        sha256: of the model's folder, as it was decided on.
        probe: what it is asked.
        timeout: seconds for loading and one short answer.

    Raises:
        DataError: the remote does not have all of its files unharmed.
    """
    with TemporaryDirectory(prefix="roundhouse-") as folder:
        reader = objects.Reader(places, tag_name(number), mend=False, from_remote=True)
        reader.extract(MODEL.as_posix(), Path(folder))
        result = smoke.run(Path(folder), probe, timeout)
    if result.passed and result.sha256 != sha256:
        return result._replace(passed=False, text="the remote gives out another model")
    return result


def talk(places: Locations, ledger: Ledger, temperature: float) -> Callable[[str], str]:
    """The champion as a function from prompt to answer.

    Raises:
        UsageError: no round was promoted yet.
    """
    champion = ledger.champion()
    if champion is None:
        raise UsageError("there is no champion yet: no round was promoted; see `roundhouse rounds`")
    settings = read_settings(places.root, tag_name(champion.round))
    from roundhouse.learn.answering import answerer  # noqa: PLC0415 - torch, only for talking

    with published_model(places, champion.round, champion.sha256) as folder:
        return answerer(folder, settings.model, temperature, settings.seed)
