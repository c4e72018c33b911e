"""What holds for every request: who may ask, how much and for how long; what is noted of it."""

import contextlib
import json
import logging
import time
import uuid
from contextvars import ContextVar
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve import metrics
from serve.keys import Keys
from serve.limits import Body, Held, RefusedError, check_length
from serve.logs import trace_fields

REASON = "disaster_tweets.reason"  # in a scope: why a request was not answered, for the log
REQUEST_ID: ContextVar[str] = ContextVar("REQUEST_ID", default="")
SAFE_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
# FastAPI's page of documentation has a script in it.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
)
DOCS = "/docs"
RELOAD = "/reload"

logger = logging.getLogger("serve.requests")


class Middleware:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        admin_keys: Keys,
        guarded: set[str],
        routes: set[str],
        project: str | None,
        root_path: str,
    ) -> None:
        """Wrap an application.

        Args:
            app: what answers.
            keys: what opens whatever is not a GET; none, if there are none.
            admin_keys: what opens /reload instead.
            guarded: the paths that need a key for a GET too.
            routes: the paths that metrics name; all others are "other".
            project: the Google Cloud project that traces belong to.
            root_path: what a proxy puts before every path, whether it takes it off again or not.

        """
        self.app = app
        self.keys = keys
        self.admin_keys = admin_keys
        self.guarded = guarded
        self.routes = routes
        self.project = project
        self.root_path = root_path
        self.held = Held()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        method = scope["method"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        scope = self._plain(scope)
        path = scope["path"]
        request_id = _request_id(headers)
        REQUEST_ID.set(request_id)
        status, size = 0, 0

        async def noted_send(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_headers(path, request_id)]
            else:
                size += len(message.get("body", b""))
            await send(message)

        body = Body(receive, self.held)

        async def send_unless_refused(message: Message) -> None:
            # The application takes an exception amid the body for a malformed one.
            if body.refused and not status:
                raise body.refused
            await noted_send(message)

        try:
            self._check_key(scope["method"], path, headers)
            check_length(headers)
            _check_origin(method, headers)
            await self.app(scope, body.receive, send_unless_refused)
        except RefusedError as refused:
            scope[REASON] = refused.detail
            if not status:
                await _refuse(refused.status, refused.detail, noted_send)
        except Exception:  # of whatever is below: no request goes without an answer
            logger.exception("unexpected", extra={"fields": {"request_id": request_id}})
            if not status:
                await _refuse(500, "internal error", noted_send)
        finally:
            self.held.size -= body.size
            seconds = time.perf_counter() - began
            route = path if path in self.routes else "other"
            metrics.REQUESTS.labels(method, route, status).inc()
            metrics.LATENCY.labels(route).observe(seconds)
            if logger.isEnabledFor(logging.INFO):
                reason = scope.get(REASON)
                self._log(method, headers, route, request_id, status, size, seconds, reason)

    def _plain(self, scope: Scope) -> Scope:
        """Return the request as the routes know it: what clients and proxies vary is undone."""
        headers = scope["headers"]
        if scope["method"] == "POST":  # JSON, whatever `curl --data` and HTTP libraries call it
            headers = [(name, value) for name, value in headers if name != b"content-type"]
            headers.append((b"content-type", b"application/json"))
        path = scope["path"]
        if self.root_path and path.startswith(f"{self.root_path}/"):
            path = path.removeprefix(self.root_path)
        path = path.rstrip("/") or "/"
        # uvicorn, which has the request as it came, sends no body
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        return {**scope, "headers": headers, "method": method, "path": path}

    def _check_key(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        keys = self.admin_keys if path == RELOAD and self.admin_keys.digests else self.keys
        if not keys.digests or (method == "GET" and path not in self.guarded):
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = headers.get(b"x-api-key") or (token.strip() if scheme.lower() == b"bearer" else b"")
        if not keys.admit(given):
            raise RefusedError(401, "a key is needed: X-API-Key, or Authorization: Bearer", "key")

    def _log(
        self,
        method: str,
        headers: dict[bytes, bytes],
        route: str,
        request_id: str,
        status: int,
        size: int,
        seconds: float,
        reason: str | None,
    ) -> None:
        fields: dict[str, Any] = {
            "request_id": request_id,
            "httpRequest": {
                "requestMethod": method,
                "requestUrl": route,  # not what was asked for: that may be anything
                "status": status,
                "responseSize": str(size),
                "latency": f"{seconds:.6f}s",
            },
            **trace_fields(
                headers.get(b"traceparent", b"").decode("latin-1"),
                headers.get(b"x-cloud-trace-context", b"").decode("latin-1"),
                self.project,
            ),
        }
        if reason:
            fields["reason"] = reason
        level = logging.INFO if status < 500 else logging.ERROR
        if status == 503:  # said on purpose: not ready, draining or too late
            level = logging.WARNING
        logger.log(level, "%s %s %d", method, route, status, extra={"fields": fields})


async def _refuse(status: int, detail: str, send: Send) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 429:
        headers.append((b"retry-after", b"1"))
    with contextlib.suppress(RuntimeError):  # the client is gone
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _check_origin(method: str, headers: dict[bytes, bytes]) -> None:
    # any other content type may be sent by a foreign page without asking first (CORS)
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if method == "POST" and b"origin" in headers and kind != b"application/json":
        raise RefusedError(415, "a web page sends Content-Type: application/json", "origin")


def _request_id(headers: dict[bytes, bytes]) -> str:
    """Return the id that a client gave its request, if it is a plain one, or a new one."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if 0 < len(given) <= 64 and SAFE_ID.issuperset(given) else uuid.uuid4().hex


def _headers(path: str, request_id: str) -> list[tuple[bytes, bytes]]:
    listed = _DOCS_HEADERS if path == DOCS else _PLAIN_HEADERS
    return [*listed, (b"x-request-id", request_id.encode())]


_PLAIN_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_DOCS_HEADERS = [
    (name, DOCS_POLICY.encode() if name == b"content-security-policy" else value)
    for name, value in _PLAIN_HEADERS
]
