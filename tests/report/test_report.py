import numpy as np
import pandas as pd
import pytest

from vad_pipeline.clips.window import Stream, Window
from vad_pipeline.report.contact_sheet import FLOW_SCALE, contact_sheet, displayable
from vad_pipeline.report.figures import kinds_figure, learning_curves_figure, regularity_figure, roc_figure
from vad_pipeline.report.html import render_report
from vad_pipeline.report.peaks import find_peaks
from vad_pipeline.scoring.regions import enlarged, strongest_region


def scored(labels=True):
    n = 20
    parts = []
    for clip in ("test/01", "test/02"):
        label = [int(5 <= t < 9) for t in range(n)] if labels else pd.array([pd.NA] * n, dtype="Int8")
        anomaly = np.linspace(0, 1, n)
        parts.append(
            pd.DataFrame(
                {"clip": clip, "frame": range(4, n + 4), "label": label, "kind": "", "anomaly": anomaly}
            ).assign(regularity=1 - anomaly)
        )
    return pd.concat(parts, ignore_index=True).astype({"label": "Int8"})


def test_the_box_surrounds_the_strongest_region_and_not_a_weaker_one():
    error = np.zeros((64, 96), np.float32)
    error[10:20, 30:50] = 1.0
    error[40:60, 60:90] = 0.2
    x, y, width, height = strongest_region(error)
    assert 26 <= x <= 31
    assert 6 <= y <= 11
    assert 49 <= x + width <= 54
    assert 19 <= y + height <= 24


def test_one_noisy_pixel_is_not_the_strongest_region():
    error = np.zeros((128, 192), np.float32)
    error[3, 3] = 2.0
    error[60:80, 100:130] = 1.0
    x, y, _, _ = strongest_region(error)
    assert x > 50
    assert y > 30


def test_abnormal_spans_are_shaded_and_unlabelled_clips_are_not():
    figure = regularity_figure(scored())
    assert [len(axis.patches) for axis in figure.axes[:2]] == [1, 1]
    left = figure.axes[0].patches[0].get_x()
    assert left == 9  # label starts at the sixth scored frame, which is frame 9
    unlabelled = regularity_figure(scored(labels=False))
    assert [len(axis.patches) for axis in unlabelled.axes[:2]] == [0, 0]
    assert "unlabelled" in unlabelled.axes[0].get_title(loc="left")


def test_a_peak_is_the_frame_with_the_highest_anomaly(store_clips):
    frames = store_clips(
        {f"test/0{i}": np.random.default_rng(i).integers(0, 255, (24, 16, 24, 1), np.uint8) for i in (1, 2)}
    )
    errors = np.zeros((20, 4, 6), np.float16)
    errors[:, 1, 4] = 1
    maps = store_clips({"test/01": errors})

    class Stub:
        def predict(self, arrays, position):
            return arrays["frames"][0]

    seen = {"frames": Stream(range(5))}
    peaks = find_peaks(scored(), frames, {"frames": frames}, maps, Stub(), Window(5, 4), seen)
    assert [(p.clip, p.number) for p in peaks] == [("test/01", 23), ("test/02", 23)]
    np.testing.assert_array_equal(peaks[0].frame, frames["test/01"].array()[23])
    np.testing.assert_array_equal(peaks[0].prediction, frames["test/01"].array()[19])
    x, y, width, height = peaks[0].box
    assert x <= 18 <= x + width
    assert y <= 6 <= y + height
    assert peaks[1].box is None
    assert peaks[0].abnormal is False


def test_enlarging_keeps_the_mean():
    error = np.random.default_rng(0).random((8, 12)).astype(np.float32)
    assert enlarged(error, (32, 48)).mean() == pytest.approx(error.mean(), abs=0.02)


def test_the_roc_legend_states_the_area_in_per_cent():
    table = pd.DataFrame({"fpr": [0, 0.5, 1], "tpr": [0, 1, 1]})
    figure = roc_figure({"model": (table, 0.875), "brightness": (table, 0.5)})
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["model  87.5", "brightness  50.0"]


def test_kinds_are_sorted_by_how_well_they_are_found():
    figure = kinds_figure({"motion": 0.7, "appearance": 0.9, "both": 0.8})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["motion", "both", "appearance"]


def test_learning_curves_show_training_beside_held_out_clips():
    history = pd.DataFrame(
        [
            (e, f"{split}_{name}", 1.0 / (e + 1))
            for e in range(3)
            for split in ("train", "val")
            for name in ("loss", "psnr")
        ]
        + [(0, "learning_rate", 0.1)],
        columns=["epoch", "name", "value"],
    )
    figure = learning_curves_figure(history)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["loss", "PSNR, dB"]
    assert [len(axis.lines) for axis in figure.axes] == [2, 2]


def test_the_report_escapes_names_and_prints_per_cent():
    table = pd.DataFrame({"micro AUC": [0.9137, float("nan")]}, index=["<script>", "b"])
    html = render_report("t", {"clip": "<b>"}, "", table, {})
    assert "<script>" not in html
    assert "&lt;b&gt;" in html
    assert "91.4" in html
    assert "–" in html


@pytest.mark.parametrize(("headline", "shown"), [(None, "a"), ("b", "b")])
def test_one_row_of_the_report_stands_out_the_first_where_none_is_named(headline, shown):
    table = pd.DataFrame({"micro AUC": [0.5, 0.6]}, index=["a", "b"])
    html = render_report("t", {}, "", table, {}, headline=headline)
    assert html.count('class="headline"') == 1
    assert f'<tr class="headline"><td>{shown}</td>' in html


def test_a_contact_sheet_shows_frames_masks_and_flow():
    clips = {
        "train/01": np.zeros((9, 12, 16, 1), np.uint8),
        "masks": np.ones((9, 12, 16), bool),
        "flow": np.ones((9, 12, 16, 2), np.float16),
    }
    sheet = contact_sheet(clips, columns=4, tile_width=40)
    assert sheet.shape == (68 + 3 * (18 + 30), 160, 3)  # flow brings a legend of its colours
    assert displayable(clips["masks"][0]).min() == 255


def test_flow_colour_is_direction_and_saturation_is_speed():
    flow = np.zeros((1, 3, 2), np.float32)
    flow[0, 0], flow[0, 1] = (FLOW_SCALE, 0), (-FLOW_SCALE, 0)
    assert displayable(flow)[0].tolist() == [[255, 0, 0], [0, 255, 255], [255, 255, 255]]


def test_a_contact_sheet_leaves_out_clips_without_rows():
    clips = {"train/01": np.zeros((0, 12, 16, 2), np.float16), "train/02": np.zeros((3, 12, 16, 2), np.float16)}
    assert contact_sheet(clips, columns=2, tile_width=40).shape == (68 + 18 + 30, 80, 3)
