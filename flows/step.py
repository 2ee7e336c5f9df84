"""What Prefect shows of a round: a task for every step, and links and tables beside it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL

from flows import reconcile
from roundhouse.report import round_lines

T = TypeVar("T")


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def _step(name: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return work(*arguments)


@contextmanager
def shown_only() -> Iterator[None]:
    """What the block shows in Prefect is worth no round: a server that is away is passed over."""
    try:
        yield
    # Anything at all, see above.
    except Exception as error:
        get_run_logger().warning("not shown in Prefect: %s: %s", type(error).__name__, error)


def enter(root: Path) -> str | None:
    """Signs the flow run as this process, and ends what dead ones left.

    Returns:
        Its address in the Prefect UI; None where there is no server to show it.
    """
    with shown_only():
        own = UUID(flow_run.id)
        reconcile.sign(own)
        reconcile.end_dead(root, but=own)
    return flow_run.ui_url if PREFECT_API_URL.value() else None


def call_run(name: str, ledger: str) -> None:
    """Gives the flow run that is at work its round's name, and says whose rounds it owns."""
    with shown_only(), get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=name)
        client.update_flow_run_labels(flow_run.id, {reconcile.LEDGER: ledger})


def end_lost(ledger: str) -> None:
    """Ends runs of machines that were lost; to be called while this run owns the rounds."""
    with shown_only():
        reconcile.end_lost(UUID(flow_run.id), ledger)


def leave_link(number: int, page: str | None) -> None:
    """Leaves a link to the round's run in MLflow beside the flow run, where MLflow has a page."""
    if page:
        with shown_only():
            create_link_artifact(
                link=page,
                link_text=f"Round {number} in MLflow: curves, figures, model",
                key=f"mlflow-{number:04d}",
                description=f"[{page}]({page})",
            )


def leave_table(record: dict[str, Any], page: str | None = None) -> None:
    """Leaves the round's table as an artifact, beside the run in the Prefect UI."""
    link = f"[Curves, figures and model in MLflow]({page})\n\n" if page else ""
    with shown_only():
        create_markdown_artifact(
            markdown=f"{link}```\n{round_lines(record)}\n```",
            key=f"round-{record['round']:04d}" if "round" in record else "round-skipped",
            description="figures, rules and where to look further",
        )


def step(name: str, work: Callable[..., T], *arguments: Any) -> T:
    """Runs `work(*arguments)` as a Prefect task called `name`.

    Nothing is cached or stored by Prefect: what a step leaves lies in files, and every step finds
    out by itself whether it was done.
    """
    return cast(T, _step(name, work, arguments))
