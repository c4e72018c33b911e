"""All routes: answers, the page, and the state of the service."""

import json
import mimetypes
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from locked.engines import fastest
from locked.manifest import LockedModelError
from locked.text import Text
from serve import metrics
from serve.answer import answer
from serve.current_model import CurrentModel, NoPreviousError
from serve.dispatcher import RETRY, Dispatcher
from serve.explain import explain, variants
from serve.feedback import NotRecordedError, Recorder
from serve.middleware import ANSWER_ID, REASON, RELOAD
from serve.prediction_log import PredictionLog
from serve.remote_worker import ModelRejectedError, NoWorkerError
from serve.schema import (
    REQUEST,
    ExplainAnswer,
    Feedback,
    PredictAnswer,
    PredictRequest,
    Problem,
    Reload,
    ReloadAnswer,
    Tweet,
    TweetAnswer,
    WrongTweet,
)
from serve.settings import Settings

PAGE = Path(__file__).with_name("page")
SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")  # which FastAPI would have from a CDN
RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": why}
    for code, why in {
        400: "The body is not in the encoding that it names.",
        401: "A key is needed.",
        408: "The body took too long.",
        413: "The body is too large.",
        415: "The encoding is unknown, or a page of another origin sends no JSON.",
        422: "A field is wrong.",
        429: "The queue is full.",
        500: "The model failed.",
        503: "No worker could answer in time, or the one that tried died.",
    }.items()
}


class DirectRoute(APIRoute):
    """A route whose body pydantic reads: FastAPI would make Python objects of it first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""

        async def handle(request: Request) -> Response:
            try:
                body = REQUEST.validate_json(await request.body())
            except ValidationError as error:
                problems = error.errors(include_url=False, include_input=False)
                for problem in problems:
                    problem["loc"] = ("body", *problem["loc"])
                raise RequestValidationError(problems) from error
            response: Response = await self.endpoint(body)
            return response

        return handle


def register(
    app: FastAPI,
    options: Settings,
    dispatcher: Dispatcher,
    model: CurrentModel,
    log: PredictionLog,
    state: Callable[[], str],
) -> None:
    """Add the routes."""
    recorder = Recorder(options.feedback_file)

    async def predict(body: Annotated[PredictRequest, Body()]) -> PredictAnswer:
        """Answer one tweet, or many."""
        tweets = [body] if isinstance(body, Tweet) else body.instances
        texts = [tweet.text for tweet in tweets if not isinstance(tweet, WrongTweet)]
        job = await dispatcher.classify(texts or [""])  # all wrong: the answer names a model too
        return answer(body, ANSWER_ID.get(), job, log)  # type: ignore[return-value] # as JSON

    router = APIRouter(route_class=DirectRoute, responses=RESPONSES)
    router.post(options.predict_route)(predict)
    app.include_router(router)

    @app.get(
        options.health_route,
        response_class=PlainTextResponse,
        responses={503: {"description": "Not ready, or draining."}},
    )
    async def health() -> Response:
        """Tell whether requests are answered: 200, or 503 while loading or draining."""
        text = state()
        return PlainTextResponse(text, 200 if text == "ready" else 503)

    @app.get("/info")
    async def info() -> dict[str, Any]:
        """Describe the model in use."""
        manifest = model.manifest
        described = manifest.model_dump(exclude={"golden"})
        return {
            "model": {"version": manifest.version, **described},
            "previous": model.previous_version,
            "predict": options.predict_route,
            "engine": options.engine or fastest(),
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Show the counters, as Prometheus reads them."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app.router.responses = RESPONSES  # of all that follow

    @app.post("/explain")
    async def explained(tweet: Tweet) -> ExplainAnswer:
        """Return how much each word pushed the answer."""
        job = await dispatcher.classify(variants(tweet.text, model.manifest.max_length))
        return explain(tweet.text, job.predictions(), job.model, ANSWER_ID.get())

    @app.post("/feedback", status_code=202)
    async def feedback(verdict: Feedback) -> dict[str, str]:
        """Record a reader's verdict on an answer."""
        line = {
            "message": "feedback",
            "time": datetime.now(UTC).isoformat(),
            **verdict.model_dump(),
        }
        try:
            await run_in_threadpool(recorder.record, line)
        except NotRecordedError as error:
            raise HTTPException(503, str(error)) from error
        metrics.FEEDBACK.labels("right" if verdict.right else "wrong").inc()
        return {"id": verdict.id}

    for file in PAGE.iterdir():
        _add_file(app, "/" if file.name == "index.html" else f"/{file.name}", file)
    _add_docs(app)

    @app.get(options.predict_route)
    async def predict_query(text: Annotated[Text, Query()]) -> TweetAnswer:
        """Answer one tweet, as POST does, where a client can only follow a link."""
        job = await dispatcher.classify([text])
        response = answer(Tweet.model_construct(text=text), ANSWER_ID.get(), job, log)
        response.headers["cache-control"] = "no-store"
        return response  # type: ignore[return-value] # FastAPI sends a Response as it is

    if options.admin_key:
        _add_admin(app, model)


def _add_admin(app: FastAPI, model: CurrentModel) -> None:
    @app.post(
        RELOAD, responses={409: {"model": Problem, "description": "The model is not changed."}}
    )
    async def reload(wanted: Reload) -> ReloadAnswer:
        """Put another model in use; if it is not sound, the one in use stays."""
        try:
            await (model.back() if wanted.previous else model.reload())
        except (LockedModelError, ModelRejectedError, NoPreviousError) as error:
            raise HTTPException(409, str(error)) from error
        except NoWorkerError as error:
            raise HTTPException(503, str(error), RETRY) from error
        return ReloadAnswer(model=model.manifest.version, previous=model.previous_version)


def _add_docs(app: FastAPI) -> None:
    """Describe the routes on a page that needs no internet."""
    folder = files("fastapi_offline") / "static"
    for name in SWAGGER:
        _add_file(app, f"/{name}", Path(str(folder / name)))
    script, style = (f"{app.root_path}/{name}" for name in SWAGGER)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=f"{app.root_path}{app.openapi_url}",
            title=app.title,
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url="data:,",
        )


def _add_file(app: FastAPI, path: str, file: Path) -> None:
    content = file.read_bytes()
    kind = mimetypes.guess_type(file.name)[0]

    @app.get(path, include_in_schema=False)
    async def page() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})


async def fail(request: Request, error: StarletteHTTPException) -> Response:
    """Answer as FastAPI does, and name the reason in the log."""
    request.scope[REASON] = error.detail
    return await http_exception_handler(request, error)


def refuse(request: Request, error: Exception) -> Response:
    """Return what is wrong with a request, without its content.

    FastAPI's own answer does, and fails itself where the request holds NaN or a lone surrogate.
    """
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    detail = [{key: problem[key] for key in ("type", "loc", "msg")} for problem in problems]
    request.scope[REASON] = ", ".join(problem["type"] for problem in detail[:3])
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")
