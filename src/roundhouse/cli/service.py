"""`up`: the servers and the schedule on this machine."""

import argparse

from roundhouse import services
from roundhouse.cli.output import here, port, whole_number


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command of this module."""
    text = "Prefect, MLflow and the schedule on this machine, until Ctrl-C"
    command = commands.add_parser("up", help=text, description=text)
    command.add_argument("--cron", metavar="EXPR", help='such as "0 2 * * 1"; none: no schedule')
    command.add_argument(
        "--min-feedback", type=whole_number, metavar="N", help="skip below N new rows"
    )
    command.add_argument(
        "--on-feedback", type=whole_number, metavar="N", help="start when N new rows have come"
    )
    command.add_argument("--timezone", default="UTC", help="of --cron, such as Europe/Berlin")
    command.add_argument("--prefect-port", type=port, default=4200, help="default: 4200")
    command.add_argument("--mlflow-port", type=port, default=5000, help="default: 5000")
    command.set_defaults(run=_up, json=False)


def _up(options: argparse.Namespace) -> int:
    plan = services.Plan(
        cron=options.cron,
        min_feedback=options.min_feedback,
        timezone=options.timezone,
        prefect_port=options.prefect_port,
        mlflow_port=options.mlflow_port,
        on_feedback=options.on_feedback or None,
    )
    return services.up(here().root, plan)
