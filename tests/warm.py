"""The real dvc, gcloud and `python -m`, each call a fork of a process that has loaded its modules.

To load them takes longer than most of what tests ask of them. Arguments, environment, folder and
standard streams are those of the call. A signal does not reach it, so what is to be stopped or
killed is started as it is.
"""

import atexit
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path

LEFT_OUT = {
    *(
        "deploy",
        "experiments",
        "locked",
        "monitor",
        "reader",
        "score",
        "serve",
        "stages",
    ),  # the call's folder has its own
    "openvino",  # starts a process as it is loaded
    *("gcsfs", "google", "grpc"),  # read the environment then
}
CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    call = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)])
    socket.send_fds(server, [call.encode()], [0, 1, 2])
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(9) or 70))  # no answer: it crashed
"""
SCRIPTS = {
    "dvc": 'exec {client} dvc "$@"',
    "gcloud": 'exec {client} gcloud "$@"',
    "python": '[ "$1" = -m ] || exec {python} "$@"\nshift\nexec {client} "$@"',
}


@cache
def warm(program: str) -> Path:
    """Return a folder for PATH in which a program is quick, as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))  # a socket's path must be short
    (folder / "client.py").write_text(CLIENT)
    (folder / "modules").touch()
    python = f"'{sys.executable}'"
    client = f"{python} -IS '{folder}/client.py' '{folder}/socket'"
    (script := folder / "bin" / program).parent.mkdir()
    script.write_text("#!/bin/sh\n" + SCRIPTS[program].format(python=python, client=client))
    script.chmod(0o755)
    options, modules = [], ""
    if program == "gcloud":  # some of its modules have namesakes in site-packages
        options, modules = ["-S"], str(Path(shutil.which("gcloud") or "").resolve().parents[1])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen(64)
        server = subprocess.Popen(
            [sys.executable, *options, __file__, f"{folder}/modules", modules and f"{modules}/lib"],
            cwd=folder,
            stdin=listener.fileno(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end() -> None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        shutil.rmtree(folder)

    atexit.register(end)
    return script.parent


def called(connection: socket.socket) -> int:
    """Do what a client asks for, in this process, as Python would; return the status."""
    said, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while more := connection.recv(1 << 20):
        said += more
    (module, *arguments), folder, environment = json.loads(said)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.stdin = open(0)  # noqa: SIM115 - until the end
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return 1
        return int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve(learnt: Path, modules: str) -> None:
    """Answer until the process that started this is gone."""
    sys.path[0] = modules  # "" is the folder of each call
    if modules:
        importlib.import_module("gcloud")  # which adds to the path
    tried: set[str] = set()
    parent = os.getppid()
    with socket.socket(fileno=os.dup(0)) as listener:
        listener.settimeout(1)
        while os.getppid() == parent:
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                with connection:
                    # What calls had to load, the next ones find loaded.
                    for name in learnt.read_text().split():
                        if name not in tried:
                            tried.add(name)
                            with suppress(Exception):
                                importlib.import_module(name)
                    learnt.write_text("")
                    if os.fork() == 0:
                        answer(connection, learnt)


def answer(connection: socket.socket, learnt: Path) -> None:
    """Make one call and end, as Python would."""
    connection.settimeout(None)
    before, status = set(sys.modules), 70
    try:
        status = called(connection)
        new = [n for n in sys.modules if n not in before and n.split(".")[0] not in LEFT_OUT]
        with learnt.open("a") as file:
            file.writelines(f"{name}\n" for name in new)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(ValueError):  # closed
                stream.flush()
    finally:
        connection.sendall(str(status).encode())
        os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
