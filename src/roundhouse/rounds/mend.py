"""What nobody else puts right when a round's process dies, or MLflow was away: MLflow's picture.

Whoever holds the rounds does this at the start of a round; `roundhouse up` does it all the time,
and `roundhouse rounds` where it sees a dead round. The lock says who is alive.
"""

from collections.abc import Callable
from functools import partial

from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name, tag_number
from roundhouse.rounds import picture
from roundhouse.rounds.begin import last_tag
from roundhouse.rounds.lock import is_held
from roundhouse.rounds.release import show_champion, show_decisions
from roundhouse.tracking import Tracker


def at_work(places: Locations) -> bool:
    """Whether a live process on this machine works on a round of this checkout."""
    return is_held(places.state / "round.lock")


def end_dead(places: Locations, tracker: Tracker) -> list[str]:
    """Closes MLflow runs that this machine left as running; returns their ids.

    They are listed before the lock is looked at: what claimed to run then, while nobody holds the
    lock now, is dead.

    Raises:
        TrackingError: MLflow is away.
    """
    claimed = tracker.running(tracker.host)
    if not claimed or at_work(places):
        return []
    return tracker.end_dead(claimed)


def mend(places: Locations, ledger: Ledger, tracker: Tracker) -> list[str]:
    """Closes dead runs, sends what finished rounds could not, and puts tags and alias right.

    What one of them lacks keeps none of the others from being put right: the first error is raised
    at the end.

    Returns:
        Ids of runs that were closed.

    Raises:
        TrackingError: MLflow is away.
        OSError: a finished round's record or settings are gone from its workspace.
    """
    dead = end_dead(places, tracker)
    if at_work(places):
        return dead
    behind = picture.behind(places)
    work: list[Callable[[], object]] = [partial(picture.make_up, tracker, one) for one in behind]
    work += [
        partial(show_decisions, ledger, tracker),
        partial(_show_champion, places, ledger, tracker),
    ]
    errors = []
    for each in work:
        try:
            each()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return dead


def _show_champion(places: Locations, ledger: Ledger, tracker: Tracker) -> None:
    """Points the alias at the champion, once the tag of the round that decided last is here."""
    made = [one for one in ledger.decisions() if one.round is not None]
    if made and tag_number(last_tag(places.root) or tag_name(0)) >= made[-1].model_round:
        show_champion(places, ledger, tracker)
