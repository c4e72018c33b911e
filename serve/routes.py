"""All routes: answers, the page, and the state of the service."""

import json
import mimetypes
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import TypeAdapter, ValidationError
from starlette.routing import Route

from locked.engines import fastest
from locked.manifest import LockedModelError
from locked.text import Text
from serve import logs, metrics
from serve.answers import answer, explain, variants
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
    Reload,
    ReloadAnswer,
    Tweet,
    TweetAnswer,
    Tweets,
    TweetsAnswer,
    WrongTweet,
)
from serve.settings import STDOUT, Settings

PREDICT_REQUEST: TypeAdapter[Tweet | Tweets] = TypeAdapter(PredictRequest)
PAGE = Path(__file__).with_name("page")
FEEDBACK_LIMIT = 100 * 2**20  # bytes
RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 408, 413, 415, 422, 429, 500, 503)
}


def register(
    app: FastAPI,
    options: Settings,
    dispatcher: Dispatcher,
    model: CurrentModel,
    log: PredictionLog,
) -> None:
    """Add the routes."""

    @app.get(options.health_route, response_class=PlainTextResponse, responses={503: {}})
    async def health() -> Response:
        """Tell whether a worker answers requests."""
        if dispatcher.ready:
            return PlainTextResponse("ready")
        return PlainTextResponse("not ready", 503)

    @app.get("/info")
    async def info() -> dict[str, Any]:
        """Describe the model in use."""
        manifest = model.manifest
        return {
            "model": {"version": manifest.version, **manifest.model_dump(exclude={"golden"})},
            "previous": model.previous_version,
            "predict": options.predict_route,
            "engine": options.engine or fastest(),
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Show the counters, as Prometheus reads them."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app.router.responses = RESPONSES  # of all that follow

    @app.post(options.predict_route, response_model=TweetAnswer | TweetsAnswer)
    async def predict(body: Annotated[PredictRequest, Body()]) -> Response:
        """Answer one tweet, or many."""
        tweets = [body] if isinstance(body, Tweet) else body.instances
        texts = [tweet.text for tweet in tweets if not isinstance(tweet, WrongTweet)]
        job = await dispatcher.classify(texts or [""])  # all wrong: the answer names a model too
        return answer(body, ANSWER_ID.get(), job, log)

    async def predict_from_json(request: Request) -> Response:
        try:
            body = PREDICT_REQUEST.validate_json(await request.body())
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
            in_body = [{**problem, "loc": ("body", *problem["loc"])} for problem in problems]
            raise RequestValidationError(in_body) from error
        return await predict(body)

    # This route precedes FastAPI's, which is left for /docs: its reading of a body takes as long
    # as all else that the HTTP process does for a request.
    route = Route(options.predict_route, predict_from_json, methods=["POST"])
    app.router.routes.insert(0, route)

    @app.get(options.predict_route, response_model=TweetAnswer)
    async def predict_link(text: Annotated[Text, Query()]) -> Response:
        """Answer one tweet, as POST does, if a client can only follow a link."""
        return await predict(Tweet.model_construct(text=text))

    @app.post("/explain")
    async def explain_tweet(tweet: Tweet) -> ExplainAnswer:
        """Return how much each word pushed the answer."""
        job = await dispatcher.classify(variants(tweet.text, model.manifest.max_length))
        pushes = explain(tweet.text, job.predictions())
        return ExplainAnswer(model=job.model, id=ANSWER_ID.get(), **pushes)

    @app.post("/feedback", status_code=202)
    def feedback(verdict: Feedback) -> dict[str, str]:
        """Record a reader's verdict on an answer."""
        now = datetime.now(UTC).isoformat()
        fields = {"message": "feedback", "time": now, **verdict.model_dump()}
        line = json.dumps(fields).encode() + b"\n"
        if options.feedback_file != STDOUT:
            try:
                logs.append(Path(options.feedback_file), line, FEEDBACK_LIMIT)
            except OSError as error:
                raise rejection(503, f"not recorded: {error}") from error
        elif not logs.stdout.put(lambda: line):
            raise rejection(503, "not recorded: too many lines wait for standard output")
        metrics.FEEDBACK.labels("right" if verdict.right else "wrong").inc()
        return {"id": verdict.id}

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """Describe the routes on a page that needs no internet."""
        return get_swagger_ui_html(
            openapi_url=f"{app.root_path}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{app.root_path}/swagger-ui-bundle.js",
            swagger_css_url=f"{app.root_path}/swagger-ui.css",
            swagger_favicon_url="data:,",
        )

    if options.admin_key:

        @app.post(RELOAD, responses={409: {"model": Problem}})
        async def reload(request: Reload) -> ReloadAnswer:
            """Put another model in use; if it is not sound, the one in use stays."""
            try:
                await model.reload(is_back=request.previous)
            except LockedModelError as error:
                raise HTTPException(409, str(error)) from error
            return ReloadAnswer(model=model.manifest.version, previous=model.previous_version)

    swagger = Path(str(files("fastapi_offline"))) / "static"
    pages = [*PAGE.iterdir(), swagger / "swagger-ui-bundle.js", swagger / "swagger-ui.css"]
    for file in pages:
        path = "/" if file.name == "index.html" else f"/{file.name}"
        content = Response(file.read_bytes(), media_type=mimetypes.guess_type(file.name)[0])
        app.router.routes.append(Route(path, content, methods=["GET"]))
