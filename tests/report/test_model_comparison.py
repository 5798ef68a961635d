import logging
import math

import pandas as pd
import pytest

from vad_pipeline.pipelines.model_comparison.nodes import compare_models
from vad_pipeline.report.comparison_report import Evaluated, kinds_of, models_kinds_figure, verdict
from vad_pipeline.report.model_comparison import compared, gap_figure, models_roc_figure

LABEL = [0, 0, 1, 1]


def scored(anomaly, label=LABEL, clip="test/01"):
    table = pd.DataFrame(
        {"clip": clip, "frame": range(len(label)), "label": pd.array(label, "Int8"), "anomaly": anomaly}
    )
    return table.assign(regularity=1 - table["anomaly"], kind="")


def compare(systems, dataset, scored_frames, metrics=(), tables=(), reports=(), after=()):
    left = (scored_frames, *(dict(found) for found in (metrics, tables, reports)))
    return compare_models(systems, dataset, 0, False, *left, *after)


RIGHT, HALF = scored([0.1, 0.3, 0.7, 0.9]), scored([0.2, 0.8, 0.2, 0.8])


def stored(file="scored_frames.parquet", **versions):
    """Keys as PartitionedDataset has them."""
    return {
        f"{system}/{file}/{time}": lambda table=table: table
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
        roc, gaps, whole, _ = compare(["lgn_net", "mnad_pred", "frame_pred"], "ped2_small", tables)
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
        compare(["mnad_pred"], "ped2", stored(lgn_net={"2026": RIGHT}))


def test_of_a_run_of_some_systems_the_best_stands_first_and_no_others_are_missed(caplog):
    tables = stored(lgn_net={"2026": HALF}, scene_exemplars={"2026": RIGHT})
    metrics = stored("metrics.json", scene_exemplars={"2026": {"micro_auc_low": 0.875, "micro_auc_high": 1.0}})
    baselines = pd.DataFrame({"row": ["lgn_net", "brightness (no learning)"], "micro_auc": [50.0, 60.0], "gap": 1.0})
    kept = stored("table.parquet", lgn_net={"2026": baselines})
    systems = ["lgn_net", "mnad_pred", "scene_exemplars"]
    with caplog.at_level(logging.WARNING, logger="vad_pipeline"):
        *_, table, _page = compare(systems, "scenes", tables, metrics, kept, after=("<p>", "<p>"))
    assert table["row"].tolist() == ["scene_exemplars", "lgn_net", "brightness (no learning)"]
    assert table["micro_auc"].tolist() == [100.0, 50.0, 60.0]
    assert table["micro_auc_low"].iloc[0] == 87.5
    assert not caplog.text


def test_the_page_links_the_latest_report_of_each_model_and_fetches_nothing():
    tables = stored(lgn_net={"2026": HALF}, frame_pred={"2026": RIGHT})
    reports = stored("report.html", lgn_net={"2025": "", "2026": ""})
    page = compare(["lgn_net", "frame_pred"], "scenes", tables, reports=reports)[-1]
    assert page.count("<a href") == 1
    assert 'href="../../../lgn_net/report.html/2026/report.html"' in page
    assert "http" not in page
    assert page.index(">frame_pred</td>") < page.index(">lgn_net</td>"), "the best first"


def evaluated(tables, **metrics):
    whole = pd.concat(tables)
    return Evaluated(whole, compared(whole), metrics)


def test_the_verdict_names_the_best_model_and_whether_that_is_chance():
    clips = [f"test/{n:02d}" for n in range(12)]
    good = evaluated([scored([0.1, 0.2, 0.8, 0.9], clip=clip) for clip in clips], micro_auc_low=0.9, micro_auc_high=1.0)
    chance = evaluated([scored([0.2, 0.8, 0.2, 0.8], clip=clip) for clip in clips])
    said = verdict({"chance": chance, "good": good})
    assert said.startswith("good is best, micro AUC 100.0 % (95% interval 90.0 to 100.0). chance has 50.0 %.")
    assert "+50.0 to +50.0 points (95% bootstrap over 12 clips), beyond chance" in said
    # in a third of the clips the order is turned round
    turned = [scored([0.9, 0.8, 0.2, 0.1] if n % 3 == 0 else [0.1, 0.2, 0.8, 0.9], clip=c) for n, c in enumerate(clips)]
    assert "within chance" in verdict({"chance": chance, "turned": evaluated(turned)})


def test_of_one_clip_or_one_model_no_certainty_is_claimed():
    models = {"half": evaluated([HALF]), "right": evaluated([RIGHT])}
    assert verdict(models).endswith("How sure that is cannot be said with 1 clip.")
    assert verdict({"right": models["right"]}) == "right alone is evaluated, micro AUC 100.0 %."


def test_kinds_are_compared_under_one_normalisation_where_the_metrics_have_it():
    found = {"micro_auc_kind_motion_runner": 0.1, "micro_auc_global_kind_motion_runner": 0.75}
    models = {"new": evaluated([RIGHT], **found), "old": evaluated([HALF], micro_auc=0.5)}
    assert kinds_of(models).to_dict() == {"new": {"motion_runner": 0.75}}
    figure = models_kinds_figure(kinds_of(models))
    assert [bar.get_width() for bar in figure.axes[0].patches] == [75.0]
    assert figure.axes[0].get_yticklabels()[0].get_text() == "motion runner"


def test_without_labels_nothing_is_claimed_and_curves_are_there():
    page = compare(["lgn_net"], "mine", stored(lgn_net={"2026": scored([0.1, 0.9], [None, None])}))[-1]
    assert "without labels nothing is measured" in page
    assert "<table" not in page
    assert page.count("data:image/png") == 1
