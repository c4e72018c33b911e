"""What goes over HTTP, as pydantic models; FastAPI makes /docs of them."""

import difflib
from itertools import islice
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from locked.labels import Label
from locked.text import Text

MAX_INSTANCES = 1_000  # tweets in one call


class Tweet(BaseModel):
    """One tweet; what else is beside its text is left alone."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Evacuations as flood nears"}]}
    )

    text: Text

    @model_validator(mode="before")
    @classmethod
    def _name_misspelt(cls, given: object) -> object:
        if isinstance(given, dict) and "text" not in given:
            names = [
                name for name in islice(given, 20) if len(name) in (3, 4, 5, 6) and name.isascii()
            ]
            if similar := difflib.get_close_matches("text", names, 1):
                raise PydanticCustomError(
                    "missing", "text is required, and {name} is not it", {"name": similar[0]}
                )
        return given


class WrongTweet(Tweet):
    """What stands in a partial request for an instance that cannot be answered."""

    error: str


class Parameters(BaseModel):
    """How to answer many; what else Vertex AI may send is left alone."""

    partial: Annotated[
        bool,
        Field(description="Answer the others of a wrong instance, instead of refusing them all."),
    ] = False


def _instance(given: object) -> object:
    """Take the forms that Vertex AI makes of a table with one column."""
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    return {"text": given} if isinstance(given, str) else given


def _or_wrong(given: object, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Tweet:
    try:
        tweet: Tweet = check(_instance(given))
    except ValidationError as error:
        parameters = info.data.get("parameters")
        if not (parameters and parameters.partial):
            raise
        first = error.errors(include_input=False, include_url=False)[0]
        said = ": ".join([*map(str, first["loc"]), first["msg"]])
        return WrongTweet.model_construct(text="", error=said)
    return tweet


Instance = Annotated[
    Tweet,
    WrapValidator(_or_wrong, json_schema_input_type=Tweet | Text | tuple[Text]),
]


class Tweets(BaseModel):
    """Many tweets, in the request format of Vertex AI."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"instances": [{"text": "Evacuations as flood nears"}]}]},
    )

    parameters: Parameters | None = None  # first: the instances are checked by it
    instances: Annotated[list[Instance], Field(min_length=1, max_length=MAX_INSTANCES)]


def _form(body: object) -> str:
    return "tweets" if isinstance(body, dict) and "instances" in body else "tweet"


PredictRequest = Annotated[
    Annotated[Tweet, Tag("tweet")] | Annotated[Tweets, Tag("tweets")], Discriminator(_form)
]


class Prediction(BaseModel):
    """What the model says of one tweet."""

    label: Label
    probability: Annotated[float, Field(ge=0, le=1, description="P(disaster)")]


class TweetAnswer(Prediction):
    """The answer to one tweet."""

    model: Annotated[str, Field(description="The version of the model that answered.")]
    id: Annotated[str, Field(description="The request's id.")]


class InstanceAnswer(Prediction):
    """The answer to one of many tweets."""

    id: Annotated[str, Field(description="The request's id, and the instance's index.")]


class InstanceProblem(BaseModel):
    """Why one of many tweets was not answered, where `partial` asked for the others."""

    error: Annotated[str, Field(description="It names the instance's index.")]
    id: Annotated[str, Field(description="The request's id, and the instance's index.")]


class TweetsAnswer(BaseModel):
    """The answers to many tweets, in their order."""

    predictions: list[InstanceAnswer | InstanceProblem]
    model: Annotated[str, Field(description="The version of the model that answered.")]


PredictAnswer = TweetAnswer | TweetsAnswer


class Word(BaseModel):
    """A word of the text, as white space separates them."""

    word: str
    start: Annotated[int, Field(description="Its place in the text, in characters.")]
    push: Annotated[float, Field(description="P(disaster) with it, less that without it.")]


class ExplainAnswer(TweetAnswer):
    """How a text's words came to its answer: probability = baseline + all pushes + together."""

    words: list[Word]
    baseline: Annotated[float, Field(description="P(disaster) of no text at all.")]
    together: Annotated[
        float, Field(description="What the words do together, beyond their pushes one by one.")
    ]


class Feedback(BaseModel):
    """A reader's verdict on an answer."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "c0ffee",
                    "text": "Evacuations as flood nears",
                    "label": "disaster",
                    "probability": 0.97,
                    "right": True,
                    "model": "0123456789ab",
                }
            ]
        },
    )

    id: Annotated[str, Field(min_length=1, max_length=64, description="Of the answer.")]
    text: Text
    label: Annotated[Label, Field(description="What the answer said.")]
    probability: Annotated[float, Field(ge=0, le=1)]
    right: bool
    model: Annotated[str, Field(max_length=64)]


class Reload(BaseModel):
    """Which model to put in use."""

    model_config = ConfigDict(extra="forbid")

    previous: Annotated[
        bool, Field(description="The one before, instead of what MODEL_URI holds now.")
    ] = False


class ReloadAnswer(BaseModel):
    """The model in use after a reload."""

    model: str
    previous: Annotated[str | None, Field(description="What `previous` would call back.")]


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str | list[dict[str, Any]]
