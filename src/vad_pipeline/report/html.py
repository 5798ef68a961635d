"""One self-contained HTML file: what was measured and what it looks like."""

import base64
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure


def render_report(
    title: str,
    facts: Mapping[str, str],
    caption: str,
    table: pd.DataFrame,
    figures: Mapping[str, tuple[str, Figure]],
    published: pd.DataFrame | None = None,
    headline: str | None = None,
    unmeasured: str = "",
    links: Mapping[str, str] | None = None,
) -> str:
    """The report; images lie inside, nothing is fetched.

    Args:
        title: of the page.
        facts: short lines on data, model and training.
        caption: of the table.
        table: a row each for what is compared; the index names the row, fractions become per cent, text stays.
        figures: heading -> (caption, figure).
        published: columns paper, table, row, dataset, value, note; None or empty where there is nothing to compare.
        headline: row of the table that stands out; None is the first.
        unmeasured: what stands there instead of a table without any figure, where nothing could be measured.
        links: text -> address of a page beside this one, below the facts.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader("vad_pipeline.report", "."), autoescape=True)
    measured = any(isinstance(value, str) or not pd.isna(value) for row in table.values for value in row)
    return environment.get_template("report.html").render(
        title=title,
        facts=facts,
        links=links or {},
        caption=caption,
        columns=list(table.columns),
        headline=headline or (str(table.index[0]) if len(table) else None),
        rows=[(str(name), [_cell(value) for value in row]) for name, row in zip(table.index, table.values, strict=True)]
        if measured
        else [],
        unmeasured=unmeasured,
        figures=[(heading, caption, png(figure)) for heading, (caption, figure) in figures.items()],
        published=[] if published is None else published.to_dict("records"),
    )


def png(figure: Figure, dpi: int = 110) -> str:
    """A figure as base64 PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return base64.b64encode(buffer.getvalue()).decode()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{100 * value:.1f}"
    return str(value)
