"""The params of `evaluate`."""

from typing import Annotated

from pydantic import Field

from stages.shared.params import Section, Seed


class Minimum(Section):
    """The least a model must reach on the test split to pass."""

    accuracy: Annotated[float, Field(ge=0, le=1)]
    f1: Annotated[float, Field(ge=0, le=1)]
    roc_auc: Annotated[float, Field(ge=0, le=1)]


class Evaluate(Section):
    """How the locked model is judged."""

    seed: Seed
    bootstrap: Annotated[int, Field(ge=100)]
    minimum: Minimum
