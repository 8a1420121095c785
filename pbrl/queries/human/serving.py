"""Serving studies: the web application, and beside it the process that draws clips."""

import ipaddress
import logging
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from pbrl.queries.human.database import Database
from pbrl.queries.human.web.settings import WebSettings, check_url, load_secret

CLIPS = "clips"
SHUTDOWN_SECONDS = 10
KEEP_ALIVE_SECONDS = 30
_RESTART_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Where and how studies are served.

    Attributes:
        folder: for clips and the key that signs cookies.
        database_url: of the studies.
        host: address to listen at; other than loopback only with `expose`.
        port: to listen at.
        expose: let other machines in.
        url: what browsers call the server by, if not by host and port: of a proxy that adds TLS.
        draws_clips: whether to draw clips here.
    """

    folder: Path
    database_url: str
    host: str = "127.0.0.1"
    port: int = 8000
    expose: bool = False
    url: str | None = None
    draws_clips: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:  # noqa: PLR2004  what a port can be
            raise ValueError(f"port must be 1 to 65535, got {self.port}")
        if not (self.expose or is_loopback(self.host)):
            raise ValueError(
                f"host {self.host} lets other machines in: say --expose if that is meant, and put "
                "a proxy with TLS in front"
            )
        check_url(self.public_url)

    @property
    def public_url(self) -> str:
        """What browsers call the server by."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}"

    @property
    def warning(self) -> str | None:
        """What is unsafe about this, if anything."""
        if self.expose and not self.public_url.startswith("https:"):
            return (
                "other machines can reach this server and what they send is not encrypted: whoever "
                "listens can take invitations and sessions. Put a proxy with TLS in front and name "
                "its address with --url https://..."
            )
        return None


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(config: ServeConfig) -> socket.socket:
    """Return a socket that listens where the configuration says.

    Raises:
        ValueError: if the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        raise ValueError(
            f"cannot listen at {config.host} port {config.port}: {error.strerror}; "
            "choose another with --port"
        ) from None


def serve(config: ServeConfig, sock: socket.socket | None = None) -> None:
    """Serve until interrupted.

    Args:
        config: where and how.
        sock: what `listen` returned, for a caller who wants to know first whether the port is free.

    Raises:
        ImportError: if the extra `label` is not installed.
        ValueError: if the port is taken.
    """
    try:
        import uvicorn

        from pbrl.queries.human.web.app import create_app
    except ImportError as error:
        raise ImportError(f"{error}: pip install 'pbrl[label]'") from None
    sock = sock or listen(config)
    config.folder.mkdir(parents=True, exist_ok=True)
    settings = WebSettings(
        clips=config.folder / CLIPS, secret=load_secret(config.folder), url=config.public_url
    )
    database = Database(config.database_url)
    drawing = ClipProcess(config) if config.draws_clips else None
    try:
        options = uvicorn.Config(
            create_app(database, settings),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # an address that a client names itself is no address
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        uvicorn.Server(options).run(sockets=[sock])
    finally:
        if drawing is not None:
            drawing.stop()
        database.close()


class ClipProcess:
    """The process that draws clips, started again whenever it dies.

    A segment that kills a renderer then kills no server; the second time it is drawn without one.
    """

    def __init__(self, config: ServeConfig) -> None:
        self._command = [sys.executable, "-m", "pbrl.queries.human.worker"]
        self._command += ["--folder", str(config.folder / CLIPS)]
        self._environment = {
            **os.environ,
            "PBRL_DATABASE_URL": config.database_url,
            "OMP_NUM_THREADS": "1",
        }
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the process."""
        self._stop.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(SHUTDOWN_SECONDS)

    def _keep_running(self) -> None:
        while not self._stop.is_set():
            self._process = subprocess.Popen(self._command, env=self._environment)  # noqa: S603
            status = self._process.wait()
            if not self._stop.is_set():
                log.warning("the process that draws clips ended with %d; it starts again", status)
                self._stop.wait(_RESTART_SECONDS)
