"""The model in use, and its replacement under load."""

import asyncio
import logging
from pathlib import Path

from locked.manifest import MANIFEST, LockedModelError, read_manifest
from locked.store import ModelStore
from serve import metrics
from serve.dispatcher import Dispatcher, ModelRejectedError

logger = logging.getLogger(__name__)


class CurrentModel:
    """The model in use and the one before it."""

    def __init__(self, store: ModelStore, dispatcher: Dispatcher) -> None:
        """Begin with the dispatcher's model."""
        self.store = store
        self.dispatcher = dispatcher
        self.manifest = read_manifest(dispatcher.folder / MANIFEST)
        self.previous: Path | None = None
        self._lock = asyncio.Lock()
        metrics.MODEL.labels(self.manifest.version).set(1)

    @property
    def previous_version(self) -> str | None:
        """The version of the model before."""
        return self.previous.name if self.previous else None

    async def reload(self, is_back: bool = False) -> None:
        """Put the source's present model in use, or the previous one; an error changes nothing.

        Raises:
            LockedModelError: there is none, it is incomplete or altered, or a worker rejects it.
            HTTPException: 503, there is no worker to try it.

        """
        async with self._lock:
            try:
                folder = self.previous if is_back else await asyncio.to_thread(self.store.fetch)
                if not folder:
                    raise LockedModelError("no other model was in use before")
                if folder != self.dispatcher.folder:
                    await self._use(folder)
            except Exception:  # of any kind: it is counted and raised again
                metrics.SWAPS.labels("rejected").inc()
                raise
            metrics.SWAPS.labels("done").inc()

    async def _use(self, folder: Path) -> None:
        before = self.dispatcher.folder
        manifest = await asyncio.to_thread(read_manifest, folder / MANIFEST)
        try:
            await self.dispatcher.use(folder)
        except ModelRejectedError as error:
            await asyncio.to_thread(self.store.keep, {before, self.previous})
            raise LockedModelError(self.store.named(str(error))) from error
        metrics.MODEL.labels(self.manifest.version).set(0)
        metrics.MODEL.labels(manifest.version).set(1)
        logger.info("model %s follows %s", manifest.version, self.manifest.version)
        self.manifest, self.previous = manifest, before
        await asyncio.to_thread(self.store.keep, {folder, before})
