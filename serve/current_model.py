"""The model in use, and its replacement while requests are answered."""

import asyncio
import logging

from locked.manifest import MANIFEST, LockedModelError, read_manifest
from locked.store import ModelStore
from serve import metrics
from serve.dispatcher import Dispatcher, ModelRejectedError

logger = logging.getLogger(__name__)


class CurrentModel:
    """The model in use."""

    def __init__(self, store: ModelStore, dispatcher: Dispatcher) -> None:
        """Start with the dispatcher's model."""
        self.store = store
        self.dispatcher = dispatcher
        self.manifest = read_manifest(dispatcher.folder / MANIFEST)
        self._lock = asyncio.Lock()
        metrics.MODEL.labels(self.manifest.version).set(1)

    async def reload(self) -> None:
        """Put the store's current model in use; an error changes nothing.

        Raises:
            LockedModelError: the model is missing, incomplete or altered, or a worker rejects it.
            HTTPException: 503, no worker is ready to load it.

        """
        async with self._lock:
            folder = await asyncio.to_thread(self.store.fetch)
            if folder == self.dispatcher.folder:
                return
            manifest = await asyncio.to_thread(read_manifest, folder / MANIFEST)
            try:
                await self.dispatcher.use(folder)
            except ModelRejectedError as error:
                raise LockedModelError(self.store.named(str(error))) from error
            finally:
                await asyncio.to_thread(self.store.keep, self.dispatcher.folder)
            metrics.MODEL.labels(self.manifest.version).set(0)
            metrics.MODEL.labels(manifest.version).set(1)
            logger.info("model %s replaces %s", manifest.version, self.manifest.version)
            self.manifest = manifest
