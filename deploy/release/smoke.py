"""Ask a server a few things that a good one answers; needs nothing but Python itself.

    python -m deploy.release.smoke URL [--model VERSION] [--seconds N]

A server that asks for a key finds one in the variable API_KEY.
"""

import argparse
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

PATIENCE = 60  # seconds until the first right answer
TEXTS = ("Bridge collapses in the storm, two people missing", "this mixtape is fire")


class SmokeError(Exception):
    """The server does not answer as it should."""


def smoke(url: str, model: str = "", key: str = "", seconds: float = 0) -> int:
    """Try a server's health, predictions and model; return how many answers there were.

    Args:
        url: of the server.
        model: the version that it must answer from; any, if it is "".
        key: an API key.
        seconds: to go on asking, once a second.

    Raises:
        SmokeError: an answer is wrong, or does not come.

    """
    if not url.startswith(("http://", "https://")):
        raise SmokeError(f"{url} is no address of a server")
    _wait_until_right(url, model, key)
    answers, end = 1, time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(1, seconds))
        _check(url, model, key)
        answers += 1
    return answers


def _wait_until_right(url: str, model: str, key: str) -> None:
    """Wait for the first right answer: a server starts, and traffic moves, within some seconds."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            _ask(f"{url}/health")
            _check(url, model, key)
        except SmokeError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return


def _check(url: str, model: str, key: str) -> None:
    said = _predict(f"{url}/predict", key)
    if not right(said):
        raise SmokeError(f"{url}/predict answers {said}")
    if model and said.get("model") != model:
        raise SmokeError(f"{url} serves model {said.get('model')} instead of {model}")


def right(said: Any) -> bool:  # noqa: ANN401 - whatever JSON can hold
    """Say whether this is an answer to TEXTS."""
    answers = said.get("predictions") if isinstance(said, dict) else None
    keys = {"label", "probability"}  # a revision before this one, asked too, may give no more
    return (
        isinstance(answers, list)
        and len(answers) == len(TEXTS)
        and all(isinstance(each, dict) and each.keys() >= keys for each in answers)
    )


def _predict(url: str, key: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    text = _ask(url, key, {"instances": [{"text": text} for text in TEXTS]})
    try:
        return json.loads(text)
    except ValueError:
        raise SmokeError(f"{url} answers {text[:200]!r}") from None


def _ask(url: str, key: str = "", body: object = None) -> bytes:
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    request = urllib.request.Request(  # noqa: S310 - checked before
        url, None if body is None else json.dumps(body).encode(), headers
    )
    try:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - checked
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            said = error.read()[:200].decode(errors="replace")
            raise SmokeError(f"{url}: {error.code} {said}") from None
    except (OSError, http.client.HTTPException) as error:
        raise SmokeError(f"{url}: {error or type(error).__name__}") from error


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.smoke", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("url")
    parser.add_argument("--model", default="", help="the version that must answer")
    parser.add_argument("--seconds", type=float, default=0, help="go on asking for so long")
    chosen = parser.parse_args()
    key = os.environ.get("API_KEY", "")
    try:
        answers = smoke(chosen.url.rstrip("/"), chosen.model, key, chosen.seconds)
    except SmokeError as error:
        sys.exit(f"error: {error}")
    print(f"{chosen.url} is well: {answers} answers")


if __name__ == "__main__":
    main()
