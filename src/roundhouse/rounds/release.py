"""The champion after its release: put an earlier one back, or talk to the one there is."""

import shutil
from collections.abc import Callable
from pathlib import Path

from roundhouse import smoke
from roundhouse.errors import DataError, TrackingError, UsageError
from roundhouse.hashes import sha256_folder
from roundhouse.ledger import Champion, Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import objects
from roundhouse.rounds.begin import read_settings
from roundhouse.rounds.publish import CHAMPION_ALIAS
from roundhouse.settings import Settings
from roundhouse.tracking import Tracker


def rollback(places: Locations, ledger: Ledger, number: int | None, why: str) -> Champion:
    """Makes an earlier champion the champion again, after its bytes have loaded and answered.

    Args:
        number: the round whose model; None takes the champion before this one.

    Raises:
        UsageError: there is no such earlier champion.
        DataError: its published bytes are missing or altered, or do not answer.
    """
    now = ledger.champion()
    released = [d for d in ledger.decisions() if d.action != "hold"]
    earlier = [d for d in released if now is None or d.version != now.version]
    if number is not None:
        earlier = [d for d in earlier if d.model_round == number]
    if not earlier:
        wanted = f"round {number} was never the champion" if number else "there is no earlier one"
        raise UsageError(f"nothing to put back: {wanted}; see `roundhouse rounds`")
    target = earlier[-1]
    folder = published_model(places, target.model_round, target.sha256)
    settings = read_settings(places.root, tag_name(target.model_round))
    result = smoke.run(folder, settings.probes[0])
    if not result.passed:
        raise DataError(f"round {target.model_round}'s model was not put back: {result.text}")
    expected = now.decision if now else None
    decision = ledger.roll_back(target.model_round, target.version, target.sha256, expected, why)
    show_champion(places, settings, target.version)
    return Champion(target.model_round, target.version, target.sha256, decision.id)


def show_champion(places: Locations, settings: Settings, version: str) -> None:
    """Points MLflow's alias at the champion; the ledger has decided already, so this may fail."""
    try:
        tracker = Tracker(places.tracking_uri)
        tracker.set_alias(settings.publish.model_name, CHAMPION_ALIAS, version)
    except TrackingError:
        # The next round's publish sets it; the ledger's row is the truth.
        return


def published_model(places: Locations, number: int, sha256: str) -> Path:
    """A folder with the published bytes of a round's model, checked against the release.

    Raises:
        DataError: they are missing or altered.
    """
    folder = places.state / "models" / sha256
    if folder.exists() and sha256_folder(folder) == sha256:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    objects.extract(places, tag_name(number), "out/ppo/model", folder)
    if sha256_folder(folder) != sha256:
        shutil.rmtree(folder)
        raise DataError(f"the model of round {number} differs from its release: see `audit verify`")
    return folder


def talk(places: Locations, ledger: Ledger, temperature: float) -> Callable[[str], str]:
    """The champion as a function from prompt to answer.

    Raises:
        UsageError: no round was promoted yet.
    """
    champion = ledger.champion()
    if champion is None:
        raise UsageError("there is no champion yet: no round was promoted; see `roundhouse rounds`")
    folder = published_model(places, champion.round, champion.sha256)
    settings = read_settings(places.root, tag_name(champion.round))
    from roundhouse.learn.models import load  # noqa: PLC0415 - torch, only for talking
    from roundhouse.learn.sampling import answer  # noqa: PLC0415 - as above

    policy = load(folder)

    def reply(prompt: str) -> str:
        chat = [{"role": "user", "content": prompt}]
        return answer(policy, [chat], settings.model, temperature, settings.seed)[0].text

    return reply
