"""A real MLflow server for tests, and a proxy before it with the faults of a network."""

import hashlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from roundhouse.environment import MLFLOW, PRIVATE


class Server:
    """A real MLflow server that can be killed and started again on its port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        artifacts = ["--artifacts-destination", str(self._folder / "artifacts")]
        store = ["--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *where, *artifacts, *store],
            env=os.environ | PRIVATE | MLFLOW,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + 400
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
            except OSError:
                assert self.process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
            else:
                return

    def kill(self) -> None:
        """Ends it at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, with a fault that can be changed at any time.

    Attributes:
        fault: "" passes everything; "down" drops the request; "error" answers 500; "slow" waits
            before it passes on; "lost" passes a write on and drops the answer, the first time that
            it comes.
        seconds: the wait of "slow".
        writes: requests that were passed on and may have changed something.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = port
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        self.fault = ""
        self.seconds = 5.0
        self.writes = 0
        self.seen: set[bytes] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is no news here."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault
        if fault == "down":
            self.close_connection = True
            return
        if fault == "error":
            self.send_error(500)
            return
        if fault == "slow":
            time.sleep(self.server.seconds)
        port = self.server.upstream
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as upstream:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            content = answer.read()
        if self._is_lost(body):
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _is_lost(self, body: bytes) -> bool:
        if self.command == "GET" or self.path.endswith("/search"):
            return False
        self.server.writes += 1
        name = hashlib.sha256(f"{self.command} {self.path} ".encode() + body).digest()
        first = name not in self.server.seen
        self.server.seen.add(name)
        return self.server.fault == "lost" and first

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
