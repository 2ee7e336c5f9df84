"""Progress on a terminal, in a log, and for nobody."""

import io
import json
import os
import pty
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from roundhouse.rounds.progress import Progress


def _closed_terminal() -> TextIO:
    ours, theirs = pty.openpty()
    os.close(ours)
    return os.fdopen(theirs, "w", encoding="utf-8")


def _pipe_without_a_reader() -> TextIO:
    ours, theirs = os.pipe()
    os.close(ours)
    return os.fdopen(theirs, "w", encoding="utf-8")


@pytest.fixture(params=[_closed_terminal, _pipe_without_a_reader])
def nobody(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    stream: TextIO = request.param()
    with pytest.raises(OSError):
        stream.write("is anybody there?\n")
        stream.flush()
    yield stream
    with pytest.raises(OSError):
        stream.close()


def test_a_terminal_that_is_gone_costs_no_round(nobody: TextIO, tmp_path: Path) -> None:
    journal = tmp_path / "sft.jsonl"
    journal.write_text(json.dumps({"step": 1, "total": 2}) + "\n", encoding="utf-8")
    progress = Progress(nobody)
    progress.say("round 1")
    progress.start("sft")
    # As if the last line had been shown a minute ago.
    progress._shown -= 60
    progress.watch(journal)
    assert progress.done() >= 0.0


def test_a_log_gets_whole_lines_with_the_time() -> None:
    log = io.StringIO()
    progress = Progress(log)
    progress.start("sft")
    progress.done("unchanged")
    progress.say("the end")
    first, second = log.getvalue().splitlines()
    assert first[2:6:3] == second[2:6:3] == "::"
    assert first.endswith(" s  unchanged")
    assert second.endswith(" the end")
