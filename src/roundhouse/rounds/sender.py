"""Sends a round's figures to MLflow beside the round's own work, which never waits for it.

Jobs run one after another on a thread of their own. One that fails is tried again, the others
first, until the round is over; what is left then is made up for later from the round's files.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from roundhouse.errors import TrackingError

#: Time between two tries while MLflow is away (seconds).
RETRY = 5.0


class Job(NamedTuple):
    """Something to send; `lasting` says whether it is worth another try."""

    work: Callable[[], object]
    lasting: bool


class Sender:
    """Runs jobs by name, in order; a job of the same name that still waits is replaced.

    Args:
        warn: gets the first error, once.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._warned = False
        self._waiting: dict[str, Job] = {}
        self._failed: set[str] = set()
        self._changed = threading.Condition()
        self._closed = self._held = False
        self._thread: threading.Thread | None = None

    def send(self, name: str, work: Callable[[], object], lasting: bool = True) -> None:
        """Queues a job and returns at once."""
        with self._changed:
            self._waiting[name] = Job(work, lasting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, seconds: float) -> list[str]:
        """Waits until all is sent, the time is over, or every job has failed once more.

        Returns:
            Names of what is left.
        """
        until = time.monotonic() + seconds
        with self._changed:
            self._failed.clear()
            self._changed.notify_all()
            while self._waiting and not self._failed >= self._waiting.keys():
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return list(self._waiting)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Starts no job while the block runs: MLflow is asked for what cannot wait."""
        self._hold(True)
        try:
            yield
        finally:
            self._hold(False)

    def _hold(self, held: bool) -> None:
        with self._changed:
            self._held = held
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the thread after the job at work; what waits is dropped."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                # After a failure of all that waits, a while passes; new work, or `wait`, ends it.
                if self._waiting and self._failed >= self._waiting.keys():
                    self._changed.wait(RETRY)
                    self._failed.clear()
                while (self._held or not self._waiting) and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                name = next(n for n in self._waiting if n not in self._failed)
                job = self._waiting[name]
            arrived = self._arrives(job)
            with self._changed:
                if self._waiting.get(name) is job and (arrived or not job.lasting):
                    del self._waiting[name]
                elif not arrived:
                    self._failed.add(name)
                self._changed.notify_all()

    def _arrives(self, job: Job) -> bool:
        try:
            job.work()
        # Any failure at all: this thread must live on, and the round end, with or without it.
        except Exception as error:
            if not self._warned:
                self._warned = True
                reason = str(error) if isinstance(error, TrackingError) else repr(error)
                # Nobody may be there to be warned.
                with suppress(OSError):
                    self._warn(f"warning: {reason}; training goes on")
            return False
        return True
