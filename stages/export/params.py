"""The params of `export`."""

from stages.shared.params import Positive, Section, Seed


class Export(Section):
    """How the network is quantised."""

    seed: Seed
    calibration_rows: Positive
