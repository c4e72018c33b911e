"""What goes over HTTP, as pydantic models; FastAPI makes /docs of them."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
)

from locked.manifest import Label

MAX_TEXT = 4_000  # characters
MAX_INSTANCES = 1_000  # tweets in one call

Text = Annotated[
    str, StringConstraints(max_length=MAX_TEXT, pattern=r"\S"), Field(description="One tweet.")
]


class Tweet(BaseModel):
    """One tweet; what else is said of it is left alone, as the other columns of a table."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Evacuations as flood nears"}]}
    )

    text: Text


def _tweet(instance: object) -> object:
    if isinstance(instance, list) and len(instance) == 1:
        instance = instance[0]
    return {"text": instance} if isinstance(instance, str) else instance


# Vertex AI sends bare strings from files of text, and arrays of one from BigQuery and CSV.
Instance = Annotated[
    Tweet,
    BeforeValidator(
        _tweet,
        json_schema_input_type=Tweet
        | Text
        | Annotated[list[Text], Field(min_length=1, max_length=1)],
    ),
]


class Tweets(BaseModel):
    """Many tweets, in the request format of Vertex AI; what else it sends is left alone."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"instances": [{"text": "Evacuations as flood nears"}]}]}
    )

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

    id: Annotated[str, Field(description="The request's id, and the instance's number from 0.")]


class TweetsAnswer(BaseModel):
    """The answers to many tweets, in their order."""

    predictions: list[InstanceAnswer]
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

    id: Annotated[str, Field(min_length=1, max_length=80, description="Of the answer.")]
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
