"""The params of `lock`."""

from typing import Annotated

from pydantic import Field

from stages.shared.params import Section


class Lock(Section):
    """What the locked model is adapted to."""

    labels: Annotated[str, Field(pattern=r"^[^/\\]+\.csv$")] | None
