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
# Names of a tweet's text, or of a list of texts, in other services and in Twitter's format.
OTHER_NAMES = {"body", "content", "data", "documents", "full_text", "input", "inputs", "instance"}
OTHER_NAMES |= {"message", "prompt", "query", "sentences", "texts", "title", "tweet", "tweets"}
AnswerId = Annotated[str, Field(description="The answer's own id.")]
Version = Annotated[str, Field(description="The version of the model that answered.")]


class Tweet(BaseModel):
    """One tweet; other fields are ignored."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Evacuations as flood nears"}]}
    )

    text: Text

    @model_validator(mode="before")
    @classmethod
    def _name_the_wrong_key(cls, fields: object) -> object:
        if isinstance(fields, dict) and "text" not in fields:
            short = [name for name in islice(fields, 20) if len(name) <= 12 and name.isascii()]
            names = [name for name in short if name.lower() in OTHER_NAMES]
            if names := names or difflib.get_close_matches("text", short, 1):
                raise PydanticCustomError(
                    "missing",
                    'found {name}: name it "text", or "instances" for many tweets',
                    {"name": names[0]},
                )
        return fields


class WrongTweet(Tweet):
    """An invalid instance of a request with `partial`."""

    error: str


class Parameters(BaseModel):
    """How to answer many tweets; other fields, which Vertex AI may send, are ignored."""

    partial: Annotated[
        bool,
        Field(description="Answer the valid instances, instead of refusing all of them."),
    ] = False


def _check_instance(
    instance: object, check: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> Tweet:
    if isinstance(instance, list) and len(instance) == 1:  # as Vertex AI sends a table's column
        instance = instance[0]
    try:
        tweet: Tweet = check({"text": instance} if isinstance(instance, str) else instance)
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
    WrapValidator(_check_instance, json_schema_input_type=Tweet | Text | tuple[Text]),
]


class Tweets(BaseModel):
    """Many tweets, in the request format of Vertex AI."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"instances": [{"text": "Evacuations as flood nears"}]}]},
    )

    parameters: Parameters | None = None  # first, because the check of the instances needs it
    instances: Annotated[list[Instance], Field(min_length=1, max_length=MAX_INSTANCES)]


def _form(body: object) -> str:
    return "tweets" if isinstance(body, dict) and "instances" in body else "tweet"


PredictRequest = Annotated[
    Annotated[Tweet, Tag("tweet")] | Annotated[Tweets, Tag("tweets")], Discriminator(_form)
]


class InstanceAnswer(BaseModel):
    """The answer to one of many tweets."""

    label: Label
    probability: Annotated[float, Field(ge=0, le=1, description="P(disaster)")]
    id: AnswerId


class TweetAnswer(InstanceAnswer):
    """The answer to one tweet."""

    model: Version


class InstanceProblem(BaseModel):
    """Why one of many tweets was not answered, in a request with `partial`."""

    error: Annotated[str, Field(description="The reason, with the instance's index.")]
    id: AnswerId


class TweetsAnswer(BaseModel):
    """The answers to many tweets, in their order."""

    predictions: list[InstanceAnswer | InstanceProblem]
    model: Version


class Word(BaseModel):
    """A word of the text, as white space separates them."""

    word: str
    start: Annotated[int, Field(description="Its offset in the text, in characters.")]
    push: Annotated[float, Field(description="P(disaster) with it minus that without it.")]


class ExplainAnswer(TweetAnswer):
    """The contribution of each word: probability = baseline + all pushes + together."""

    words: list[Word]
    baseline: Annotated[float, Field(description="P(disaster) of an empty text.")]
    together: Annotated[float, Field(description="The words' joint effect beyond their pushes.")]


class Feedback(BaseModel):
    """Whether an answer was right; other fields are ignored, and not stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "c0ffee", "right": True}]})

    id: Annotated[str, Field(min_length=1, max_length=64, description="The answer's id.")]
    right: bool


class Reload(BaseModel):
    """Which model to put in use."""

    model_config = ConfigDict(extra="forbid")

    previous: Annotated[
        bool, Field(description="Use the previous model, not the current one at MODEL_URI.")
    ] = False


class ReloadAnswer(BaseModel):
    """The versions of the model in use and of the previous one."""

    model: str
    previous: str | None


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str | list[dict[str, Any]]
