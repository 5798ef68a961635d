"""A clip may be called anything."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest

from vad_pipeline.report.contact_sheet import contact_sheet
from vad_pipeline.report.figures import kinds_figure, peaks_figure, regularity_figure
from vad_pipeline.report.html import render_report
from vad_pipeline.report.names import shown
from vad_pipeline.report.peaks import Peak

NAMES = [
    "test/$x$",
    "test/$\\frac{",
    "test/[red]a[/red]",
    "test/<b>&amp;",
    "test/录像_é_🚲",
    "test/a\nb\tc",
    "test/_x^2",
]


def drawn(figure):
    """The figure's texts, after it was saved without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png", dpi=40)
    return [axis.get_title(loc="left") for axis in figure.axes]


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_saved_whatever_clips_and_kinds_are_called(name):
    frames = pd.DataFrame({"clip": name, "frame": range(4), "regularity": 0.5, "label": 1, "kind": name})
    assert drawn(regularity_figure(frames)) == [shown(f"{name}  {name}"), "", ""]
    image = np.zeros((8, 8, 3), np.uint8)
    peak = Peak(clip=name, number=1, frame=image, prediction=None, error=None, box=None, abnormal=True, kind=name)
    drawn(peaks_figure([peak]))
    drawn(kinds_figure({name: 0.5, "plain": 0.4}))


def test_dollars_are_shown_as_they_are():
    from matplotlib.figure import Figure

    figure = Figure()
    text = figure.text(0, 0, shown("gate $1$"))
    assert text._preprocess_math(text.get_text()) == ("gate $1$", False)


def test_what_no_font_has_is_shown_as_its_code():
    assert shown("a\U00012345") == "a\\U00012345"
    assert shown("é") == "é"


def test_a_contact_sheet_writes_a_name_that_opencv_cannot():
    clip = np.zeros((2, 8, 8, 1), np.uint8)
    sheets = [contact_sheet({name: clip}) for name in ("录", "像")]
    assert (sheets[0] != sheets[1]).any()


def test_markup_in_names_is_text_in_the_report():
    table = pd.DataFrame({"a": [1.0]}, index=["<script>x</script>"])
    figure = regularity_figure(pd.DataFrame(columns=["clip", "frame", "regularity", "label", "kind"]))
    html = render_report("<i>t</i>", {"<u>": "<s>&"}, "<em>", table, {"<h>": ("<c>", figure)}, headline="<script>")
    for tag in ("<script>", "<i>", "<u>", "<s>", "<em>", "<h>", "<c>"):
        assert tag not in html
    assert "&lt;script&gt;x&lt;/script&gt;" in html
