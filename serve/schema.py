"""The bodies of requests and answers, as pydantic models; FastAPI makes /docs of them."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from locked.labels import Label
from locked.text import Text

MAX_INSTANCES = 1_000  # tweets in one call
# Names of a tweet's text, or of a list of texts, in other services and in Twitter's format.
OTHER_NAMES = (
    *("content", "data", "full_text", "input", "inputs", "instance", "message"),
    *("texts", "tweet", "tweets"),
)
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
            for name in OTHER_NAMES:
                if name in fields:
                    hint = f'found {name}: name it "text", or "instances" for many tweets'
                    raise PydanticCustomError("missing", hint)
        return fields


def _to_tweet(instance: object) -> object:
    if isinstance(instance, list) and len(instance) == 1:  # as Vertex AI sends a table's column
        instance = instance[0]
    return {"text": instance} if isinstance(instance, str) else instance


Instance = Annotated[
    Tweet, BeforeValidator(_to_tweet, json_schema_input_type=Tweet | Text | tuple[Text])
]


class Tweets(BaseModel):
    """Many tweets, in the request format of Vertex AI; other fields are ignored."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"instances": [{"text": "Evacuations as flood nears"}]}]},
    )

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


class TweetsAnswer(BaseModel):
    """The answers to many tweets, in their order."""

    predictions: list[InstanceAnswer]
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


class ReloadAnswer(BaseModel):
    """The version of the model in use."""

    model: str


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str | list[dict[str, Any]]
