"""Nodes that join the parts of the pseudo-anomaly detector."""

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.evaluation.evaluate import evaluate, oracle_metrics, oracle_wanted, scored_frames
from vad_pipeline.evaluation.fusion import inverse_spread, join_scores
from vad_pipeline.features.stored_features import feature_jobs
from vad_pipeline.io.clip_job import ClipJob
from vad_pipeline.io.clips import Clips
from vad_pipeline.models.pseudo_anomaly_detector import ROWS, TERMS, equal_weights
from vad_pipeline.models.semantic_discriminator import Config as Discriminator
from vad_pipeline.report.detector_report import Findings, draw_report
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.scoring.trivial_baselines import trivial_metrics
from vad_pipeline.training.checkpoint import Checkpoint
from vad_pipeline.training.experiments import row_of_table

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
) -> tuple[dict[str, float], pd.DataFrame, pd.DataFrame]:
    """Metrics of the headline (equal weights); a table of parts and fusions; the regularity of every scored frame."""
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
    table = [row_of_table(name, measured, dataset, *published) for name, (measured, published) in rows.items()]
    baselines = trivial_metrics(trivial, labels, split=split) if len(labels) else {}
    table += [row_of_table(f"{name.replace('_', ' ')} (no learning)", m, dataset) for name, m in baselines.items()]
    weights = equal_weights(ROWS[HEADLINE][0])
    return (
        metrics,
        pd.DataFrame(table).astype({"published": "float64"}),
        scored_frames(scores, labels, TERMS, weights, split),
    )


def report_fusion(
    metrics: dict[str, float],
    table: pd.DataFrame,
    scored: pd.DataFrame,
    trivial: pd.DataFrame,
    labels: pd.DataFrame,
    checkpoint: Checkpoint,
    history: pd.DataFrame,
    frames: Clips,
    maps: Clips,
    scoring: Scoring,
    dataset: str,
    split: str,
) -> tuple[Figure, Figure, Figure, Figure, Figure, str]:
    """Figures and HTML report; pictures and error maps are the spatial autoencoder's."""
    known = [name for name in table["row"] if not name.endswith("(no learning)") and name != HEADLINE]
    rows = {
        str(row["row"]): {column: row[column] / 100 for column in table.columns if column not in ("row", "published")}
        for _, row in table[table["row"].isin(known)].iterrows()
    }
    name = "pseudo_anomaly_detector"
    return draw_report(
        Findings(
            name,
            dataset,
            metrics,
            scored,
            trivial,
            labels,
            checkpoint,
            history,
            frames,
            maps,
            scoring,
            TERMS,
            split,
            rows,
        )
    )
