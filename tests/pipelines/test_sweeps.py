from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.evaluation.tables import ped2_labels
from tests.pipelines.conftest import TINY_SCENES
from vad_pipeline.evaluation.evaluate import fusion_sweep
from vad_pipeline.models.lgn_net import LGNNet
from vad_pipeline.pipelines.sweeps.nodes import tabulate_sweeps

LGN_NET = {"model": {"width": 0.0625}, "frames": {"height": 48, "width": 64}, "training": {"epochs": 1}}
PARAMS = TINY_SCENES | {"lgn_net": LGN_NET}
STORED = Path(__file__).resolve().parents[2] / "docs" / "results"


def test_the_sweeps_of_a_trained_lgn_net_meet_its_own_result_and_train_nothing(project, monkeypatch):
    project.run("lgn_net", params=PARAMS)
    monkeypatch.setattr("vad_pipeline.training.train.fit", lambda *_: pytest.fail("trained"))
    project.run("lgn_net_sweeps", params=PARAMS)
    table = project.load("lgn_net_sweeps.table", params=PARAMS)
    own = 100 * project.load("lgn_net.metrics", params=PARAMS)["micro_auc"]
    gamma = float(project.load("lgn_net.checkpoint", params=PARAMS).state["gamma"])
    for parameter, n, value in (("lambda", 11, 0.6), ("gamma", 10, gamma)):
        part = table[table["parameter"] == parameter]
        assert len(part) == n
        assert part["value"].is_monotonic_increasing
        (mine,) = part[part["own"]].itertuples()
        assert mine.value == pytest.approx(value)
        assert mine.micro_auc_oracle == pytest.approx(own, abs=0.02)
        assert part["below_best"].min() == 0
    figures = {path.name for path in (project.data_root / "08_reporting/scenes/lgn_net_sweeps").iterdir()}
    assert figures == {"table.parquet", "lambda_oracle.png", "gamma_oracle.png"}


def test_the_paper_s_costs_stand_beside_ours():
    swept = pd.DataFrame({"value": [0.0, 1.0], "micro_auc_oracle": [80.0, 75.0], "own": [True, False]})
    table, *figures = tabulate_sweeps(swept, swept, "avenue")
    assert table["below_best"].tolist() == [0.0, 5.0, 0.0, 5.0]
    np.testing.assert_array_equal(table["published_below_best"], [np.nan, 4.34, 0.36, np.nan])
    for figure, parameter in zip(figures, ("lambda", "gamma"), strict=True):
        (axis,) = figure.axes
        assert axis.get_xlabel().startswith(parameter)
        assert "oracle" in axis.get_ylabel()
        curve, mark = axis.lines
        assert curve.get_ydata().tolist() == [80.0, 75.0]
        assert mark.get_xdata().tolist() == [0.0]


def test_ped2_s_stored_terms_are_swept_without_inference():
    stored = pd.read_parquet(STORED / "ped2_small_lgn_net_96x144_batch4.parquet")
    stored = stored[stored["clip"].str.startswith("test/")]
    scores = stored.assign(clip=stored["clip"].str.replace("Test0", ""))  # as ped2_labels has them
    sweep = fusion_sweep(scores, ped2_labels(), LGNNet.terms, "psnr", "memory_distance")
    areas = dict(zip(sweep["weight"].round(1), 100 * sweep["micro_auc_oracle"], strict=True))
    assert len(areas) == 11
    measured = {0.0: 70.4, 0.6: 89.3, 1.0: 91.0}  # docs/results.md
    assert {weight: areas[weight] for weight in measured} == pytest.approx(measured, abs=0.05)
