"""`python -m serve`: the one way to start the server."""

import signal
import sys
from types import FrameType

import litserve as ls
from pydantic import ValidationError

from serve import locked
from serve.api import DisasterAPI
from serve.settings import Settings

MAX_BODY = 16 * 2**20  # bytes
DRAIN = 7  # seconds for requests in flight at the end; Cloud Run allows 10 in all


def main() -> None:
    """Verify the model, then serve it until SIGTERM or SIGINT."""
    try:
        settings = Settings()
        manifest = locked.verify(settings.model_uri)
    except ValidationError as error:
        first = error.errors()[0]
        sys.exit(f"error: {str(first['loc'][0]).upper()}: {first['msg']} (got {first['input']!r})")
    except locked.LockedModelError as error:
        sys.exit(f"error: {error}")
    signal.signal(signal.SIGTERM, _interrupt)
    server = ls.LitServer(
        DisasterAPI(settings.model_uri, settings.predict_route),
        accelerator="cpu",
        healthcheck_path=settings.health_route,
        model_metadata={"version": manifest.version, **manifest.model_dump()},
        max_payload_size=MAX_BODY,
        restart_workers=True,
    )
    server.uvicorn_graceful_timeout = DRAIN
    print(f"model {manifest.version} at http://{settings.host}:{settings.port}/docs", flush=True)
    server.run(
        host=settings.host,
        port=settings.port,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End as on Ctrl-C, which LitServe knows how to: it answers what is in flight and leaves."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
