import numpy as np
import pandas as pd
import pytest

from vad_pipeline.experiments.experiments import EXPERIMENTS
from vad_pipeline.pipelines.experiment.nodes import draw_rows

ROWS = EXPERIMENTS["lgn_net_ablation"].rows
LABELS = pd.DataFrame({"clip": "test/1", "frame": range(4), "label": [0, 0, 1, 1], "kind": ""})


def scores(psnr, distance, seed):
    terms = {"psnr": psnr, "memory_distance": distance, "regular_score": [0.0, 1.0, 2.0, 3.0], "worst_place": 0.0}
    return pd.DataFrame({"clip": "test/1", "frame": range(4), **terms, "seed": seed})


def test_rows_are_drawn_by_their_own_weights_roc_of_the_first_seed_and_gaps_of_all():
    # by PSNR alone the first seed is right, by the distance alone wrong; the second seed is the other way round
    right, wrong = [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]
    of_seeds = pd.concat([scores(right, right, 5), scores(wrong, wrong, 6)])
    metrics = [{"gap": 0.1 * number, "gap_std": 0.01} for number in range(len(ROWS))]
    config = {"width": 0.25, "psnr_weight": 0.9}
    everything = [*metrics, *[of_seeds] * len(ROWS), *[config] * len(ROWS)]
    roc, gaps = draw_rows("lgn_net_ablation", "test", False, LABELS, *everything)
    areas = {
        line.get_label().rsplit("  ", 1)[0]: line.get_label().rsplit("  ", 1)[1] for line in roc.axes[0].lines[:-1]
    }
    expected = {row.title: "0.0" if row.overrides.get("psnr_weight") == 0 else "100.0" for row in ROWS}
    assert areas == expected
    assert "first seed" in roc.axes[0].get_legend().get_title().get_text()
    np.testing.assert_allclose([bar.get_width() for bar in gaps.axes[0].patches], [m["gap"] for m in metrics])
    assert [label.get_text() for label in gaps.axes[0].get_yticklabels()] == [row.title for row in ROWS]
    (spreads,) = gaps.axes[0].collections
    first = spreads.get_segments()[1]
    assert first[:, 0] == pytest.approx([0.09, 0.11])
