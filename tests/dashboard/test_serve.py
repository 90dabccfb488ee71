"""The server: on this machine only, and gone when it is told to go."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dashboard.serve import SETTINGS, command, running
from lineage.errors import EarmarkError
from tests.dashboard.conftest import free_port
from tests.dashboard.stores import Known

PROGRAM = "import sys; from pathlib import Path; from dashboard.serve import serve; serve(Path(sys.argv[1]), int(sys.argv[2]))"


def test_the_settings_are_those_of_a_private_server(tmp_path: Path) -> None:
    said = command(tmp_path, 8600)
    assert SETTINGS["server.address"] == "localhost"
    for setting in (
        "--browser.gatherUsageStats=false", "--client.showErrorDetails=none", "--client.toolbarMode=viewer",
        "--server.fileWatcherType=none", "--server.headless=true", "--server.port=8600", "--server.allowedHosts=localhost",
    ):  # fmt: skip
        assert setting in said
    assert said[-2:] == ["--", str(tmp_path.resolve())]


def test_it_answers_here_and_nowhere_else(server: str) -> None:
    port = urlsplit(server).port
    with urllib.request.urlopen(f"{server}/_stcore/health", timeout=10) as reply:
        assert reply.status == 200
    for address in {a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}:
        if not str(address).startswith("127."):
            with socket.socket() as probe:
                probe.settimeout(2)
                assert probe.connect_ex((str(address), port)) != 0


@pytest.mark.parametrize(("host", "status"), [("localhost", b"101"), ("evil.example", b"403")])
def test_a_foreign_host_name_is_refused(server: str, host: str, status: bytes) -> None:
    port = urlsplit(server).port
    assert port is not None
    with socket.create_connection(("localhost", port), timeout=10) as line:
        line.sendall(
            f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://{host}:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert line.recv(1024).split()[1] == status


def test_a_port_that_is_taken_is_named(known: Known) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(EarmarkError, match=f"port {port} .*--port"), running(known.store.root, port):
            pass


def test_without_a_store_nothing_is_started(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="no store at"), running(tmp_path, free_port()):
        pass


def _hear_interrupts() -> None:
    """A shell's background jobs are born deaf to Ctrl-C, and so are their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_it_cleanly(known: Known) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(known.store.root), str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, start_new_session=True,
        preexec_fn=_hear_interrupts,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert f"http://localhost:{port}" in line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, (out, err)
    assert "Traceback" not in err
    end = time.monotonic() + 5
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", port)) == 0:
            assert time.monotonic() < end
            time.sleep(0.1)
