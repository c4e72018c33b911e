"""Test whether a server answers; needs nothing but Python itself.

    python -m deploy.release.smoke URL [--model VERSION] [--seconds N]

The API key of a server that needs one is in the variable API_KEY. A server on this machine is asked
without a proxy, whatever http_proxy and no_proxy are.
"""

import argparse
import http.client
import ipaddress
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

PATIENCE = 60  # seconds until the first right answer
TEXTS = ("Bridge collapses in the storm, two people missing", "this mixtape is fire")


class SmokeError(Exception):
    """The server does not answer, or answers wrongly."""


def smoke(url: str, model: str = "", key: str = "", seconds: float = 0) -> int:
    """Test a server's health, predictions and model; return the number of right answers.

    Any model will do if `model` is "". The request is repeated each second for some seconds.
    """
    if not url.startswith(("http://", "https://")):
        raise SmokeError(
            f"{url} is not the address of a server: it starts with http:// or https://"
        )
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
            _request(f"{url}/health")
            _check(url, model, key)
        except SmokeError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return


def _check(url: str, model: str, key: str) -> None:
    text = _request(f"{url}/predict", key, {"instances": [{"text": text} for text in TEXTS]})
    try:
        answer = json.loads(text)
    except ValueError:
        answer = text[:200]
    if not is_right(answer):
        raise SmokeError(f"{url}/predict answers {answer!r}")
    if model and answer.get("model") != model:
        raise SmokeError(f"{url} serves model {answer.get('model')} instead of {model}")


def is_right(answer: Any) -> bool:  # noqa: ANN401 - whatever JSON can hold
    """Say whether this is an answer to TEXTS."""
    predictions = answer.get("predictions") if isinstance(answer, dict) else None
    keys = {"label", "probability"}  # those that an older revision has too
    return (
        isinstance(predictions, list)
        and len(predictions) == len(TEXTS)
        and all(isinstance(each, dict) and each.keys() >= keys for each in predictions)
    )


def is_own_machine(url: str) -> bool:
    """Say whether a URL names this machine, which no proxy can reach for us."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _request(url: str, key: str = "", body: object = None) -> bytes:
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    request = urllib.request.Request(  # noqa: S310 - checked before
        url, None if body is None else json.dumps(body).encode(), headers
    )
    proxies = urllib.request.ProxyHandler({} if is_own_machine(url) else None)
    try:
        try:
            with urllib.request.build_opener(proxies).open(request, timeout=10) as reply:
                content: bytes = reply.read()
                return content
        except urllib.error.HTTPError as error:
            text = error.read()[:200].decode(errors="replace")
            raise SmokeError(f"{url}: {error.code} {text}") from None
    except (OSError, http.client.HTTPException) as error:
        raise SmokeError(f"{url}: {error or type(error).__name__}") from error


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.release.smoke",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url")
    parser.add_argument("--model", default="", help="the version that must answer")
    parser.add_argument("--seconds", type=float, default=0, help="repeat the request for this long")
    options = parser.parse_args()
    key = os.environ.get("API_KEY", "")
    try:
        answers = smoke(options.url.rstrip("/"), options.model, key, options.seconds)
    except SmokeError as error:
        sys.exit(f"error: {error}")
    print(f"{options.url} is well: {answers} answers")


if __name__ == "__main__":
    main()
