"""Reads a search space in Hydra's syntax."""

from collections.abc import Mapping
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, QuotedString
from hydra.errors import HydraException
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from common.errors import InputError
from experiments.repository import flatten
from stages import params
from stages.params import Params

Scalar = str | int | float | bool | None
Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
Space = Mapping[str, Distribution]


def read_space(overrides: list[str], p: Params) -> Space:
    """Return the distribution of each param in the overrides.

    Raises:
        InputError: an override is no sweep, or its key or a value is not valid in params.yaml.

    """
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise InputError(f"{' '.join(overrides)}: {error}") from error
    defaults = dict(flatten(p.model_dump()))
    space: dict[str, Distribution] = {}
    for override in parsed:
        key = override.get_key_element()
        if key not in defaults or key in space:
            raise InputError(f"{key}: {'named twice' if key in space else 'no key of params.yaml'}")
        try:
            space[key] = _distribution(override, isinstance(defaults[key], int))
        except (HydraException, ValueError) as error:  # such as interval(2,1)
            raise InputError(f"{override.input_line}: {error}") from error
    for key, of in space.items():
        for value in of.choices if isinstance(of, CategoricalDistribution) else (of.low, of.high):
            section = values = p.model_dump()
            *sections, name = key.split(".")
            for part in sections:
                section = section[part]
            section[name] = value
            params.parse(values, Path(f"{key}={value}"))
    return space


def _distribution(override: Override, is_integer: bool) -> Distribution:
    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high, log = value.start or 0, value.end or 0, "log" in value.tags
        if is_integer:
            return IntDistribution(int(low), int(high), log=log)
        return FloatDistribution(low, high, log=log)
    if override.is_sweep_override():
        return CategoricalDistribution(list(dict.fromkeys(map(_plain, override.sweep_iterator()))))
    name = override.key_or_group
    raise InputError(f"{override.input_line}: write {name}=1,2 or {name}=interval(1,2)")


def _plain(value: object) -> Scalar:
    if isinstance(value, QuotedString):
        return str(value.text)
    if isinstance(value, Scalar):
        return value
    raise InputError(f"{value}: not a plain value")
