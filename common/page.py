"""Renders Jinja templates to HTML pages and Markdown."""

from pathlib import Path

import jinja2


def render(template: Path, **values: object) -> str:
    """Return the rendered template; raise an error if it uses an undefined name."""
    environment = jinja2.Environment(
        autoescape=".html" in template.suffixes,  # noqa: S701 - Markdown is not escaped
        loader=jinja2.FileSystemLoader(template.parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template.name).render(**values)
