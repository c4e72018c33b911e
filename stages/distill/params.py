"""The params of `distill`."""

from typing import Annotated

from pydantic import Field

from stages.shared.params import Section, Seed


class Distill(Section):
    """How far the training targets follow other models instead of the labels."""

    weight: Annotated[float, Field(ge=0, lt=1)]
    folds: Annotated[int, Field(ge=2)]
    seed: Seed
