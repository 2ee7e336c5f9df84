"""`plan`: what the next labels cost and can show; and which pairs to have labelled."""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roundhouse import jsonl, report
from roundhouse.cli.output import add, here, opened, outcome, show, whole_number
from roundhouse.errors import NoLedgerError, UsageError
from roundhouse.feedback import messages
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.params import load
from roundhouse.settings import Settings

if TYPE_CHECKING:
    from roundhouse.raters.choosing import Telling
    from roundhouse.raters.planning import Plan, Point
    from roundhouse.raters.power import Power
    from roundhouse.rounds.past import Pace

METHODS = ("random", "margin", "disagreement", "information")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command of this module."""
    command = add(commands, "plan", _run, "what the next ratings cost, and what they can show")
    much = command.add_mutually_exclusive_group()
    much.add_argument("--ratings", type=whole_number, metavar="N", help="ratings wanted")
    much.add_argument("--hours", type=_amount, metavar="H", help="hours of work, all raters'")
    much.add_argument("--money", type=_amount, metavar="M", help="needs --wage")
    command.add_argument("--wage", type=_amount, metavar="W", help="what an hour costs")
    command.add_argument(
        "--raters",
        type=whole_number,
        metavar="N",
        help="people; default: those of the newest published round",
    )
    command.add_argument(
        "--overlap",
        type=float,
        nargs="+",
        default=[0.3],
        metavar="SHARE",
        help="pairs that several people see; several shares are compared; default: 0.3",
    )
    command.add_argument(
        "--together",
        type=whole_number,
        nargs="+",
        default=[3],
        metavar="N",
        help="how many people see those; several are compared; default: 3",
    )
    command.add_argument(
        "--replicates", type=whole_number, default=40, metavar="N", help="simulations; default: 40"
    )
    command.add_argument("--seed", type=whole_number, default=1, metavar="N", help="default: 1")
    command.add_argument(
        "--choose", type=whole_number, metavar="N", help="instead: choose pairs to have labelled"
    )
    command.add_argument(
        "--method", choices=METHODS, help="with --choose; default: plan.method of params.yaml"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="with --choose: written here")


def _amount(text: str) -> float:
    """An option's value that measures something.

    Raises:
        ArgumentTypeError: it is no number above 0.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return found


def _run(options: argparse.Namespace) -> int:
    return _plan(options) if options.choose is None else _choose(options)


def _plan(options: argparse.Namespace) -> int:
    from roundhouse.raters import planning  # noqa: PLC0415 - pandas, only here
    from roundhouse.rounds import past  # noqa: PLC0415 - pandas, only here

    places, ledger = _opened()
    settings = load(places.root / "params.yaml")
    pace = past.pace(ledger)
    ratings = options.ratings
    if ratings is None:
        ratings = planning.affordable(options.hours, options.money, options.wage, pace.seconds)
    raters, source = _raters(options, places, ledger)
    plans = [
        planning.lay_out(ratings, raters, overlap, together)
        for overlap, together in product(options.overlap, options.together)
    ]
    points = past.points(places, ledger) if ledger else []
    found = {
        "raters": {"count": raters, "source": source},
        "seconds": _pace(pace),
        "wage": options.wage,
        "rounds": [point._asdict() for point in points],
        "replicates": options.replicates,
        "seed": options.seed,
        "plans": [
            {
                **plan._asdict(),
                "each": plan.each,
                "cost": _known(planning.cost(plan, pace.seconds, options.wage)._asdict()),
                "accuracy": _accuracy(plan, points, settings),
                "power": [_known(one._asdict()) for one in powers],
            }
            for plan, powers in zip(plans, _powers(options, plans), strict=True)
        ],
    }
    show(options, found, report.plan_text(found))
    return 0


def _opened() -> tuple[Locations, Ledger | None]:
    """The places, and the ledger where there is one: plans are made before the first rating."""
    try:
        return opened()
    except NoLedgerError:
        return here(), None


def _raters(
    options: argparse.Namespace, places: Locations, ledger: Ledger | None
) -> tuple[int, str]:
    from roundhouse.rounds import past  # noqa: PLC0415 - pandas, only here

    if options.raters is not None:
        return options.raters, "given"
    found = past.raters(places, ledger) if ledger else None
    if found is None:
        raise UsageError("no published round tells how many raters there are: give --raters N")
    return found.people, f"round {found.round}"


