"""The one task of all steps: in the Prefect UI it bears the step's name."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from roundhouse.report import round_lines

T = TypeVar("T")


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def _step(name: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return work(*arguments)


def call_run(name: str) -> None:
    """Gives the flow run that is at work a name; Prefect names it before the round has a number."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=name)


def leave_table(record: dict[str, Any]) -> None:
    """Leaves the round's table as an artifact, beside the run in the Prefect UI."""
    create_markdown_artifact(
        markdown=f"```\n{round_lines(record)}\n```",
        key=f"round-{record['round']:04d}" if "round" in record else "round-skipped",
        description="figures, rules and where to look further",
    )


def step(name: str, work: Callable[..., T], *arguments: Any) -> T:
    """Runs `work(*arguments)` as a Prefect task called `name`.

    Nothing is cached or stored by Prefect: what a step leaves lies in files, and every step finds
    out by itself whether it was done.
    """
    return cast(T, _step(name, work, arguments))
