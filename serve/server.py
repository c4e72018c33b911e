"""The processes: a supervisor, the HTTP process and its workers."""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import litserve as ls
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from litserve.loops import inference_worker
from starlette.middleware.cors import CORSMiddleware

from locked.cpus import cpus
from locked.store import ModelStore
from serve import connections, logs, metrics, routes
from serve.api import DisasterAPI, Transport
from serve.dispatcher import Dispatcher
from serve.middleware import Keys, Middleware
from serve.models import Models
from serve.prediction_log import PredictionLog
from serve.settings import Settings
from serve.worker import become_worker

DRAIN = 7  # seconds for requests in flight at the end; Cloud Run allows 10 in all
LAST = 0.3  # seconds for those in the queue of connections
REVIVAL = 0.1  # seconds between two looks for dead workers
MOST_THREADS = 8  # of a worker, unless THREADS says more: each takes memory

logger = logging.getLogger(__name__)


class Server(ls.LitServer):
    """A LitServer whose workers are forked, and fed by the HTTP process itself.

    The HTTP process knows what each worker has, so a worker's death costs its own batch and
    nothing else; and it is one, so that limits, metrics and the model in use are known in one
    place.
    """

    def __init__(self, options: Settings, store: ModelStore, folder: Path) -> None:
        """Serve the model in `folder` first; `store` is where others come from."""
        self.options = options
        self.broken = False
        self.draining = False
        self.dispatcher = Dispatcher(
            store.folder / "workers.sock", folder, options.max_queue, options.request_timeout
        )
        self.models = Models(store, self.dispatcher, options.model_poll)
        self.prediction_log = PredictionLog(options, store.folder)
        super().__init__(
            DisasterAPI(
                self.dispatcher.path, options.predict_route, threads(options), options.engine
            ),
            accelerator="cpu",
            workers_per_device=options.workers,
            healthcheck_path=options.health_route,
            restart_workers=True,
        )
        self.uvicorn_graceful_timeout = DRAIN
        self.monitor_internal = REVIVAL

    def _register_internal_endpoints(self) -> None:
        self.app.title = "disaster-tweets"
        self.app.root_path = self.options.root_path
        self.app.add_exception_handler(RequestValidationError, routes.refuse)
        guarded = routes.register(
            self.app,
            self.options,
            self.dispatcher,
            self.models,
            self.prediction_log,
            self.state,
        )
        if self.options.api_keys:
            guarded |= dict.fromkeys([self.options.predict_route], Keys(self.options.api_keys))
        self.guarded = guarded

    def _register_middleware(self) -> None:
        self.app.add_middleware(
            Middleware,
            guarded=self.guarded,
            routes={route.path for route in self.app.routes},
            project=self.options.google_cloud_project,
            root_path=self.options.root_path,
        )
        if self.options.cors_origins:
            self.app.add_middleware(
                CORSMiddleware,
                allow_origins=list(self.options.cors_origins),
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
            )

    def state(self) -> str:
        """Return "ready", or why no request should be sent here."""
        if self.draining:
            return "draining"
        return "ready" if self.dispatcher.ready else "not ready"

    def _init_manager(self, _num_api_servers: int) -> SimpleNamespace:
        logs.configure(self.options.log_level)  # after LitServe has set up its own
        self.dispatcher.listen()
        self._shutdown_event = threading.Event()
        self.workers_setup_status: dict[str, Any] = {}
        self._transport = Transport(self.dispatcher, self.prediction_log)
        self.litapi_request_queues = dict.fromkeys([self.options.predict_route], self._transport)
        return SimpleNamespace(shutdown=lambda: None)

    def launch_inference_worker(self, lit_api: ls.LitAPI) -> list[Any]:
        """Fork all workers."""
        return [
            self.launch_single_inference_worker(lit_api, n) for n in range(self.options.workers)
        ]

    def launch_single_inference_worker(self, lit_api: ls.LitAPI, worker_id: int) -> Any:  # noqa: ANN401
        """Fork a worker: it need not import again what this process has."""

        def work() -> None:
            become_worker()
            nobody = SimpleNamespace(trigger_event=lambda *_args, **_others: None)
            inference_worker(lit_api, "cpu", worker_id, None, None, {}, nobody, True)

        process = multiprocessing.get_context("fork").Process(target=work, name="inference-worker")
        process.start()
        return process

    def verify_worker_status(self) -> None:
        """Do not wait: until a worker is ready, /health says that none is."""

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Run what belongs to the HTTP process as long as it does."""
        end = signal.getsignal(signal.SIGTERM)  # uvicorn's handler

        loop = asyncio.get_running_loop()

        def drain(number: int, frame: Any) -> None:  # noqa: ANN401
            if not self.draining:
                for each in self.listeners:
                    connections.let_nobody_in(each)
                    # when uvicorn, which looks each tenth of a second, has emptied its queue
                    loop.call_soon_threadsafe(loop.call_later, LAST, connections.end, each)
            self.draining = True
            if callable(end):
                end(number, frame)

        signal.signal(signal.SIGTERM, drain)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process

        def stop(problem: str) -> None:
            print(f"error: {self.models.store.named(problem)}", flush=True)
            os._exit(1)

        self.dispatcher.on_broken = stop
        metrics.QUEUED.set_function(lambda: self.dispatcher.queued)
        metrics.WORKERS.set_function(lambda: sum(r.ready for r in self.dispatcher.remotes))
        self.prediction_log.start()
        async with self.dispatcher.running(), self.models.polling(), super().lifespan(app):
            yield
        await asyncio.to_thread(self.prediction_log.close)

    def _start_server(
        self,
        port: int,
        count: int,
        log_level: str,
        sockets: list[socket.socket],
        *args: Any,  # noqa: ANN401
        **others: Any,  # noqa: ANN401
    ) -> dict[int, Any]:
        self.listeners = [each.dup() for each in sockets]  # uvicorn closes its own
        started: dict[int, Any] = super()._start_server(
            port, count, log_level, sockets, *args, **others
        )
        for each in (*sockets, *self.listeners):  # the HTTP process has copies
            each.close()
        return started

    def _start_worker_monitoring(self, manager: Any, uvicorn_workers: dict[int, Any]) -> None:  # noqa: ANN401
        def watch() -> None:
            wait([uvicorn_workers[0].sentinel])  # join() would take its end from who shuts down
            self.broken = not self._shutdown_event.is_set()
            self._shutdown_event.set()

        threading.Thread(target=watch, daemon=True).start()
        super()._start_worker_monitoring(manager, uvicorn_workers)

    def _perform_graceful_shutdown(self, *args: Any, **others: Any) -> None:  # noqa: ANN401
        self._shutdown_event.set()  # no worker is revived from here on
        super()._perform_graceful_shutdown(*args, **others)


def threads(options: Settings) -> int:
    """Return how many threads a worker has."""
    return options.threads or min(max(1, cpus() // options.workers), MOST_THREADS)


def leave_with_parent(own: Path) -> None:
    """End this process within a second of its parent, even if that was killed.

    Then nobody else removes the folder `own`.
    """
    threading.Thread(target=_watch, args=(os.getppid(), own), daemon=True).start()


def _watch(parent: int, own: Path) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    shutil.rmtree(own, ignore_errors=True)
    os._exit(1)
