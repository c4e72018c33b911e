"""`python -m serve`: the one way to start the server."""

import functools
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from types import FrameType

from locked.manifest import LockedModelError
from locked.store import ModelStore
from serve import settings
from serve.connections import Protocol
from serve.lifetime import leave_with_parent
from serve.server import Server

FORKS = "OBJC_DISABLE_INITIALIZE_FORK_SAFETY"


def main() -> None:
    """Verify the model, then serve it until SIGTERM or SIGINT."""
    _let_fork()
    with tempfile.TemporaryDirectory(prefix="disaster-tweets-") as own:
        main_process = os.getpid()
        try:
            options = settings.load()
            _require_free(options.host, options.port)
            store = ModelStore(options.model_uri, Path(own))
            server = Server(options, store, store.fetch())
        except (settings.BadSettingError, LockedModelError) as error:
            sys.exit(f"error: {error}")
        os.register_at_fork(after_in_child=functools.partial(leave_with_parent, Path(own)))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, functools.partial(_end, server, main_process))
        version = server.model.manifest.version
        print(f"model {version} at http://{options.host}:{options.port}/", flush=True)
        server.run(
            host=options.host,
            port=options.port,
            num_api_servers=1,
            generate_client_file=False,
            access_log=False,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            http=Protocol,
            timeout_keep_alive=options.keep_alive,
        )
    if server.ending.broken:
        sys.exit(1)


def _let_fork() -> None:
    """Begin again on a Mac, with what its libraries read before Python starts.

    Without it macOS may kill a forked process when that first uses Objective-C, as in looking for
    a proxy on the way to a bucket.
    """
    if sys.platform == "darwin" and FORKS not in os.environ:
        os.environ[FORKS] = "YES"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell


def _require_free(host: str, port: int) -> None:
    """Say that the port is taken before any worker is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise settings.BadSettingError(f"PORT: {port} on {host}: {error.strerror}") from error


def _end(server: Server, main_process: int, _signal: int, _frame: FrameType | None) -> None:
    """End as LitServe does: it answers what is in flight and leaves.

    The HTTP process, forked from this one, has the handler until uvicorn sets its own.
    """
    if os.getpid() != main_process:
        sys.exit()
    server.ending.set()


if __name__ == "__main__":
    main()
