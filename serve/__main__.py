"""`python -m serve` starts the server."""

import argparse
import functools
import os
import resource
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
from serve.server import CLOSE_TIME, UVICORN, Protocol, Server

FORK_VARIABLE = "OBJC_DISABLE_INITIALIZE_FORK_SAFETY"
MAX_FILES = 10_240  # macOS allows no more, although its hard limit is infinity
OTHER_FILES = 64  # open files of the HTTP process that are not connections


def main(arguments: Sequence[str] | None = None) -> None:
    """Verify the model, then serve it until SIGTERM or SIGINT."""
    names = ", ".join(name.upper() for name in settings.Settings.model_fields)
    argparse.ArgumentParser(
        prog="python -m serve",
        description="Serve the locked model over HTTP, until Ctrl-C or SIGTERM.",
        epilog=f"Settings are environment variables, which docs/serve.md describes: {names}.",
    ).parse_args(arguments)
    _allow_fork()
    try:
        folder = tempfile.TemporaryDirectory(prefix="disaster-tweets-")
    except OSError as error:
        sys.exit(f"error: no folder for the model's copy: {error}. Set TMPDIR to a writable one")
    with folder as name:
        _serve(Path(name))


def _serve(folder: Path) -> None:
    main_process = os.getpid()
    try:
        options = settings.load()
        check_port_and_log(options)
        server = Server(options, ModelStore(options.model_uri, folder))
    except (settings.BadSettingError, LockedModelError) as error:
        sys.exit(f"error: {error}")
    raise_file_limit()
    os.register_at_fork(after_in_child=functools.partial(_exit_with_parent, folder))
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


def check_port_and_log(options: settings.Settings) -> None:
    """Check that the port is free and the folder of the prediction log writable.

    Raises:
        BadSettingError: it cannot be used; the message has the setting, its value and the reason.

    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        socket.create_server((options.host, options.port), family=family).close()
    except OSError as error:
        problem = f"PORT: {options.port} on {options.host}: {error.strerror}"
        raise settings.BadSettingError(problem) from error
    folder = options.prediction_log
    if folder in ("", settings.STDOUT):
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        problem = f"PREDICTION_LOG: {folder} cannot be written: {error.strerror}"
        raise settings.BadSettingError(problem) from error


def raise_file_limit() -> None:
    """Allow as many open files, and so connections, as the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if 0 < hard < 2**31 else MAX_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    Protocol.max_connections = limit - OTHER_FILES


def _allow_fork() -> None:
    """On macOS, restart this process with the variable that lets its forks use Objective-C.

    Without it, macOS may kill a worker, for example when it looks up the proxy of a bucket. macOS
    reads the variable before Python starts.
    """
    if sys.platform == "darwin" and FORK_VARIABLE not in os.environ:
        os.environ[FORK_VARIABLE] = "YES"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell


def _end(server: Server, main_process: int, _signal: int, _frame: FrameType | None) -> None:
    """Stop the server once it has answered the requests in progress.

    A forked process inherits this handler until it sets its own. It exits at once: it has nothing
    to clean up, and Python would ignore a SystemExit that is raised during the fork.
    """
    if os.getpid() != main_process:
        os._exit(0)
    server.is_ending = True


def _exit_with_parent(folder: Path) -> None:
    """Remove `folder` and exit within a second of the parent's end, even if it was killed."""

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(1)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()


if __name__ == "__main__":
    main()
