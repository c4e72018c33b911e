"""The model in use, and its replacement under load."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from locked.manifest import MANIFEST, LockedModelError, Manifest, read_manifest
from locked.store import ModelStore
from serve import metrics
from serve.dispatcher import Dispatcher
from serve.remote_worker import ModelRejectedError, NoWorkerError

logger = logging.getLogger(__name__)


class NoPreviousError(Exception):
    """No model was in use before."""


class CurrentModel:
    """The model in use and the one before it."""

    def __init__(self, store: ModelStore, dispatcher: Dispatcher, poll: float) -> None:
        """Begin with the dispatcher's model; look for another every `poll` seconds, 0 for never."""
        self.store = store
        self.dispatcher = dispatcher
        self.poll = poll
        self.manifest = read_manifest(dispatcher.folder / MANIFEST)
        self.previous: Path | None = None
        self.refused = ""  # the version that polling need not try again
        self._one_at_a_time = asyncio.Lock()
        metrics.MODEL.labels(self.manifest.version).set(1)

    @property
    def previous_version(self) -> str | None:
        """The version that `back` would put in use."""
        return self.previous.name if self.previous else None

    async def reload(self) -> None:
        """Put the source's present model in use.

        Raises:
            LockedModelError: a file is missing or altered; the model in use stays.
            ModelRejectedError: a worker cannot use it; the model in use stays.
            NoWorkerError: there is no worker to try it; the model in use stays.

        """
        async with self._one_at_a_time:
            with _counted():
                folder = await asyncio.to_thread(self.store.fetch)
                await self._use(folder)

    async def back(self) -> None:
        """Put the previous model in use.

        Raises:
            NoPreviousError: there is none.
            ModelRejectedError: a worker cannot use it; the model in use stays.
            NoWorkerError: there is no worker to try it; the model in use stays.

        """
        async with self._one_at_a_time:
            if self.previous is None:
                raise NoPreviousError("no other model was in use before")
            self.refused = self.manifest.version  # else polling would undo it
            with _counted():
                await self._use(self.previous)

    async def _use(self, folder: Path) -> None:
        before = self.dispatcher.folder
        if folder == before:
            return
        manifest: Manifest = await asyncio.to_thread(read_manifest, folder / MANIFEST)
        try:
            await self.dispatcher.use(folder)
        except ModelRejectedError as error:
            await asyncio.to_thread(self.store.keep, {before, self.previous})
            raise ModelRejectedError(self.store.named(str(error))) from error
        metrics.MODEL.labels(self.manifest.version).set(0)
        metrics.MODEL.labels(manifest.version).set(1)
        logger.info("model %s follows %s", manifest.version, self.manifest.version)
        self.manifest, self.previous = manifest, before
        await asyncio.to_thread(self.store.keep, {folder, before})

    @contextlib.asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Look for another model every `poll` seconds."""
        task = asyncio.create_task(self._poll()) if self.poll else None
        try:
            yield
        finally:
            if task:
                task.cancel()

    async def _poll(self) -> None:
        noted = ""
        while True:
            await asyncio.sleep(self.poll)
            problem = ""
            try:
                version = (await asyncio.to_thread(self.store.manifest)).version
                if version not in (self.manifest.version, self.refused):
                    await self.reload()
            except ModelRejectedError as error:
                problem, self.refused = str(error), version
            except (LockedModelError, NoWorkerError) as error:  # as while it is being uploaded
                problem = str(error)
            except Exception:  # polling never ends
                logger.exception("model not changed")
            if problem and problem != noted:
                logger.warning("model not changed: %s", problem)
            noted = problem


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    try:
        yield
    except Exception:  # counted, and raised again
        metrics.SWAPS.labels("rejected").inc()
        raise
    metrics.SWAPS.labels("done").inc()