def _powers(options: argparse.Namespace, plans: "Sequence[Plan]") -> "Iterator[list[Power]]":
    """What each plan's checks find; a terminal is told how far it is."""
    from roundhouse.raters import power  # noqa: PLC0415 - pandas, only here

    live = sys.stderr.isatty()
    for number, plan in enumerate(plans, 1):
        found: list[Power] = []
        for one in (
            power.checks(plan, options.replicates, options.seed) if options.replicates else ()
        ):
            found.append(one)
            if live:
                sys.stderr.write(f"\r\x1b[Kplan {number} of {len(plans)}: simulated {one.case}")
                sys.stderr.flush()
        yield found
    if live:
        sys.stderr.write("\r\x1b[K")


def _pace(pace: "Pace") -> dict[str, Any]:
    source = "ledger" if pace.rows else "default"
    return _known({"mean": pace.seconds, "median": pace.median}) | {
        "rows": pace.rows, "source": source
    }  # fmt: skip


def _accuracy(plan: "Plan", points: "Sequence[Point]", settings: Settings) -> dict[str, Any]:
    """What the learning curve says of the pairs so far and the plan's share of training pairs."""
    from roundhouse.raters import planning  # noqa: PLC0415 - pandas, only here

    train = 1 - settings.split.judge_share - settings.split.eval_share
    now = points[-1].pairs if points else 0
    then = now + round(train * plan.pairs)
    if settings.reward.max_pairs:
        then = min(then, settings.reward.max_pairs)
    found = planning.accuracy_after(points, then)
    return {"pairs_now": now, "pairs_then": then, **_known(found._asdict())}


def _known(figures: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what is not known is null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def _choose(options: argparse.Namespace) -> int:
    """Writes pairs of the newest round's list, mixed; each says how it was chosen."""
    import numpy as np  # noqa: PLC0415 - only here

    from roundhouse.raters import choosing  # noqa: PLC0415 - numpy, only here
    from roundhouse.rounds import past  # noqa: PLC0415 - pandas, only here

    if options.out is None:
        raise UsageError("--choose needs --out FILE, where the pairs are written")
    if options.choose == 0:
        raise UsageError("--choose 0: there is nothing to choose, give 1 or more")
    places, _ = _opened()
    method = options.method or load(places.root / "params.yaml").plan.method
    number, pairs = past.uncertain(places)
    if not pairs:
        raise UsageError(
            f"round {number} lists no pair to choose from: choose after another published round"
        )
    scores = np.array([pair["scores"] for pair in pairs], np.float64).reshape(-1, 2)
    doubt = np.array([pair["uncertainty"] for pair in pairs], np.float64)
    margin, features, known = scores[:, 0] - scores[:, 1], None, None
    if method == "information":
        labelled = past.labelled(places, number)
        if not labelled:
            raise UsageError(
                f"round {number} has no labelled pair, which --method information needs: "
                "give --method disagreement, margin or random"
            )
        margin, features, known = _telling(pairs, labelled)
    picked = choosing.choose(method, options.choose, options.seed, margin, doubt, features, known)
    drawn = choosing.at_random(method, len(picked))
    rows = [
        {
            "prompt": pairs[place]["prompt"],
            "responses": pairs[place]["responses"],
            "policy": tag_name(number),
            "chosen": "random" if rank < drawn else method,
        }
        for rank, place in enumerate(picked.tolist())
    ]
    order = np.random.default_rng(options.seed).permutation(len(rows))
    with outcome(options.out):
        jsonl.write(options.out, [rows[k] for k in order])
    found = {
        "round": number, "method": method, "pairs": len(rows), "of": len(pairs),
        "random": drawn, "file": str(options.out),
    }  # fmt: skip
    text = (
        f"{len(rows):,} of {len(pairs):,} pairs of round {number} written to {options.out}: "
        f"{drawn:,} at random, {len(rows) - drawn:,} by {method}"
    )
    show(options, found, text)
    return 0


def _telling(pairs: list[dict[str, Any]], labelled: list[dict[str, Any]]) -> "Telling":
    """What labels would teach a linear model on the pairs' words."""
    import numpy as np  # noqa: PLC0415 - only here

    from roundhouse.raters import choosing  # noqa: PLC0415 - numpy, only here
    from roundhouse.raters.table import Item  # noqa: PLC0415 - pandas, only here

    def item(prompt: str | list[dict[str, str]], a: str, b: str) -> Item:
        return Item(messages(prompt), a, b, "", "")

    items = [item(one["prompt"], one["responses"][0], one["responses"][1]) for one in pairs]
    taught = [item(one["prompt"], one["a"], one["b"]) for one in labelled]
    p, weight = (np.array([one[key] for one in labelled], np.float64) for key in ("p", "weight"))
    return choosing.by_text(items, taught, p, weight)
