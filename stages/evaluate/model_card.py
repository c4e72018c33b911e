"""The model card: what the locked model is, how good it is, and what it is not for."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from common.page import render
from locked.manifest import Manifest
from locked.unseen import SCALE_SPREAD, SHIFT_SPREAD
from stages.evaluate.metrics import CALIBRATION_BINS
from stages.evaluate.robustness import TWEETS

if TYPE_CHECKING:
    from stages.params import Params

TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


def model_card(
    manifest: Manifest,
    report: dict[str, Any],
    slices: pd.DataFrame,
    reliability: tuple[pd.DataFrame, pd.DataFrame],
    steadiness: pd.DataFrame,
    p: "Params",
) -> str:
    """Return the model card as Markdown; `reliability` is that before and after calibration."""
    return render(
        TEMPLATE,
        manifest=manifest,
        adapted=manifest.adaptation is not None and manifest.adaptation.step != "none",
        report=report,
        slices=[*slices.itertuples()],
        reliability=[{row.bin: row for row in side.itertuples()} for side in reliability],
        bins=CALIBRATION_BINS,
        steadiness=[*steadiness.itertuples()],
        most=TWEETS,
        scale_spread=SCALE_SPREAD,
        shift_spread=SHIFT_SPREAD,
        unseen=[1 / (1 + np.exp(-shift)) for shift in (-SHIFT_SPREAD, SHIFT_SPREAD)],
        p=p,
    )
