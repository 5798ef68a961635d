import logging
import math

import pandas as pd
import pytest

from vad_pipeline.pipelines.model_comparison.nodes import compare_models
from vad_pipeline.report.model_comparison import compared, gap_figure, models_roc_figure

LABEL = [0, 0, 1, 1]


def scored(anomaly, label=LABEL):
    table = pd.DataFrame({"label": pd.array(label, "Int8"), "anomaly": anomaly})
    return table.assign(regularity=1 - table["anomaly"])


RIGHT, HALF = scored([0.1, 0.3, 0.7, 0.9]), scored([0.2, 0.8, 0.2, 0.8])


def stored(**versions):
    """Keys as PartitionedDataset has them."""
    return {
        f"{system}/scored_frames.parquet/{time}/scored_frames": lambda table=table: table
        for system, tables in versions.items()
        for time, table in tables.items()
    }


def test_a_model_is_compared_by_its_labelled_frames():
    found = compared(pd.concat([RIGHT, scored([1.0, 0.0], [None, None])]))
    assert (found.micro_auc, found.gap) == (1.0, pytest.approx(0.6))
    assert math.isnan(found.gap_spread)


def test_every_model_has_a_curve_of_its_own_colour_and_the_best_stands_first():
    figure = models_roc_figure({"half": compared(HALF), "right": compared(RIGHT)})
    first, second, _diagonal = figure.axes[0].lines
    assert [line.get_label() for line in (first, second)] == ["right  100.0", "half  50.0"]
    assert first.get_color() != second.get_color()
    assert first.get_xdata().tolist() == compared(RIGHT).roc["fpr"].tolist()


def test_gap_scores_are_bars_in_the_order_given_from_above():
    figure = gap_figure({"right": compared(RIGHT), "half": compared(HALF)})
    (axis,) = figure.axes
    assert [round(bar.get_width(), 6) for bar in axis.patches] == [0.6, 0.0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["right", "half"]
    assert axis.yaxis_inverted()


def test_the_latest_version_of_each_system_counts_and_what_is_missing_is_said(caplog):
    tables = stored(
        lgn_net={"2026-01-01T00.00.00.000Z": HALF, "2026-02-01T00.00.00.000Z": RIGHT},
        frame_pred={"2026-01-15T00.00.00.000Z": HALF},
        conv3d_ae={"2026-01-15T00.00.00.000Z": HALF},
    )
    with caplog.at_level(logging.WARNING, logger="vad_pipeline"):
        roc, gaps, whole = compare_models(["lgn_net", "mnad_pred", "frame_pred"], "ped2_small", tables)
    table, cited = whole[whole["micro_auc"].notna()], whole[whole["micro_auc"].isna()].set_index("row")["published"]
    assert cited["AMC (Nguyen et al., 2019) (lgn_net, Table I)"] == 96.2
    assert not [row for row in cited.index if "pseudo_anomalies" in row], "the papers of what is shown alone"
    assert "mnad_pred" in caplog.text
    assert "lgn_net" not in caplog.text
    assert table["row"].tolist() == ["lgn_net", "frame_pred"]
    assert table["micro_auc"].tolist() == [100.0, 50.0]
    assert table["published"].tolist() == [97.1, 95.4]
    assert len(roc.axes[0].lines) == 3
    assert len(gaps.axes[0].patches) == 2


def test_a_comparison_of_nothing_names_the_remedy():
    with pytest.raises(ValueError, match=r"none of mnad_pred has been evaluated on ped2; `kedro run --pipeline=mnad"):
        compare_models(["mnad_pred"], "ped2", stored(lgn_net={"2026": RIGHT}))
