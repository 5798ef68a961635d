"""metrics.json is JSON, also where nothing could be measured."""

import json
import math

from vad_pipeline.io.metrics_dataset import MetricsDataset


def strictly(text):
    """As JavaScript, jq and Go read it."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_undefined_is_null_in_the_file_and_nan_where_it_is_read(tmp_path):
    dataset = MetricsDataset(filepath=str(tmp_path / "metrics.json"))
    dataset.save({"micro_auc": math.nan, "eer": math.inf, "gap": 0.25, "clips_scored": 3})
    text = (tmp_path / "metrics.json").read_text()
    assert strictly(text) == {"micro_auc": None, "eer": None, "gap": 0.25, "clips_scored": 3}
    loaded = dataset.load()
    assert math.isnan(loaded["micro_auc"])
    assert loaded["gap"] == 0.25
    assert strictly(dataset.preview())["micro_auc"] is None


def test_files_of_before_are_read_as_they_were(tmp_path):
    (tmp_path / "metrics.json").write_text('{"micro_auc": NaN, "gap": 0.5}')
    loaded = MetricsDataset(filepath=str(tmp_path / "metrics.json")).load()
    assert math.isnan(loaded["micro_auc"])
    assert loaded["gap"] == 0.5
