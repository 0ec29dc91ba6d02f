"""Runs the viewer: on this machine's own address, until it is stopped."""

import socket
from collections.abc import Callable
from contextlib import suppress

from veridistill.data.rundir import RunDir
from veridistill.errors import ConfigError, missing_extra
from veridistill.view.guard import Guard, Keys
from veridistill.view.indexing import Indexer
from veridistill.view.site import Site

HOST = "127.0.0.1"


def serve(run: RunDir, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. `ready` is told the address, token included, once it can be opened; `port` 0: any free one.

    Raises `ConfigError` when the port is taken and `MissingExtra` without the packages of the extra.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError:
        raise missing_extra("veridistill view", "view") from None

    with _bound(port) as listening:
        keys = Keys(listening.getsockname()[1])
        indexer = Indexer(run)
        application = Guard(Site(run, keys, indexer).application(), keys)
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=2,
            )
        )
        indexer.start()
        try:
            listening.listen()
            ready(keys.address)
            with suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
        finally:
            indexer.stop()


def _bound(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
    except OSError as error:
        found.close()
        raise ConfigError(
            f"--port {port}: cannot be used ({error.strerror}); leave it out for a free one"
        ) from None
    return found
