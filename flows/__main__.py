"""`python -m flows REQUEST RESULT`: one round in this process, for the command line.

REQUEST is JSON, the flow's parameters. The round's record, or its error, is written to RESULT.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

from flows.round import rlhf_round
from roundhouse import jsonl, storage
from roundhouse.errors import RoundhouseError


def outcome(request: dict[str, Any]) -> dict[str, Any]:
    """The record of the round, or `{"error": line, "exit_code": code}`."""
    state: Any = rlhf_round(**request, return_state=True)
    try:
        record: dict[str, Any] = state.result()
    except RoundhouseError as error:
        return {"error": str(error), "exit_code": error.exit_code}
    except OSError as error:
        said = storage.worded(error, Path(error.filename or request["root"]))
        if said is None:
            raise
        return {"error": str(said), "exit_code": said.exit_code}
    return record


if __name__ == "__main__":
    # The command asks it to end by an interrupt, which a script's background jobs have ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        jsonl.write_json(Path(sys.argv[2]), outcome(json.loads(sys.argv[1])))
    except KeyboardInterrupt:
        # The command says in one line how to go on.
        sys.exit(130)
