"""The transcription of the papers' tables: golden values, keys, ranges, and the loader's errors."""

import pytest

from vad_pipeline.evaluation.published import published_results, published_value

KEY = ["paper", "table", "row", "dataset", "trained_on", "condition", "metric"]
VIDEO = ("ped2", "avenue", "shanghaitech")


@pytest.mark.parametrize(
    ("ours", "figures"),
    [
        ("valt_gan", (97.2, 91.1, 77.4)),
        ("valt_gan/resnet50", (95.1, 83.3, 71.9)),
        ("valt_gan/se_resnext50", (96.1, 84.8, 73.5)),
        ("valt_gan/wider_resnet38", (97.2, 91.1, 77.4)),
        ("msti_net", (96.8, 87.6, 73.9)),
        ("msti_net/A", (None, None, 73.1)),
        ("msti_net/B", (None, None, 73.3)),
        ("msti_net/C", (None, None, 72.6)),
        ("msti_net/D", (None, None, 72.8)),
        ("msti_net/E", (None, None, 73.9)),
        ("lgn_net", (97.1, 89.3, 73.0)),
        ("lgn_net/loc_net", (None, 84.7, 71.4)),
        ("lgn_net/glo_net", (None, 88.5, 70.3)),
        ("lgn_net/lgn_st", (None, 88.8, 72.1)),
        ("mnad_pred", (97.0, 88.5, 70.5)),
        ("mnad_recon", (90.2, 82.8, 69.8)),
        ("alps", (98.16, None, None)),
        ("conv3d_ae", (92.49, 81.47, 71.28)),
        ("lntra_patch", (94.77, 84.91, 72.46)),
        ("lntra_skip_frame", (96.50, 84.67, 75.97)),
        ("steal_net", (98.40, 87.10, 73.70)),
        ("pseudo_anomaly_detector/no_discriminator", (93.52, 86.51, 71.76)),
        ("pseudo_anomaly_detector", (93.53, 86.61, 71.65)),
    ],
)
def test_frame_level_auc_is_the_one_the_paper_prints(ours: str, figures: tuple[float | None, ...]) -> None:
    assert tuple(published_value(ours, dataset) for dataset in VIDEO) == figures


@pytest.mark.parametrize(
    ("ours", "figure"),
    [
        ("conv3d_ae", 54.06),
        ("lntra_patch", 57.09),
        ("lntra_skip_frame", 55.48),
        ("pseudo_anomaly_detector/no_discriminator", 57.53),
        ("pseudo_anomaly_detector", 57.98),
        ("steal_net", None),
    ],
)
def test_ubnormal_figures_are_those_of_table_2(ours: str, figure: float | None) -> None:
    assert published_value(ours, "ubnormal") == figure


@pytest.mark.parametrize(("dataset", "mean"), [("mnist", 97.65), ("fashion_mnist", 92.94)])
def test_alps_mean_is_the_mean_of_its_ten_classes(dataset: str, mean: float) -> None:
    classes = [published_value("alps", dataset, "auroc", condition=str(digit)) for digit in range(10)]
    assert published_value("alps", dataset, "auroc", condition="mean") == mean
    # Fashion-MNIST's rows average 92.949, which the paper cuts to 92.94
    assert sum(value for value in classes if value is not None) / 10 == pytest.approx(mean, abs=0.01)


def test_every_mean_over_classes_agrees_with_its_rows_to_the_printed_digit() -> None:
    table = published_results("alps").query("table == 'Table I'")
    figures = table.pivot(index=["dataset", "row"], columns="condition", values="value")
    assert figures.shape == (13, 11)
    assert not figures.isna().any(axis=None)
    assert (figures.drop(columns="mean").mean(axis=1) - figures["mean"]).abs().max() <= 0.05 + 1e-9


def test_alps_other_figures() -> None:
    assert published_value("alps", "ped2", "eer") == 6
    assert published_value("alps/vanilla", "mnist", "auroc", condition="mean") == 95.42
    assert published_value("alps/noise", "mnist", "auroc", condition="mean") == 95.95


def test_transfer_results_are_in_the_table_and_never_the_headline() -> None:
    transfer = published_results("pseudo_anomalies").query("trained_on == 'ubnormal'")
    figures = transfer.pivot(index="ours", columns="dataset", values="value")[list(VIDEO)]
    assert list(figures.loc["lntra_patch"]) == [78.80, 43.94, 61.57]
    assert list(figures.loc["lntra_skip_frame"]) == [85.21, 83.82, 70.52]
    assert list(figures.loc["pseudo_anomaly_detector"]) == [85.37, 83.50, 70.07]
    assert published_value("pseudo_anomaly_detector", "ped2") == 93.53


