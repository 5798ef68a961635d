"""Nodes that measure a trained LGN-Net at other gammas and lambdas: oracles, as test labels would choose among them."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.evaluation.evaluate import fusion_sweep, scored_frames
from vad_pipeline.evaluation.metrics import micro_auc
from vad_pipeline.evaluation.published import published_value
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.models.build import build, configuration
from vad_pipeline.models.lgn_net import LGNNet
from vad_pipeline.report.sweeps import sweep_figure
from vad_pipeline.scoring.gamma_sweep import Sweeps, gamma_sweep
from vad_pipeline.scoring.score import Scoring


def sweep_lambda(
    scores: pd.DataFrame, labels: pd.DataFrame, checkpoint: Checkpoint, sweeps: Sweeps, split: str
) -> pd.DataFrame:
    """AUC against the weight of PSNR, from stored raw terms: columns value, micro_auc_oracle, own.

    The model's own weight has a row, also where it is not on the grid.
    """
    own = configuration(checkpoint).psnr_weight
    swept = fusion_sweep(scores, labels, LGNNet.terms, "psnr", "memory_distance", sweeps.weights, split)
    table = swept.rename(columns={"weight": "value"})
    if not np.isclose(table["value"], own).any():
        table.loc[len(table)] = [own, _area(scores, labels, own, split)]
    return _marked(table, own)


def sweep_gamma(
    checkpoint: Checkpoint, frames: Clips, labels: pd.DataFrame, scoring: Scoring, sweeps: Sweeps, split: str
) -> pd.DataFrame:
    """AUC against the threshold of the memory's update, windows encoded once: columns value, micro_auc_oracle, own."""
    model = build(checkpoint)
    if not isinstance(model, LGNNet):
        raise TypeError(f"checkpoint of {checkpoint.model}: gamma is LGN-Net's; run the sweeps on a model of it")
    own, weight = float(model.gamma), model.config.psnr_weight
    clips = {clip: {"frames": stored.array()} for clip, stored in frames.split(split).items()}
    scored = gamma_sweep(model, clips, sweeps.thresholds(own), scoring)
    areas = {gamma: _area(scores, labels, weight, split) for gamma, scores in scored.items()}
    return _marked(pd.DataFrame({"value": list(areas), "micro_auc_oracle": list(areas.values())}), own)


def tabulate_sweeps(
    of_lambda: pd.DataFrame, of_gamma: pd.DataFrame, dataset: str
) -> tuple[pd.DataFrame, Figure, Figure]:
    """Both as one table, and the curves of Figs. 10 and 9.

    The table's columns are parameter, value, own (the trained model's), micro_auc_oracle (per cent), below_best (points
    below the best of the sweep) and published_below_best (what the paper says of that, missing where nothing).
    """
    parts = {"lambda": of_lambda, "gamma": of_gamma}
    table = pd.concat([part.assign(parameter=name) for name, part in parts.items()], ignore_index=True)
    best = table.groupby("parameter")["micro_auc_oracle"].transform("max")
    published = [
        published_value("lgn_net", dataset.removesuffix("_small"), "micro_auc_drop", f"{row.parameter}={row.value:g}")
        for row in table.itertuples()
    ]
    table["below_best"] = best - table["micro_auc_oracle"]
    table["published_below_best"] = pd.Series(published, dtype="float64")
    columns = ["parameter", "value", "own", "micro_auc_oracle", "below_best", "published_below_best"]
    lambda_figure = sweep_figure(of_lambda, "lambda, the weight of PSNR")
    return table[columns], lambda_figure, sweep_figure(of_gamma, "gamma, below which a frame updates the memory")


def _area(scores: pd.DataFrame, labels: pd.DataFrame, weight: float, split: str) -> float:
    """Micro AUC, headline protocol, at a weight of PSNR."""
    weights = {"psnr": weight, "memory_distance": 1 - weight}
    terms = {term: LGNNet.terms[term] for term in weights}
    found = scored_frames(scores, labels, terms, weights, split).dropna(subset=["label"])
    return micro_auc(found["label"].astype(int), found["anomaly"])


def _marked(table: pd.DataFrame, own: float) -> pd.DataFrame:
    """In order of the values and in per cent, with the model's own value marked."""
    table = table.sort_values("value", ignore_index=True)
    return table.assign(
        micro_auc_oracle=100 * table["micro_auc_oracle"], own=np.isclose(table["value"], own, rtol=1e-9)
    )
