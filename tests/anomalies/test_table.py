import numpy as np
import pytest

from vad_pipeline.anomalies.masks import Masks
from vad_pipeline.anomalies.pool import Pool, runs_of
from vad_pipeline.anomalies.table import mask_metrics, pseudo_anomaly_table
from vad_pipeline.clips.clip import Clips


def test_every_frame_of_both_kinds_has_a_row_and_frames_without_objects_are_counted(store_clips):
    objects = np.zeros((4, 20, 30), bool)
    objects[:3, 5:10, 5:10] = True
    holes = objects.copy()
    holes[3, :, :15] = True
    stored = store_clips({"train/01": objects, "train/01@0": holes})
    spatial = store_clips({"train/01@0": np.zeros((4, 20, 30, 1), np.uint8)})
    temporal = store_clips({"train/01@0": np.zeros((3, 20, 30, 2), np.float16)})
    runs = runs_of({"train/01": 4}, Pool(), 0)
    with pytest.warns(UserWarning, match="1 of 4 frames show no moving object and got a random mask"):
        table = pseudo_anomaly_table(stored, stored, spatial, temporal, runs, Masks(), 7)
    assert table.groupby("kind").size().to_dict() == {"spatial": 4, "temporal": 3}
    first = table.iloc[0].to_dict()
    assert first == {
        "clip": "train/01",
        "frame": 0,
        "run": "train/01@0",
        "row": 0,
        "kind": "spatial",
        "mask": "objects",
        "parts": 1,
        "mask_area": 25,
        "mask_share": pytest.approx(25 / 600),
        "seed": 7,
    }
    assert table["mask"].tolist()[-1] == "random"
    metrics = mask_metrics(table)
    assert metrics["random_mask_share"] == 0.25
    assert metrics["mask_share_mean"] == pytest.approx((3 * 25 / 600 + 0.5) / 4)
    assert metrics["temporal_frames"] == 3


def test_a_table_of_spatial_pseudo_anomalies_alone(store_clips):
    stored = store_clips({"train/01": np.ones((4, 20, 30), bool), "train/01@0": np.ones((4, 20, 30), bool)})
    runs = runs_of({"train/01": 4}, Pool(), 0)
    table = pseudo_anomaly_table(stored, stored, stored, Clips({}), runs, Masks(kind="random"), 0)
    assert set(table["kind"]) == {"spatial"}
    assert set(table["mask"]) == {"random"}
