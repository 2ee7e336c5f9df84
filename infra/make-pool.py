"""`python make-pool.py NAME TYPE [TEMPLATE]`: a work pool, unless there is one of that name.

`prefect work-pool create` would have the server fetch a list of pool types from GitHub first. One
that is there is left as people have set it, but for the template of its jobs.
"""

import json
import sys
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker


def main(name: str, kind: str, template: str | None = None) -> None:
    """Makes the pool, or gives it the template."""
    jobs = (
        json.loads(Path(template).read_text(encoding="utf-8"))
        if template
        else ProcessWorker.get_default_base_job_template()
    )
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=jobs))
        except ObjectAlreadyExists:
            client.update_work_pool(name, WorkPoolUpdate(base_job_template=jobs))


if __name__ == "__main__":
    main(*sys.argv[1:])
