"""Nodes that join the parts of the pseudo-anomaly detector."""

import pandas as pd

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.evaluation.evaluate import evaluate, oracle_metrics, oracle_wanted, scored_frames
from vad_pipeline.evaluation.fusion import inverse_spread, join_scores
from vad_pipeline.evaluation.table import baseline_rows, row_of_table
from vad_pipeline.features.stored_features import feature_jobs
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.models.pseudo_anomaly_detector import ROWS, TERMS, equal_weights
from vad_pipeline.models.semantic_discriminator import Config as Discriminator
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.scoring.trivial_baselines import trivial_metrics

HEADLINE = "fused"


def describe_frames(frames: Clips, discriminator: Discriminator, scoring: Scoring) -> dict[str, ClipJob]:
    """Features of every frame, float16 (T, dimension)."""
    return feature_jobs(frames, discriminator.features, scoring.options().device)


def fuse(spatial: pd.DataFrame, temporal: pd.DataFrame, discriminator: pd.DataFrame) -> pd.DataFrame:
    """Raw terms of the frames that all three parts score."""
    return join_scores([spatial, temporal, discriminator])


def evaluate_fusion(
    scores: pd.DataFrame,
    labels: pd.DataFrame,
    trivial: pd.DataFrame,
    frames: Clips,
    spatial: Checkpoint,
    seed: int,
    protocol: str,
    split: str,
    dataset: str,
) -> tuple[dict[str, float], pd.DataFrame, pd.DataFrame, dict[str, dict[str, float]]]:
    """Headline metrics (equal weights), table of parts and fusions, every frame's regularity, the rows' metrics."""
    lengths = {clip: len(stored) for clip, stored in frames.items()}
    rows = {}
    for name, (terms, published) in ROWS.items():
        rows[name] = (evaluate(scores, labels, TERMS, equal_weights(terms), seed, split, lengths), published)
    metrics = dict(rows[HEADLINE][0])
    for name, (terms, _) in ROWS.items():
        if len(terms) < 2:
            continue
        key = "" if name == HEADLINE else "_no_discriminator"
        metrics[f"micro_auc{key}"] = rows[name][0]["micro_auc"]
        if held_out := [clip for clip in spatial.about["held_out"] if clip in set(scores["clip"])]:
            weights = inverse_spread(scores, TERMS, terms, held_out)
            measured = evaluate(scores, labels, TERMS, weights, seed, split, lengths)
            rows[f"{name}, weights by inverse spread"] = measured, ("", "")
            metrics[f"micro_auc_inverse_spread{key}"] = measured["micro_auc"]
            metrics |= {f"{term}_weight_inverse_spread{key}": weight for term, weight in weights.items()}
        if oracle_wanted(protocol):
            best = oracle_metrics(scores, labels, TERMS, equal_weights(terms), split)
            metrics |= {f"{metric}{key}": value for metric, value in best.items()}
            rows[name] = rows[name][0] | best, rows[name][1]
    table = [row_of_table(name, measured, dataset, *published) for name, (measured, published) in rows.items()]
    if oracle_wanted(protocol):
        for line, (measured, _) in zip(table, rows.values(), strict=True):
            line["micro_auc_oracle"] = 100 * measured.get("micro_auc_oracle", float("nan"))
    table += baseline_rows(trivial_metrics(trivial, labels, split=split) if len(labels) else {}, dataset)
    weights = equal_weights(ROWS[HEADLINE][0])
    return (
        metrics,
        pd.DataFrame(table).astype({"published": "float64"}),
        scored_frames(scores, labels, TERMS, weights, split),
        {name: measured for name, (measured, _) in rows.items() if name != HEADLINE},
    )
