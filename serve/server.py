"""The LitServe server: a main process, the HTTP process and the workers.

This file overrides parts of LitServe, and gives the reasons; serve/worker.py runs in a worker.
"""

import asyncio
import contextlib
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator
from multiprocessing.connection import wait
from types import SimpleNamespace
from typing import Any

import litserve as ls
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from litserve.callbacks.base import CallbackRunner
from litserve.loops import inference_worker
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from locked.cpus import cpus
from locked.store import ModelStore
from serve import logs, metrics, routes
from serve.current_model import CurrentModel
from serve.dispatcher import Dispatcher
from serve.errors import answer_error, answer_invalid
from serve.middleware import Middleware
from serve.prediction_log import PredictionLog
from serve.settings import Settings
from serve.worker import DisasterAPI

DRAIN_TIME = 7  # seconds for the requests in progress at shutdown; Cloud Run allows 10 in all
CLOSE_TIME = 1  # seconds for the last lines of the log
RESTART_PERIOD = 0.1  # seconds between two checks for dead workers
# Seconds that a connection may be idle. Longer than a proxy keeps its connections (Google's: 600):
# otherwise a proxy may send a request while the server closes the connection, and answer 502.
KEEP_ALIVE = 620
HEAD_SIZE = 65_536  # bytes of an incomplete head that are kept
HEAD_END = re.compile(rb"\n\r?\n")
UPGRADE = re.compile(rb"\nu(?=pgrade:)", re.IGNORECASE)
MAX_THREADS = 8  # of a worker, unless THREADS is set: each takes memory


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with a maximum number of connections and without upgrades.

    Java's client sends the header `Upgrade`, which a server may ignore (RFC 9110, 7.8). httptools
    would end the request after the head and lose the body.
    """

    max_connections = 2**30
    idle: dict["Protocol", None] = {}  # noqa: RUF012 # of all connections, idle longest first

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvloop's or asyncio's
        """Close the connection that has been idle longest if there are too many."""
        super().connection_made(transport)
        self.head = b""  # of a request, incomplete
        self.idle[self] = None
        if len(self.connections) > self.max_connections:
            oldest = next(iter(self.idle))  # this one, if all others are busy
            del self.idle[oldest]  # its `connection_lost` may come after the next connection
            oldest.transport.close()
            metrics.REJECTED.labels("idle").inc()

    def data_received(self, data: bytes) -> None:
        """Rename the header `Upgrade` in a complete head, then parse; no JSON has such a line."""
        data = self.head + data
        is_head = self in self.idle and data[:1].isalpha() and len(data) < HEAD_SIZE
        self.head = data if is_head and not HEAD_END.search(data) else b""
        if not self.head:
            super().data_received(UPGRADE.sub(b"\nX", data))

    def on_message_begin(self) -> None:
        """Count the connection as busy."""
        super().on_message_begin()
        self.idle.pop(self, None)

    def on_response_complete(self) -> None:
        """Count the connection as idle again."""
        if not self.pipeline:
            self.idle[self] = None
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.idle.pop(self, None)
        super().connection_lost(exc)


UVICORN: dict[str, Any] = {
    "access_log": False,
    "log_config": None,
    "log_level": "warning",
    "proxy_headers": False,
    "server_header": False,
    "http": Protocol,
    "ws": "none",
    "timeout_keep_alive": KEEP_ALIVE,
}


class Server(ls.LitServer):
    """A LitServer that forks its workers, and whose HTTP process sends them batches.

    The HTTP process knows each worker's batch, so if a worker dies, only that batch fails. Limits,
    metrics and the model in use are in one process. LitServe itself moves requests through queues,
    which need one more process.
    """

    def __init__(self, options: Settings, store: ModelStore) -> None:
        """Start with the store's current model.

        Raises:
            LockedModelError: a file of the model is missing or altered.

        """
        path = store.folder / "workers.sock"
        self.options = options
        self.dispatcher = Dispatcher(
            path, store.fetch(), options.max_queue, options.request_timeout
        )
        self.model = CurrentModel(store, self.dispatcher)
        self.prediction_log = PredictionLog(options)
        self.is_ending = False  # a signal has come
        self.is_broken = False  # the HTTP process died by itself
        super().__init__(
            DisasterAPI(path, count_threads(options), options.engine, bool(options.prediction_log)),
            accelerator="cpu",
            workers_per_device=options.workers,
            restart_workers=True,
        )
        self.uvicorn_graceful_timeout = DRAIN_TIME
        self.monitor_internal = RESTART_PERIOD
        app = self.app
        app.title = "disaster-tweets"
        app.servers = [{"url": "."}]  # relative, because a proxy may add a prefix
        # Remove LitServe's routes and middleware, and FastAPI's /docs, which needs internet.
        app.router.routes = [r for r in app.routes if getattr(r, "path", "") == app.openapi_url]
        app.user_middleware.clear()
        app.add_exception_handler(RequestValidationError, answer_invalid)
        app.add_exception_handler(HTTPException, answer_error)
        routes.register(app, options, self.dispatcher, self.model, self.prediction_log)
        paths = frozenset(getattr(route, "path", "") for route in app.routes)
        app.add_middleware(Middleware, options=options, routes=paths)

    def _init_manager(self, num_api_servers: int) -> SimpleNamespace:
        """Start no manager process: there are no queues, and `is_ending` is the shutdown event."""
        logs.configure(self.options.log_level)  # after LitServe has set up its own
        self.dispatcher.listen()
        self._shutdown_event = SimpleNamespace(is_set=lambda: self.is_ending, wait=self._wait)
        self._transport = SimpleNamespace(close=lambda send_sentinel: None)
        return SimpleNamespace(shutdown=lambda: None)

    def _wait(self) -> None:
        """Wait for a signal, whose handler may take no lock, or for the HTTP process's death."""
        while not (self.is_ending or self.is_broken):
            self.is_broken = bool(wait([self.http_process], 0.05))
        self.is_ending = True

    def launch_inference_worker(self, lit_api: ls.LitAPI) -> list[Any]:
        """Start no worker yet: it would inherit the listening sockets, see `_start_server`."""
        return []

    def launch_single_inference_worker(self, lit_api: ls.LitAPI, worker_id: int) -> Any:  # noqa: ANN401 - as LitServe has it
        """Fork a worker, which shares this process's memory and imports."""

        def work() -> None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
            inference_worker(lit_api, "cpu", worker_id, None, None, {}, CallbackRunner(), True)

        process = multiprocessing.get_context("fork").Process(target=work, name="inference-worker")
        process.start()
        return process

    def verify_worker_status(self) -> None:
        """Wait for no worker: until one is ready, /health answers 503."""

    def _start_server(self, *args: Any, **kwargs: Any) -> dict[int, Any]:  # noqa: ANN401 - LitServe's
        """Start the processes; close the sockets here, so that the HTTP process has the last."""
        processes: dict[int, Any] = super()._start_server(*args, **kwargs)
        for listener in args[3]:
            listener.close()
        numbers = range(self.options.workers)
        self.inference_workers += [
            self.launch_single_inference_worker(self.lit_api, n) for n in numbers
        ]
        self.http_process = processes[0].sentinel
        return processes

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Run the dispatcher; at the end, write the last log lines."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process

        def stop(problem: str) -> None:
            print(f"error: {self.model.store.named(problem)}", file=sys.stderr, flush=True)
            os._exit(1)

        self.dispatcher.on_rejected = stop
        metrics.QUEUED.set_function(lambda: self.dispatcher.queue.size)
        metrics.WORKERS.set_function(lambda: len(self.dispatcher.ready))
        async with self.dispatcher.accept_workers():
            yield
        await asyncio.to_thread(self.prediction_log.close)
        await asyncio.to_thread(logs.stdout.close, CLOSE_TIME)


def count_threads(options: Settings) -> int:
    """Return the number of threads of a worker."""
    return options.threads or min(max(1, cpus() // options.workers), MAX_THREADS)
