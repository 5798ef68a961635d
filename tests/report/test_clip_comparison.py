import numpy as np
import pandas as pd
import pytest

from vad_pipeline.pipelines.clip_comparison.nodes import compare_on_clip
from vad_pipeline.report.clip_comparison import OnClip, clip_comparison_figure, most_abnormal_clip


def scored(first, anomaly, label):
    frames = range(first, first + len(anomaly))
    return pd.DataFrame({"clip": "test/1", "frame": frames, "anomaly": anomaly, "label": pd.array(label, "Int8")})


@pytest.fixture
def clips(store_clips):
    frames = store_clips({"test/1": np.zeros((6, 16, 24, 1), np.uint8)})["test/1"]
    maps = [store_clips({"test/1": np.full((n, 4, 6), value, np.float16)}) for n, value in ((6, 0.1), (4, 0.2))]
    return frames, maps


def test_the_frame_shown_is_abnormal_and_scored_by_all(clips):
    frames, maps = clips
    whole = scored(0, [1.0, 0.2, 0.3, 0.9, 0.4, 0.8], [1, 0, 0, 0, 1, 1])  # frame 0 is only scored by one
    part = scored(1, [0.1, 0.2, 0.9, 0.9], [0, 0, 0, 1])
    other = OnClip(part, maps[1]["test/1"], np.arange(1, 5))
    models = {"one": OnClip(whole, maps[0]["test/1"], np.arange(6)), "other": other}
    figure = clip_comparison_figure("test/1", frames, models)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["", "frame 4", "one", "other"]
    curves = figure.axes[0]
    assert [line.get_label() for line in curves.lines[:2]] == ["one", "other"]
    assert curves.lines[0].get_ydata().tolist() == whole["anomaly"].tolist()
    shown = [axis.images[0].get_array() for axis in figure.axes[2:]]
    assert [array.shape for array in shown] == [(16, 24)] * 2
    assert [float(array.mean()) for array in shown] == pytest.approx([0.1, 0.2], abs=1e-3)


def test_the_clip_with_the_most_abnormal_frames_is_the_default(clips):
    frames, maps = clips
    other = scored(0, [0.1] * 3, [0, 1, 0]).assign(clip="test/2")
    table = pd.concat([other, scored(0, [1.0, 0.2, 0.3, 0.9, 0.4, 0.8], [1, 0, 0, 0, 1, 1])])
    assert most_abnormal_clip(table) == "test/1"
    unlabelled = table.assign(label=pd.array([None] * len(table), "Int8"))
    assert most_abnormal_clip(unlabelled) == "test/1"
    figure = compare_on_clip(("one",), None, {"test/1": frames}, table, maps[0], table)
    assert figure.axes[1].get_title() == "frame 0"
    with pytest.raises(ValueError, match=r"clip_comparison.clip: one did not score test/9; it scored test/2, test/1"):
        compare_on_clip(("one",), "test/9", {"test/1": frames}, table, maps[0], table)


def test_a_map_is_that_of_the_frame_shown_and_curves_are_in_order_where_models_score_different_frames(store_clips):
    frames = store_clips({"test/1": np.zeros((6, 16, 24, 1), np.uint8)})["test/1"]
    maps = store_clips({"test/1": np.arange(6, dtype=np.float16)[:, None, None] * np.ones((1, 4, 6), np.float16)})
    middle = scored(2, [0.1, 0.9], [0, 1])  # its maps are of a part that scores all six
    last = scored(0, [0.1] * 6, [0] * 6)
    models = {"fused": OnClip(middle, maps["test/1"], np.arange(6)), "all": OnClip(last, maps["test/1"], np.arange(6))}
    figure = clip_comparison_figure("test/1", frames, models)
    assert figure.axes[1].get_title() == "frame 3"
    assert [float(axis.images[0].get_array().mean()) for axis in figure.axes[2:]] == [3.0, 3.0]
    assert figure.axes[0].lines[1].get_xdata().tolist() == [0, 1, 2, 3, 4, 5]
