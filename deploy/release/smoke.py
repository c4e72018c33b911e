"""Test whether a server answers; this needs only Python and this repository.

    python -m deploy.release.smoke URL [--model VERSION]

The API key of a server that needs one is in the variable API_KEY. Requests to this machine use no
proxy.
"""

import argparse
import http.client
import json
import os
import time
import urllib.parse
import urllib.request

from common.errors import InputError, run

TIMEOUT = 60  # seconds until the first right answer
TEXTS = ("Bridge collapses in the storm, two people missing", "this mixtape is fire")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
BODY = {"instances": [{"text": text} for text in TEXTS]}


def smoke(url: str, model: str = "", key: str = "") -> None:
    """Raise InputError if a server's health, predictions or model version is wrong.

    With `model` "", any version is right.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url} does not start with http:// or https://")
    end = time.monotonic() + TIMEOUT
    while True:  # a server needs some seconds to start, and traffic to move
        try:
            return _check(url, model, key)
        except InputError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _check(url: str, model: str, key: str) -> None:
    _request(f"{url}/health")
    text = _request(f"{url}/predict", key, BODY)
    try:
        answer = json.loads(text)
        pairs = [(each["label"], each["probability"]) for each in answer["predictions"]]
    except (ValueError, KeyError, TypeError):
        pairs = []
    if len(pairs) != len(TEXTS):
        raise InputError(f"{url}/predict answers {text[:200]!r}")
    if model and answer.get("model") != model:
        raise InputError(f"{url} serves model {answer.get('model')} instead of {model}")


def _request(url: str, key: str = "", body: object = None) -> bytes:
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - smoke checks the scheme
    is_local = urllib.parse.urlsplit(url).hostname in LOCAL_HOSTS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({} if is_local else None))
    try:
        with opener.open(request, timeout=10) as reply:
            return bytes(reply.read())
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"{url}: {error or type(error).__name__}") from error


def main() -> None:
    """Test the server that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.smoke", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("url", help="the address of the server")
    parser.add_argument("--model", default="", help="the version that must answer")
    options = parser.parse_args()
    smoke(options.url.rstrip("/"), options.model, os.environ.get("API_KEY", ""))
    print(f"{options.url} answers rightly")


if __name__ == "__main__":
    run(main)
