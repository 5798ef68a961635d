"""Nodes of the image_anomalies pipeline."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.experiments.experiments import Budget
from vad_pipeline.experiments.image_anomalies import (
    CLASSES,
    ROWS,
    ClassRow,
    class_metrics,
    image_table,
    images_of,
    labels_of,
    run_of_class,
    trivial_auc,
)
from vad_pipeline.models.alps import Config
from vad_pipeline.models.build import build
from vad_pipeline.report.image_report import draw_image_report
from vad_pipeline.report.reconstructions import draw_examples, examples_of, examples_table
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.scoring.trivial_baselines import trivial_scores
from vad_pipeline.sources.extraction import FrameExtraction
from vad_pipeline.tracking import live_curves


def score_trivial_baselines(images: Clips) -> pd.DataFrame:
    """Foreground area and brightness of the test images, with each class in turn as the background's."""
    parts = [trivial_scores(images_of(images, normal)).assign(normal=normal) for normal in CLASSES]
    return pd.concat(parts, ignore_index=True)


def run_class(
    mode: str,
    normal: str,
    images: Clips,
    config: Config,
    size: FrameSize,
    scoring: Scoring,
    budget: Budget,
    working_directory: Path,
    dataset: str,
    protocol: str,
    alps_metrics: dict[str, float] | None = None,
) -> tuple[pd.DataFrame, dict[str, float], pd.DataFrame]:
    """Raw terms per image and seed, metrics averaged over seeds, and reconstructions of a few images."""
    own = ClassRow(mode, normal)
    curves = live_curves(own.namespace)
    result = run_of_class(
        own,
        images,
        config,
        size,
        budget,
        scoring,
        working_directory,
        dataset=dataset,
        protocol=protocol,
        alps_metrics=alps_metrics,
        callbacks=[curves] if curves else [],
    )
    model = build(result.checkpoints[0])
    first = result.scores[result.scores["seed"] == budget.seeds[0]]
    shown = draw_examples(
        first.merge(labels_of(images, normal), on=["clip", "frame"]),
        {"frames": images},
        Clips({}),
        model.scorer(scoring.options()),
        model.window(model.config),
        model.streams(model.config),
    )
    return result.scores, result.metrics, examples_table(shown)


def tabulate_classes(
    dataset: str, protocol: str, images: Clips, trivial: pd.DataFrame, *metrics: dict[str, float]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Tables I and III, and the mean AUROC of each mode."""
    by_class = {normal: trivial_auc(trivial, labels_of(images, normal), normal) for normal in CLASSES}
    named = {row.namespace: measured for row, measured in zip(ROWS, metrics, strict=True)}
    table = image_table(named, by_class, dataset, protocol)
    return table, class_metrics(table)


def report_classes(
    table: pd.DataFrame,
    dataset: str,
    source: FrameExtraction,
    budget: Budget,
    images: Clips,
    *found: pd.DataFrame,
) -> tuple[Figure, Figure, str]:
    """Reconstructions and distributions of scores of every class, and the report that holds them.

    Args:
        table: of ``image_table``.
        dataset: its name.
        source: where the images come from.
        budget: of every row.
        images: of all classes.
        found: of ALPS' rows, scores and then examples, a table each for every class.
    """
    scores = dict(zip(CLASSES, found[: len(CLASSES)], strict=True))
    examples = {c: examples_of(shown) for c, shown in zip(CLASSES, found[len(CLASSES) :], strict=True)}
    labelled = {
        c: part[part["seed"] == budget.seeds[0]].merge(labels_of(images, c), on=["clip", "frame"])
        for c, part in scores.items()
    }
    return draw_image_report(dataset, source.source, table, budget, labelled, examples)
