"""`up`: the servers and the schedule on this machine."""

import argparse

from roundhouse.cli.output import here
from roundhouse.services import Plan, up


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command of this module."""
    text = "Prefect, MLflow and the schedule on this machine, until Ctrl-C"
    command = commands.add_parser("up", help=text, description=text)
    command.add_argument("--cron", metavar="EXPR", help='such as "0 2 * * 1"; none: no schedule')
    command.add_argument("--timezone", default="UTC", metavar="ZONE", help="of --cron")
    command.add_argument("--min-feedback", type=int, metavar="N", help="skip below N new rows")
    command.add_argument("--prefect-port", type=int, default=4200, metavar="PORT")
    command.add_argument("--mlflow-port", type=int, default=5000, metavar="PORT")
    command.set_defaults(run=_up)


def _up(options: argparse.Namespace) -> int:
    plan = Plan(
        options.cron,
        options.min_feedback,
        options.timezone,
        options.prefect_port,
        options.mlflow_port,
    )
    return up(here().root, plan)
