"""A report as one page of HTML that needs nothing else."""

from pathlib import Path

import jinja2


def render(template: Path, **values: object) -> str:
    """Fill a template in; a name in it that has no value is an error."""
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(template.parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template.name).render(**values)
