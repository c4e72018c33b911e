"""Checks the key and size of each request, adds security headers, and logs it."""

import logging
import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve import metrics
from serve.errors import REASON, rejection
from serve.settings import Settings

ANSWER_ID: ContextVar[str] = ContextVar("ANSWER_ID", default="")
SAFE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
RELOAD = "/reload"
MAX_BODY = 4 * 2**20  # bytes; a container with little memory may get 64 requests at a time
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# FastAPI's page /docs has an inline script.
DOCS_POLICY = POLICY.replace("-src 'self';", "-src 'self' 'unsafe-inline';", 2)
HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]

logger = logging.getLogger("serve.requests")


@dataclass
class Middleware:
    """ASGI middleware around the whole application."""

    app: ASGIApp
    options: Settings
    routes: frozenset[str]  # the paths in metrics; all others are counted as "other"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        method = scope["method"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        path = scope["path"].rstrip("/") or "/"
        answer_id = secrets.token_hex(16)
        ANSWER_ID.set(answer_id)
        request_id = headers.get(b"x-request-id", b"").decode("latin-1")
        if not SAFE_ID.fullmatch(request_id):
            request_id = answer_id
        policy = DOCS_POLICY if path == "/docs" else POLICY
        added_headers = [
            *HEADERS,
            (b"content-security-policy", policy.encode()),
            (b"x-request-id", request_id.encode()),
        ]
        status, size = 0, 0

        async def receive_and_check() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.disconnect":
                raise HTTPException(400, "the client disconnected")
            size += len(message["body"])
            if size > MAX_BODY:
                raise rejection(413, f"the body has more than {MAX_BODY} bytes", "too_large")
            return message

        async def send_and_record(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *added_headers]
            await send(message)

        scope = {
            **scope,
            "path": path,
            # uvicorn keeps the original method, and sends no body for HEAD
            "method": "GET" if method == "HEAD" else method,
            # The body is JSON, whatever content type `curl --data` and HTTP libraries send.
            "headers": [*(headers | {b"content-type": b"application/json"}).items()],
        }
        try:
            self._check(scope["method"], path, headers)
            await self.app(scope, receive_and_check, send_and_record)
        except Exception as error:  # every request gets a response
            if not isinstance(error, HTTPException):
                logger.exception("unexpected error", extra={"fields": {"request_id": request_id}})
                error = HTTPException(500, "internal error")
            scope[REASON] = error.detail
            if not status:
                headers_out = {**(error.headers or {}), "Connection": "close"}  # body unread
                response = JSONResponse({"detail": error.detail}, error.status_code, headers_out)
                await response(scope, receive, send_and_record)
        finally:
            seconds = time.perf_counter() - start
            route = path if path in self.routes else "other"  # or each path would be a metric
            metrics.requests(method, route, status).inc()
            metrics.latency(route).observe(seconds)
            if logger.isEnabledFor(logging.INFO):
                request = {
                    "requestMethod": method,
                    "requestUrl": route,
                    "status": status,
                    "latency": f"{seconds:.6f}s",
                }
                fields = {"request_id": request_id, "httpRequest": request}
                if reason := scope.get(REASON):
                    fields["reason"] = reason
                # 503 is no bug: the server is not ready, or overloaded
                failure_level = logging.WARNING if status == 503 else logging.ERROR
                level = failure_level if status >= 500 else logging.INFO
                logger.log(level, f"{method} {route} {status}", extra={"fields": fields})

    def _check(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        """Raise 401 without a valid key, and 415 if the body cannot be read."""
        self._check_key(method, path, headers)
        if method != "POST":
            return
        # A foreign page may send any other content type without a preflight request (CORS).
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if b"origin" in headers and kind != b"application/json":
            raise rejection(415, "a web page must send Content-Type: application/json", "origin")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise HTTPException(415, "send the body without Content-Encoding")

    def _check_key(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        """Raise 401 without a valid key; of the GET requests, only /metrics needs one."""
        keys, admin_key = self.options.api_keys, self.options.admin_key
        if path == RELOAD and admin_key:
            keys = (admin_key,)
        elif method == "GET" and path != "/metrics":
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        key = headers.get(b"x-api-key") or (token.strip() if scheme.lower() == b"bearer" else b"")
        # All keys are compared, so that the time does not reveal which one matches.
        matches = [secrets.compare_digest(key, k.get_secret_value().encode()) for k in keys]
        if keys and not any(matches):
            raise rejection(401, "no valid API key in X-API-Key or Authorization: Bearer", "key")
