"""The responses to refused requests, and their reasons for the log and the metrics."""

import json

from fastapi import HTTPException, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from serve import metrics

REASON = "disaster_tweets.reason"  # key of a request's scope: why it was refused, for the log
HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    413: {"Connection": "close"},  # the rest of the body is not read
    429: {"Retry-After": "1"},  # seconds
    503: {"Retry-After": "1"},
}


def rejection(status: int, detail: str, reason: str = "") -> HTTPException:
    """Return the error for a refused request; with a `reason`, count it."""
    if reason:
        metrics.REJECTED.labels(reason).inc()
    return HTTPException(status, detail, HEADERS.get(status))


async def answer_error(request: Request, error: StarletteHTTPException) -> Response:
    """Return FastAPI's response to an error, and keep the reason for the log."""
    if isinstance(error.__cause__, UnicodeError):  # FastAPI's message has no reason
        problem = {"type": "json_invalid", "loc": ("body",), "msg": f"Not UTF-8: {error.__cause__}"}
        return answer_invalid(request, RequestValidationError([problem]))
    request.scope[REASON] = error.detail
    return await http_exception_handler(request, error)


def answer_invalid(request: Request, error: RequestValidationError) -> Response:
    """Return a 422 that names the wrong fields, without their content.

    FastAPI's own handler repeats the content, and fails where it has NaN or a lone surrogate.
    """
    detail = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    for each in detail:
        if each["type"] == "json_invalid":
            each["msg"] += ". Send JSON in UTF-8"
    request.scope[REASON] = ", ".join(each["type"] for each in detail[:3])
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")
