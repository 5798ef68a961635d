"""The figures printed in the five papers, cited baselines included, to be shown beside our own measurements.

`published_results.csv` was transcribed from the papers' texts, one row per printed number; cells printed as
"-" or "N/A" have no row. It is a record of claims: contradictions and misprints are kept and said in `note`.
"""

from importlib import resources

import pandas as pd

_TEXT_COLUMNS = ("paper", "table", "row", "ours", "dataset", "trained_on", "condition", "metric", "note")


def published_results(paper: str | None = None, dataset: str | None = None) -> pd.DataFrame:
    """Return the printed figures, of one paper or data set where given, in the papers' own order.

    Columns (text, empty where nothing applies; `value` alone is a float):

    - `paper`: valt_gan, msti_net, lgn_net, alps or pseudo_anomalies
    - `table`: as numbered in the paper; `Fig. 9 (text)` for a figure's number that only the text states
    - `row`: method as printed, its reference number kept only where two rows would share a name
    - `ours`: name in this project of that system, `system/variant` for a row of its ablation, empty for others' work
    - `dataset`: ped2, avenue, shanghaitech, ubnormal (validation split), mnist, fashion_mnist; empty if not stated
    - `trained_on`: the data set of training where it is another one (transfer tables)
    - `condition`: the normal class "0".."9" or "mean" (Fashion-MNIST: 0 T-shirt .. 9 ankle boot), mask kind, setting
    - `metric`: micro_auc (frame-level AUC; only pseudo_anomalies says "micro"), auroc, eer: percent; ms_per_frame;
      fps; and two differences: micro_auc_drop (percentage points) and gap_score_gain (score units, 0..1)
    - `value`: as printed
    - `note`: contradictions, known misprints, what makes a figure hard to compare

    A data set that no paper used gives an empty table.

    Raises:
        ValueError: `paper` is none of the five.

    Source: VALT-GAN Tables II-IV, MSTI-Net I-II, LGN-Net I-II, ALPS I-III, pseudo-anomalies 1-4 and the texts.
    """
    source = resources.files("vad_pipeline.evaluation").joinpath("published_results.csv")
    with source.open(encoding="utf-8") as csv:
        results = pd.read_csv(csv, dtype=dict.fromkeys(_TEXT_COLUMNS, "str"), keep_default_na=False)
    if paper is not None:
        known = results["paper"].unique()
        if paper not in known:
            raise ValueError(f"paper {paper!r}: no published results; choose one of {', '.join(sorted(known))}")
        results = results[results["paper"] == paper]
    if dataset is not None:
        results = results[results["dataset"] == dataset]
    return results.reset_index(drop=True)


def published_value(
    ours: str, dataset: str, metric: str = "micro_auc", condition: str = "", trained_on: str = ""
) -> float | None:
    """Return the figure that the papers print for one of our systems, or None where they print none.

    Of a number printed more than once, that of the paper's first table counts (VALT-GAN: 36 ms per frame in
    Table III, not the 48 ms of the text). Systems from outside the five papers that we run as baselines have
    the figures of one that cites them: MNAD those of LGN-Net; LNTRA, STEAL Net and the plain 3D autoencoder those of
    the pseudo-anomalies paper. Transfer results
    are returned where `trained_on` names the data set of training, and never else.

    >>> published_value("lgn_net", "ped2")
    97.1
    >>> published_value("alps", "mnist", metric="auroc", condition="mean")
    97.65
    """
    results = published_results(dataset=dataset)
    wanted = {"ours": ours, "trained_on": trained_on, "metric": metric, "condition": condition}
    for column, value in wanted.items():
        results = results[results[column] == value]
    # others' methods have an empty `ours`, which names no system
    return float(results["value"].iloc[0]) if ours and len(results) else None
