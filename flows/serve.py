"""Offers the round to the Prefect server and runs what it schedules: `python -m flows.serve`.

Schedule: `--cron` in `--timezone`, and `--on-feedback` new rows; without them rounds are started by
hand in the UI. One round at a time: a run that comes due while another is at work is cancelled, so
missed ones do not pile up. It leaves behind the deployment `rlhf-round/schedule`, paused once this
process has ended.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.schedules import Cron

from flows.round import rlhf_round
from flows.watch import Watch

#: The name after the flow's own.
NAME = "schedule"


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(prog="flows.serve")
    parser.add_argument("--root", default=".", help="the checkout")
    parser.add_argument("--cron", help="when rounds start")
    parser.add_argument("--timezone", default="UTC", help="of --cron")
    parser.add_argument("--min-feedback", type=int, help="skip below this many new rows")
    parser.add_argument("--on-feedback", type=int, help="start when this many new rows have come")
    options = parser.parse_args(arguments)
    try:
        schedule = Cron(options.cron, timezone=options.timezone) if options.cron else None
    except ValueError as error:
        sys.exit(f"--cron: {error}")
    root = Path(options.root).resolve()
    Watch(root, f"{rlhf_round.name}/{NAME}", options.on_feedback).start()
    rlhf_round.serve(
        name=NAME,
        description=(__doc__ or "").partition("\n\n")[2],
        schedule=schedule,
        parameters={"root": str(root), "min_feedback": options.min_feedback, "finish": True},
        tags=["roundhouse"],
        global_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        print_starting_message=False,
    )


if __name__ == "__main__":
    main()
