"""Start the dashboard's server, and end it cleanly.

    serve(Path("store"))                  # until Ctrl-C
    with running(Path("store")) as url:   # while the block runs

The server listens on this machine only, answers to no other host name, keeps statistics and tracebacks to itself, and
watches no files. Streamlit is a process of its own, because it claims signals and the main thread.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lineage.errors import EarmarkError
from lineage.store import Store

HOST = "localhost"
PORT = 8501
PATIENCE_S = 60.0  # until the server has to be up
GRACE_S = 5.0  # until it has to be gone

ALLOWED_HOSTS = (HOST, "127.0.0.1")  # a page elsewhere that rebinds its name to this machine is refused
SETTINGS = {
    "server.address": HOST,
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.scriptHealthCheckEnabled": "true",  # so that the first page is ready before anybody asks for it
    "server.enableStaticServing": "false",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",
    "browser.serverAddress": HOST,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.toolbarMode": "viewer",
    "runner.magicEnabled": "false",
    "logger.level": "warning",
    "logger.hideWelcomeMessage": "true",
    "theme.base": "light",
    "theme.primaryColor": "#1d5a96",
    "theme.textColor": "#1f2933",
    "theme.backgroundColor": "#ffffff",
    "theme.secondaryBackgroundColor": "#f5f7f9",
    "theme.borderColor": "#dfe4ea",
    "theme.baseRadius": "4px",
    "theme.baseFontSize": "15",
}


def command(store: Path, port: int) -> list[str]:
    """The command line of the server."""
    script = Path(__file__).with_name("app.py")
    options = [f"--{name}={value}" for name, value in {**SETTINGS, "server.port": str(port)}.items()]
    options += [f"--server.allowedHosts={host}" for host in ALLOWED_HOSTS]
    return [sys.executable, "-m", "streamlit", "run", str(script), *options, "--", str(store.resolve())]


@contextmanager
def running(store: Path, port: int = PORT, *, patience_s: float = PATIENCE_S) -> Iterator[str]:
    """The server over a store while the block runs; gives its URL once it answers.

    Raises:
        EarmarkError: there is no store, Streamlit is not installed, the port is taken, or the server does not come up.
    """
    Store.open(store)
    _free(port)
    process = _start(store, port)
    try:
        _wait(process, port, patience_s)
        yield f"http://{HOST}:{port}"
    finally:
        _stop(process)


def serve(store: Path, port: int = PORT) -> None:
    """Serve a store until Ctrl-C (or SIGTERM), which is the good end.

    Raises:
        EarmarkError: as for `running`, or the server stopped by itself.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with running(store, port) as url:
            sys.stdout.write(f"Dashboard of {store}: {url}  (Ctrl-C ends it)\n")
            sys.stdout.flush()
            while _answers(port) or _answers(port, seconds=10):
                time.sleep(1.0)
            raise EarmarkError(f"the dashboard at {url} stopped by itself — start it again")
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _free(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise EarmarkError(f"port {port} cannot be had ({error}) — choose another with --port") from error


def _start(store: Path, port: int) -> subprocess.Popen[bytes]:
    try:
        import streamlit  # noqa: F401
    except ImportError as error:
        raise EarmarkError("the dashboard needs Streamlit — pip install 'earmark[dashboard]'") from error
    # Its own session: Ctrl-C in a terminal reaches this process, which then ends the server in order.
    environment = {**os.environ, "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false"}
    return subprocess.Popen(
        command(store, port),
        start_new_session=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _wait(process: subprocess.Popen[bytes], port: int, patience_s: float) -> None:
    """Until the server answers and has once run the first page, which loads packages and fills the cache."""
    end = time.monotonic() + patience_s
    while not _answers(port):
        if process.poll() is not None:
            raise EarmarkError(f"the dashboard ended at once with status {process.returncode} — its message is above")
        if time.monotonic() > end:
            raise EarmarkError(f"the dashboard did not answer on port {port} within {patience_s:g} s — try again")
        time.sleep(0.1)
    if not _answers(port, "script-health-check", patience_s):
        raise EarmarkError("the dashboard's first page cannot be shown — its message is above")


def _answers(port: int, what: str = "health", seconds: float = 1.0) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/_stcore/{what}", timeout=seconds) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
