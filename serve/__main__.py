"""`python -m serve`: the one way to start the server."""

import argparse
import functools
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from locked.manifest import LockedModelError
from locked.store import ModelStore
from serve import logs, settings
from serve.connections import Protocol, raise_file_limit
from serve.server import CLOSE_TIME, UVICORN, Server

FORKS = "OBJC_DISABLE_INITIALIZE_FORK_SAFETY"


def main(arguments: Sequence[str] | None = None) -> None:
    """Verify the model, then serve it until SIGTERM or SIGINT."""
    names = ", ".join(name.upper() for name in settings.Settings.model_fields)
    argparse.ArgumentParser(
        prog="python -m serve",
        description="Serve the locked model over HTTP, until Ctrl-C or SIGTERM.",
        epilog=f"Settings are environment variables, which docs/serve.md describes: {names}.",
    ).parse_args(arguments)
    _let_fork()
    try:
        folder = tempfile.TemporaryDirectory(prefix="disaster-tweets-")
    except OSError as error:
        sys.exit(f"error: no folder for the copy of the model: {error}. Set TMPDIR to one")
    with folder as name:
        _serve(Path(name))


def _serve(folder: Path) -> None:
    main_process = os.getpid()
    try:
        options = settings.load()
        check_places(options)
        server = Server(options, ModelStore(options.model_uri, folder))
    except (settings.BadSettingError, LockedModelError) as error:
        sys.exit(f"error: {error}")
    Protocol.limit = raise_file_limit()
    os.register_at_fork(after_in_child=functools.partial(_leave_with_parent, folder))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, functools.partial(_end, server, main_process))
    version = server.model.manifest.version
    print(f"model {version} at http://{options.host}:{options.port}/", flush=True)
    server.run(
        host=options.host,
        port=options.port,
        num_api_servers=1,
        generate_client_file=False,
        **UVICORN,
    )
    logs.stdout.close(CLOSE_TIME)
    if server.is_broken:
        sys.exit(1)


def check_places(options: settings.Settings) -> None:
    """Check the port and the folder of the log; warn if that of the feedback cannot be written.

    Raises:
        BadSettingError: naming the setting, its value and the reason.

    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        socket.create_server((options.host, options.port), family=family).close()
    except OSError as error:
        problem = f"PORT: {options.port} on {options.host}: {error.strerror}"
        raise settings.BadSettingError(problem) from error
    places = {"PREDICTION_LOG": options.prediction_log}
    if options.feedback_file != settings.STDOUT:
        places["FEEDBACK_FILE"] = str(Path(options.feedback_file).parent)
    for name, place in places.items():
        if place in ("", settings.STDOUT):
            continue
        try:
            Path(place).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            problem = f"{name}: {place} cannot be written: {error.strerror} (errno {error.errno})"
            if name == "PREDICTION_LOG":
                raise settings.BadSettingError(problem) from error
            print(f"warning: {problem}. /feedback will answer 503", file=sys.stderr, flush=True)


def _let_fork() -> None:
    """Start again on a Mac, with a variable that its libraries read before Python starts.

    Without it macOS may kill a forked process when that first uses Objective-C, as in looking for
    a proxy on the way to a bucket.
    """
    if sys.platform == "darwin" and FORKS not in os.environ:
        os.environ[FORKS] = "YES"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell


def _end(server: Server, main_process: int, _signal: int, _frame: FrameType | None) -> None:
    """End as LitServe does: after the answers to the requests under way.

    A process forked from this one has this handler until it sets its own. It has nothing to clean
    up, and Python loses a SystemExit that is raised while it forks.
    """
    if os.getpid() != main_process:
        os._exit(0)
    server.is_ending = True


def _leave_with_parent(folder: Path) -> None:
    """End this process within a second of its parent, even of a killed one; remove `folder`."""

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(1)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()


if __name__ == "__main__":
    main()
