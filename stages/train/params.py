"""The params of `train`."""

from typing import Annotated, Literal

from pydantic import Field

from stages.shared.params import Positive, Section, Seed


class Train(Section):
    """The fine-tuning recipe."""

    seed: Seed
    layers: Positive | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    epochs: Positive
    patience: Positive
    batch_size: Positive
    lr: Annotated[float, Field(gt=0, lt=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    freeze_embeddings: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
