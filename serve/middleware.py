"""For every request: keys, limits, security headers, and a line in the log."""

import contextlib
import json
import logging
import secrets
import time
from contextvars import ContextVar
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve import metrics
from serve.keys import Keys
from serve.limits import Bodies, Body, RefusedError
from serve.logs import Fields, trace_fields

REASON = "disaster_tweets.reason"  # in a scope: why a request was not answered, for the log
ANSWER_ID: ContextVar[str] = ContextVar("ANSWER_ID", default="")
SAFE_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
DOCS = "/docs"
RELOAD = "/reload"
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
# FastAPI's page of documentation has a script in it.
DOCS_HEADERS = [
    (name, value.replace(b"-src 'self';", b"-src 'self' 'unsafe-inline';", 2))
    for name, value in HEADERS
]

logger = logging.getLogger("serve.requests")


class Guards(NamedTuple):
    """Who may ask for what."""

    keys: Keys  # for every method but GET; no key, no guard
    admin_keys: Keys  # for /reload
    guarded: frozenset[str]  # paths that need a key for GET too


class Middleware:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        guards: Guards,
        routes: frozenset[str],
        body_timeout: float,
        project: str | None,
        root_path: str,
    ) -> None:
        """Wrap an application.

        Args:
            app: the application.
            guards: the keys.
            routes: the paths that metrics name; all others are "other".
            body_timeout: seconds for a request's body.
            project: the Google Cloud project that traces belong to.
            root_path: the prefix that a proxy puts before every path; it may remove it again.

        """
        self.app = app
        self.guards = guards
        self.routes = routes
        self.project = project
        self.root_path = root_path
        self.bodies = Bodies(body_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        method = scope["method"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        path = self._path(scope["path"])
        answer_id = secrets.token_hex(16)
        ANSWER_ID.set(answer_id)
        request_id = _request_id(headers) or answer_id
        added = [
            *(DOCS_HEADERS if path == DOCS else HEADERS),
            (b"x-request-id", request_id.encode()),
        ]
        body = Body(self.bodies)
        status, size = 0, 0

        async def noted_send(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
            else:
                size += len(message.get("body", b""))
            await send(message)

        # uvicorn, which has the request as it came, sends no body for HEAD
        scope = {**scope, "path": path, "method": "GET" if method == "HEAD" else method}
        try:
            self._check_key(scope["method"], path, headers)
            if method == "POST":
                _check_origin(headers)
                receive = _once(await body.read(headers, receive), receive)
                # JSON, whatever `curl --data` and HTTP libraries call it
                scope["headers"] = [*(headers | {b"content-type": b"application/json"}).items()]
            await self.app(scope, receive, noted_send)
        except RefusedError as refused:
            scope[REASON] = refused.detail
            await _refuse(refused.status, refused.detail, noted_send)
        except Exception:  # of whatever is below: no request goes without an answer
            logger.exception("unexpected", extra={"fields": {"request_id": request_id}})
            if not status:
                await _refuse(500, "internal error", noted_send)
        finally:
            body.release()
            seconds = time.perf_counter() - began
            route = path if path in self.routes else "other"
            metrics.requests(method, route, status).inc()
            metrics.latency(route).observe(seconds)
            if logger.isEnabledFor(logging.INFO):
                request = {
                    "requestMethod": method,
                    "requestUrl": route,  # the path as it came may be anything
                    "status": status,
                    "responseSize": str(size),
                    "latency": f"{seconds:.6f}s",
                }
                self._log(request, request_id, headers, scope.get(REASON))

    def _path(self, path: str) -> str:
        """Return the path of a route: without a prefix and a slash at the end."""
        if self.root_path and path.startswith(f"{self.root_path}/"):
            path = path.removeprefix(self.root_path)
        return path.rstrip("/") or "/"

    def _check_key(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        keys, admin_keys, guarded = self.guards
        if path == RELOAD and admin_keys.digests:
            keys = admin_keys
        if not keys.digests or (method == "GET" and path not in guarded):
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        key = headers.get(b"x-api-key") or (token.strip() if scheme.lower() == b"bearer" else b"")
        if not keys.admit(key):
            raise RefusedError(401, "a key is needed: X-API-Key, or Authorization: Bearer", "key")

    def _log(
        self,
        request: dict[str, object],
        request_id: str,
        headers: dict[bytes, bytes],
        reason: str | None,
    ) -> None:
        traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        cloud_trace = headers.get(b"x-cloud-trace-context", b"").decode("latin-1")
        fields: Fields = {"request_id": request_id, "httpRequest": request}
        fields |= trace_fields(traceparent, cloud_trace, self.project)
        if reason:
            fields["reason"] = reason
        method, route, status = request["requestMethod"], request["requestUrl"], request["status"]
        level = logging.INFO if int(str(status)) < 500 else logging.ERROR
        if status == 503:  # on purpose: not ready, draining or too late
            level = logging.WARNING
        logger.log(level, "%s %s %d", method, route, status, extra={"fields": fields})


def _once(content: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the whole body, and then what the client does."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive_body() -> Message:
        return messages.pop() if messages else await receive()

    return receive_body


async def _refuse(status: int, detail: str, send: Send) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    extra = {
        401: (b"www-authenticate", b"Bearer"),
        415: (b"accept-encoding", b"gzip, deflate"),
        429: (b"retry-after", b"1"),
    }
    if status in extra:
        headers.append(extra[status])
    with contextlib.suppress(RuntimeError):  # the client is gone
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _check_origin(headers: dict[bytes, bytes]) -> None:
    # any other content type may be sent by a foreign page without asking first (CORS)
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if b"origin" in headers and kind != b"application/json":
        raise RefusedError(415, "a web page sends Content-Type: application/json", "origin")


def _request_id(headers: dict[bytes, bytes]) -> str | None:
    """Return the id that the client gave its request, if it can stand in a log."""
    name = headers.get(b"x-request-id", b"").decode("latin-1")
    return name if 0 < len(name) <= 64 and SAFE_ID.issuperset(name) else None