@pytest.mark.parametrize(("mask", "figures"), [("random", (91.18, 83.13)), ("segmentation", (92.71, 84.51))])
def test_mask_ablation_is_found_by_its_condition(mask: str, figures: tuple[float, float]) -> None:
    name = "pseudo_anomaly_detector/spatial"
    assert tuple(published_value(name, dataset, condition=mask) for dataset in VIDEO[:2]) == figures
    assert published_value(name, "ped2") is None


def test_speed_of_valt_gan_is_table_iii_and_the_text_that_contradicts_it_is_kept() -> None:
    speed = published_results("valt_gan", "ped2").query("metric == 'ms_per_frame'")
    assert published_value("valt_gan", "ped2", "ms_per_frame") == 36
    assert sorted(speed["value"]) == [36, 38, 46, 48, 50, 60]
    assert speed.loc[speed["ours"] == "valt_gan", "note"].str.startswith("contradiction").all()


def test_speeds_in_the_text_of_lgn_net() -> None:
    speed = published_results("lgn_net").query("metric == 'fps'").set_index("row")["value"]
    assert speed.to_dict() == {"LGN-Net": 19, "AnoPCN": 10, "Frame-Pred": 25, "STCEN": 18}


def test_differences_stated_in_the_text_are_not_returned_as_auc() -> None:
    assert published_value("lgn_net", "avenue", "micro_auc_drop", condition="gamma=0") == 0.36
    assert published_value("lgn_net", "shanghaitech", "micro_auc_drop", condition="gamma=0") == 1.46
    assert published_value("lgn_net", "avenue", "micro_auc_drop", condition="lambda=1") == 4.34
    assert published_value("lgn_net", "shanghaitech", "micro_auc_drop", condition="lambda=1") == 1.92
    assert published_value("lgn_net", "shanghaitech", "gap_score_gain", condition="over Glo-Net") == 0.023
    assert published_value("lgn_net", "avenue", condition="gamma=0") is None


def test_every_printed_cell_has_a_row() -> None:
    counts = published_results().groupby(["paper", "table"]).size()
    assert counts.groupby("paper").sum().to_dict() == {
        "alps": 163,
        "lgn_net": 67,
        "msti_net": 36,
        "pseudo_anomalies": 138,
        "valt_gan": 55,
    }
    assert counts["pseudo_anomalies", "Table 1"] == 120


def test_a_key_occurs_twice_only_where_the_note_says_so() -> None:
    results = published_results()
    repeated = results[results.duplicated(KEY, keep=False)]
    assert set(repeated["row"]) == {"Mem-guided"}
    assert len(repeated) == 6
    assert repeated["note"].str.startswith("printed twice").all()


def test_figures_are_in_range_and_no_needed_field_is_empty() -> None:
    results = published_results()
    percent = results[results["metric"].isin(["micro_auc", "auroc", "eer"])]
    assert percent["value"].between(0, 100, inclusive="right").all()
    assert (results["value"] > 0).all()
    metrics = "auroc eer fps gap_score_gain micro_auc micro_auc_drop ms_per_frame"
    assert sorted(results["metric"].unique()) == metrics.split()
    assert (results[["paper", "table", "row", "metric"]] != "").all(axis=None)
    assert set(results.loc[results["dataset"] == "", "metric"]) == {"fps"}
    assert set(results["dataset"]) == {*VIDEO, "ubnormal", "mnist", "fashion_mnist", ""}


def test_each_of_our_systems_is_published_by_one_paper_only() -> None:
    results = published_results()
    named = results[results["ours"] != ""]
    assert (named.groupby("ours")["paper"].nunique() == 1).all()


def test_unknown_paper_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'lgn'.*alps, lgn_net, msti_net, pseudo_anomalies, valt_gan"):
        published_results("lgn")


def test_what_no_paper_printed_is_none_or_an_empty_table() -> None:
    assert published_value("lgn_net", "scenes") is None
    assert published_value("frame_difference", "ped2") is None
    assert published_value("lgn_net", "ped2", "eer") is None
    assert published_value("", "ped2") is None
    assert published_results(dataset="scenes").empty
