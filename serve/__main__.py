"""`python -m serve`: the one way to start the server."""

import functools
import os
import signal
import socket
import sys
from types import FrameType

from serve import locked, settings
from serve.api import DisasterAPI, Server, leave_with_parent

MAX_BODY = 16 * 2**20  # bytes
DRAIN = 7  # seconds for requests in flight at the end; Cloud Run allows 10 in all


def main() -> None:
    """Verify the model, then serve it until SIGTERM or SIGINT."""
    try:
        options = settings.load()
        manifest = locked.verify(options.model_uri)
        _require_free(options.host, options.port)
    except (settings.SettingsError, locked.LockedModelError) as error:
        sys.exit(f"error: {error}")
    os.register_at_fork(after_in_child=leave_with_parent)  # the HTTP process, the queues'
    signal.signal(signal.SIGTERM, functools.partial(_interrupt, os.getpid()))
    server = Server(
        DisasterAPI(options.model_uri, options.predict_route),
        accelerator="cpu",
        healthcheck_path=options.health_route,
        model_metadata={"version": manifest.version, **manifest.model_dump()},
        max_payload_size=MAX_BODY,
        restart_workers=True,
    )
    server.uvicorn_graceful_timeout = DRAIN
    print(f"model {manifest.version} at http://{options.host}:{options.port}/docs", flush=True)
    server.run(
        host=options.host,
        port=options.port,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


def _require_free(host: str, port: int) -> None:
    """Say that the port is taken before any worker is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise settings.SettingsError(f"PORT: {port} on {host}: {error.strerror}") from error


def _interrupt(main_process: int, _signal: int, _frame: FrameType | None) -> None:
    """End as on Ctrl-C, which LitServe knows how to: it answers what is in flight and leaves.

    The HTTP process, forked from this one, inherits the handler and ends by uvicorn's own.
    """
    if os.getpid() == main_process:
        raise KeyboardInterrupt


if __name__ == "__main__":
    main()
