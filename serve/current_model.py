"""The model in use, and its replacement while requests are answered."""

import asyncio
import logging
from pathlib import Path

from locked.manifest import MANIFEST, LockedModelError, read_manifest
from locked.store import ModelStore
from serve import metrics
from serve.dispatcher import Dispatcher, ModelRejectedError

logger = logging.getLogger(__name__)


class CurrentModel:
    """The model in use, and the previous model."""

    def __init__(self, store: ModelStore, dispatcher: Dispatcher) -> None:
        """Start with the dispatcher's model."""
        self.store = store
        self.dispatcher = dispatcher
        self.manifest = read_manifest(dispatcher.folder / MANIFEST)
        self.previous: Path | None = None
        self._lock = asyncio.Lock()
        metrics.MODEL.labels(self.manifest.version).set(1)

    @property
    def previous_version(self) -> str | None:
        """The version of the previous model, None if there is none."""
        return self.previous.name if self.previous else None

    async def reload(self, is_rollback: bool = False) -> None:
        """Put the store's current model in use, or the previous one; an error changes nothing.

        Raises:
            LockedModelError: the model is missing, incomplete or altered, or a worker rejects it.
            HTTPException: 503, no worker is ready to load it.

        """
        async with self._lock:
            try:
                folder = self.previous if is_rollback else await asyncio.to_thread(self.store.fetch)
                if not folder:
                    raise LockedModelError("there is no previous model")
                if folder != self.dispatcher.folder:
                    await self._use(folder)
            except Exception:  # every error is counted and raised again
                metrics.SWAPS.labels("rejected").inc()
                raise
            metrics.SWAPS.labels("done").inc()

    async def _use(self, folder: Path) -> None:
        old_folder = self.dispatcher.folder
        manifest = await asyncio.to_thread(read_manifest, folder / MANIFEST)
        try:
            await self.dispatcher.use(folder)
        except ModelRejectedError as error:
            await asyncio.to_thread(self.store.keep, {old_folder, self.previous})
            raise LockedModelError(self.store.named(str(error))) from error
        metrics.MODEL.labels(self.manifest.version).set(0)
        metrics.MODEL.labels(manifest.version).set(1)
        logger.info("model %s replaces %s", manifest.version, self.manifest.version)
        self.manifest, self.previous = manifest, old_folder
        await asyncio.to_thread(self.store.keep, {folder, old_folder})
