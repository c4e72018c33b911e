"""The bodies of requests and answers, as pydantic models; FastAPI makes /docs of them."""

import difflib
from itertools import islice
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
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
# What other services and Twitter's own format call a tweet's text, or a list of them.
OTHER_NAMES = {"body", "content", "data", "document", "documents", "full_text", "input", "inputs"}
OTHER_NAMES |= {"message", "prompt", "q", "query", "sentence", "sentences", "texts", "title"}
OTHER_NAMES |= {"tweet", "tweets"}


class Tweet(BaseModel):
    """One tweet; other fields are ignored."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Evacuations as flood nears"}]}
    )

    text: Text

    @model_validator(mode="before")
    @classmethod
    def _name_misspelt(cls, fields: object) -> object:
        if isinstance(fields, dict) and "text" not in fields:
            names = [name for name in islice(fields, 20) if len(name) <= 12 and name.isascii()]
            likely = [name for name in names if name.lower() in OTHER_NAMES]
            likely += difflib.get_close_matches("text", names, 1)
            likely += difflib.get_close_matches("instances", names, 1)
            if likely:
                raise PydanticCustomError(
                    "missing",
                    'it is called {name} here: name it "text", or "instances" for many tweets',
                    {"name": likely[0]},
                )
        return fields


class WrongTweet(Tweet):
    """Stands in a partial request for an instance that cannot be answered."""

    error: str


class Parameters(BaseModel):
    """How to answer many tweets; other fields, which Vertex AI may send, are ignored."""

    partial: Annotated[
        bool,
        Field(description="Answer the right instances, instead of refusing all for a wrong one."),
    ] = False


def _instance(instance: object) -> object:
    """Return the object for the forms that Vertex AI makes of a table with one column."""
    if isinstance(instance, list) and len(instance) == 1:
        instance = instance[0]
    return {"text": instance} if isinstance(instance, str) else instance


def _or_wrong(instance: object, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Tweet:
    try:
        tweet: Tweet = check(_instance(instance))
    except ValidationError as error:
        parameters = info.data.get("parameters")
        if not (parameters and parameters.partial):
            raise
        first = error.errors(include_input=False, include_url=False)[0]
        problem = ": ".join([*map(str, first["loc"]), first["msg"]])
        return WrongTweet.model_construct(text="", error=problem)
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
REQUEST: TypeAdapter[Tweet | Tweets] = TypeAdapter(PredictRequest)


class Prediction(BaseModel):
    """What the model says of one tweet."""

    label: Label
    probability: Annotated[float, Field(ge=0, le=1, description="P(disaster)")]


class TweetAnswer(Prediction):
    """The answer to one tweet."""

    model: Annotated[str, Field(description="The version of the model that answered.")]
    id: Annotated[str, Field(description="The answer's own id.")]


class InstanceAnswer(Prediction):
    """The answer to one of many tweets."""

    id: Annotated[str, Field(description="The answer's own id.")]


class InstanceProblem(BaseModel):
    """Why one of many tweets was not answered, where `partial` asked for the others."""

    error: Annotated[str, Field(description="It names the instance's index.")]
    id: Annotated[str, Field(description="The answer's own id.")]


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
    """A reader's verdict on an answer; other fields are ignored, and not stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "c0ffee", "right": True}]})

    id: Annotated[str, Field(min_length=1, max_length=64, description="The answer's id.")]
    right: bool


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
