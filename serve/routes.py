"""All routes of the server."""

import json
import mimetypes
from codecs import BOM_UTF8
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import PlainTextResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import TypeAdapter, ValidationError
from starlette.routing import Route

from locked.engines import fastest
from locked.manifest import LockedModelError
from serve import logs, metrics
from serve.answers import answer, explain, make_variants
from serve.current_model import CurrentModel
from serve.dispatcher import Dispatcher
from serve.errors import rejection
from serve.middleware import ANSWER_ID, RELOAD
from serve.prediction_log import PredictionLog
from serve.schema import (
    ExplainAnswer,
    Feedback,
    PredictRequest,
    Problem,
    ReloadAnswer,
    Tweet,
    TweetAnswer,
    Tweets,
    TweetsAnswer,
)
from serve.settings import STDOUT, Settings

PREDICT_REQUEST: TypeAdapter[Tweet | Tweets] = TypeAdapter(PredictRequest)
PAGE = Path(__file__).with_name("page")
FEEDBACK_LIMIT = 100 * 2**20  # bytes
RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 413, 415, 422, 429, 500, 503)
}


def register(
    app: FastAPI,
    options: Settings,
    dispatcher: Dispatcher,
    model: CurrentModel,
    log: PredictionLog,
) -> None:
    """Add the routes."""

    @app.get("/health", response_class=PlainTextResponse, responses={503: {}})
    async def health() -> Response:
        """Return whether a worker can answer requests."""
        if dispatcher.ready:
            return PlainTextResponse("ready")
        return PlainTextResponse("not ready", 503)

    @app.get("/info")
    async def info() -> dict[str, Any]:
        """Describe the model in use."""
        manifest = model.manifest
        return {
            "model": {"version": manifest.version, **manifest.model_dump(exclude={"golden"})},
            "engine": options.engine or fastest(),
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Return the metrics in Prometheus's format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app.router.responses = RESPONSES  # of all routes below

    @app.post("/predict", response_model=TweetAnswer | TweetsAnswer)
    async def predict(body: Annotated[PredictRequest, Body()]) -> Response:
        """Classify one tweet, or many."""
        tweets = [body] if isinstance(body, Tweet) else body.instances
        job = await dispatcher.classify([tweet.text for tweet in tweets])
        return answer(body, ANSWER_ID.get(), job, log)

    async def predict_from_json(request: Request) -> Response:
        try:
            body = PREDICT_REQUEST.validate_json((await request.body()).removeprefix(BOM_UTF8))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
            in_body = [{**problem, "loc": ("body", *problem["loc"])} for problem in problems]
            raise RequestValidationError(in_body) from error
        return await predict(body)

    # This route comes before FastAPI's, which is only for /docs: FastAPI takes as long to parse a
    # body as the HTTP process takes for the rest of the request.
    app.router.routes.insert(0, Route("/predict", predict_from_json, methods=["POST"]))

    @app.post("/explain")
    async def explain_tweet(tweet: Tweet) -> ExplainAnswer:
        """Return how much each word contributed to the answer."""
        job = await dispatcher.classify(make_variants(tweet.text, model.manifest.max_length))
        pushes = explain(tweet.text, job.predictions())
        return ExplainAnswer(model=job.model, id=ANSWER_ID.get(), **pushes)

    @app.post("/feedback", status_code=202)
    def feedback(body: Feedback) -> dict[str, str]:
        """Record whether an answer was right, according to a user."""
        now = datetime.now(UTC).isoformat()
        fields = {"message": "feedback", "time": now, **body.model_dump()}
        line = json.dumps(fields).encode() + b"\n"
        if options.feedback_file != STDOUT:
            try:
                logs.append(Path(options.feedback_file), line, FEEDBACK_LIMIT)
            except OSError as error:
                raise rejection(503, f"not recorded: {error}") from error
        elif not logs.stdout.put(lambda: line):
            raise rejection(503, "not recorded: too many lines wait for standard output")
        metrics.FEEDBACK.labels("right" if body.right else "wrong").inc()
        return {"id": body.id}

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        """Return a page with the documentation of the routes; it needs no internet."""
        if request.scope["raw_path"].endswith(b"/"):  # its relative links would lead elsewhere
            return RedirectResponse("../docs")
        return get_swagger_ui_html(
            openapi_url="openapi.json",  # relative, because a proxy may add a prefix
            title=app.title,
            swagger_js_url="swagger-ui-bundle.js",
            swagger_css_url="swagger-ui.css",
            swagger_favicon_url="data:,",
        )

    if options.admin_key:

        @app.post(RELOAD, responses={409: {"model": Problem}})
        async def reload() -> ReloadAnswer:
            """Load the model that MODEL_URI holds now; if it is not valid, nothing changes."""
            try:
                await model.reload()
            except LockedModelError as error:
                raise HTTPException(409, str(error)) from error
            return ReloadAnswer(model=model.manifest.version)

    swagger = Path(str(files("fastapi_offline"))) / "static"
    pages = [*PAGE.iterdir(), swagger / "swagger-ui-bundle.js", swagger / "swagger-ui.css"]
    for file in pages:
        path = "/" if file.name == "index.html" else f"/{file.name}"
        content = Response(file.read_bytes(), media_type=mimetypes.guess_type(file.name)[0])
        app.router.routes.append(Route(path, content, methods=["GET"]))
