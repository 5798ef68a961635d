"""One class of images as normal, all others as anomalies: each class in turn, with each mode of ALPS (Tables I, III).

A row is a mode and a class. All rows share one store of images, one working directory and one budget; trainings and
scores that are there already are found again. The rows of the mode ``noise`` take their strength from the metrics of
ALPS' rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.evaluation.evaluate import oracle_wanted
from vad_pipeline.evaluation.metrics import micro_auc
from vad_pipeline.evaluation.published import published_results
from vad_pipeline.experiments.experiments import Budget, Row, RowResult, run_row, with_overrides
from vad_pipeline.experiments.labelled_epoch import LabelledEpoch
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.models.alps import Config
from vad_pipeline.models.build import build
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.training.train import training_fingerprint

NAME = "image_anomalies"
CLASSES = tuple(str(number) for number in range(10))
MODES = {"vanilla": "vanilla autoencoder", "noise": "with random noise", "alps": "ALPS"}  # as Table III has them
TERM = "perturbed_error"  # the headline's
SCORES = ("clean_error", "perturbed_error", "mean_error")  # the paper reports the best of them
TRIVIAL = ("foreground_area", "brightness")  # frame difference means nothing between images


@dataclass(frozen=True)
class ClassRow:
    """A mode of ALPS with one class as normal.

    Attributes:
        mode: of the model.
        normal: the class.
    """

    mode: str
    normal: str

    @property
    def namespace(self) -> str:
        """Of its nodes and data sets."""
        return f"{NAME}__{self.mode}_{self.normal}"

    def row(self, metrics: Mapping[str, float] | None = None) -> Row:
        """As a row of an experiment; noise is as strong as the perturbation in ``metrics`` of ALPS' row."""
        overrides: dict[str, Any] = {"mode": self.mode}
        if self.mode == "noise":
            assert metrics is not None
            overrides["noise_strength"] = metrics["found_perturbation"]
        return Row(f"{self.mode}_{self.normal}", f"{MODES[self.mode]}, {self.normal} normal", "alps", overrides)


ROWS = tuple(ClassRow(mode, normal) for mode in ("alps", "vanilla", "noise") for normal in CLASSES)


def images_of(images: Clips, normal: str) -> Clips:
    """Training images of one class, test images of all.

    Args:
        images: clips ``train/<class>`` and ``test/<class>``.
        normal: the class.

    Raises:
        ValueError: there is no training image of it.
    """
    if f"train/{normal}" not in images:
        present = ", ".join(clip.removeprefix("train/") for clip in images if clip.startswith("train/"))
        raise ValueError(
            f"{NAME}: no training images of class {normal}, only of {present}; every class takes its turn, so the data "
            "need all ten"
        )
    return Clips({clip: images[clip] for clip in images if clip == f"train/{normal}" or clip.startswith("test/")})


def labels_of(images: Clips, normal: str) -> pd.DataFrame:
    """Labels of the test images: columns clip, frame, label, kind; images of other classes are abnormal."""
    parts = [
        pd.DataFrame(
            {
                "clip": clip,
                "frame": np.arange(len(stored)),
                "label": int(clip != f"test/{normal}"),
                "kind": "" if clip == f"test/{normal}" else f"class/{clip.removeprefix('test/')}",
            }
        )
        for clip, stored in images.split("test").items()
    ]
    return pd.concat(parts, ignore_index=True)


def run_of_class(
    own: ClassRow,
    images: Clips,
    base: Config,
    size: FrameSize,
    budget: Budget,
    scoring: Scoring,
    folder: Path,
    *,
    dataset: str = "",
    protocol: str = "clean",
    alps_metrics: Mapping[str, float] | None = None,
    callbacks: Sequence[Callback] = (),
) -> RowResult:
    """Train, score and evaluate a mode with one class as normal; what is finished is taken as it is.

    Args:
        own: the row.
        images: of all classes.
        base, size, budget, scoring, folder, dataset: as for ``run_row``.
        protocol: ``paper`` also scores the epoch that labels would choose, under ``micro_auc_labelled_epoch_oracle``.
        alps_metrics: of the row whose perturbation noise is as strong as.
        callbacks: for Lightning.
    """
    row = own.row(alps_metrics)
    config = with_overrides(base, row.overrides)
    streams, labels = {"frames": images_of(images, own.normal)}, labels_of(images, own.normal)

    def path(seed: int) -> Path:
        trained = {"frames": streams["frames"].split("train")}
        return (
            folder
            / f"labelled_epoch_{training_fingerprint('alps', config, size, budget.training, seed, trained)}.safetensors"
        )

    def watched(seed: int) -> list[Callback]:
        return [*callbacks, LabelledEpoch(images, own.normal, TERM, path(seed), seed)]

    found = run_row(
        row, base, size, budget, scoring, streams, labels, folder, callbacks=watched, dataset=dataset, images=True
    )
    if not oracle_wanted(protocol):
        return found
    areas = [
        _oracle_auc(replace(checkpoint, state=load_file(path(seed))), streams, labels, scoring, folder)
        for seed, checkpoint in zip(budget.seeds, found.checkpoints, strict=True)
        if path(seed).exists()
    ]
    oracle = {"micro_auc_labelled_epoch_oracle": float(np.mean(areas)) if areas else float("nan")}
    return replace(found, metrics=found.metrics | oracle)


def _oracle_auc(
    checkpoint: Checkpoint, streams: Mapping[str, Clips], labels: pd.DataFrame, scoring: Scoring, folder: Path
) -> float:
    tested = [list(streams["frames"].split("test"))]
    scores, _ = score_clips(build(checkpoint), streams, scoring, tested, folder, maps=False)
    joined = scores.merge(labels, on=["clip", "frame"], validate="one_to_one")
    return micro_auc(joined["label"], joined[TERM])


def image_table(
    metrics: Mapping[str, Mapping[str, float]],
    trivial: Mapping[str, Mapping[str, float]],
    dataset: str,
    protocol: str = "clean",
) -> pd.DataFrame:
    """Table I's row and Table III: AUROC in per cent of each class and their mean.

    Args:
        metrics: namespace of a row -> its metrics, means over seeds.
        trivial: normal class -> baseline -> AUROC.
        dataset: whose published figures stand beside ours.
        protocol: ``paper`` adds what the paper does with labels, in rows that say oracle.

    Returns:
        Columns row, 0 .. 9, mean and std, the standard deviation over seeds averaged over classes.
    """

    def line(title: str, values: Sequence[float], spread: Sequence[float] = ()) -> dict[str, Any]:
        mean = float(np.mean(values))
        return {"row": title, **dict(zip(CLASSES, values, strict=True)), "mean": mean, "std": _mean(spread)}

    def ours(mode: str, key: str) -> list[float]:
        return [100 * metrics[ClassRow(mode, c).namespace].get(key, float("nan")) for c in CLASSES]

    lines = [line(title, ours(mode, "micro_auc"), ours(mode, "micro_auc_std")) for mode, title in MODES.items()]
    for term in SCORES:
        if term != TERM:
            lines.append(line(f"ALPS, {term.replace('_', ' ')}", ours("alps", f"micro_auc_term_{term}")))
    if oracle_wanted(protocol):
        for mode, title in MODES.items():
            best = np.max([ours(mode, f"micro_auc_term_{term}") for term in SCORES], axis=0)
            lines.append(line(f"{title}, best of three scores (oracle)", best.tolist()))
            lines.append(
                line(f"{title}, epoch chosen by labels (oracle)", ours(mode, "micro_auc_labelled_epoch_oracle"))
            )
    for name in TRIVIAL:
        values = [100 * trivial[c][name] for c in CLASSES]
        lines.append(line(f"{name.replace('_', ' ')} (no learning)", values))
    return pd.DataFrame([*lines, *_published(dataset)])


def class_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Mean AUROC of each mode, as fractions, for MLflow."""
    means = table.set_index("row")["mean"]
    return {f"mean_auroc_{mode}": float(means[title]) / 100 for mode, title in MODES.items()}


def trivial_auc(trivial: pd.DataFrame, labels: pd.DataFrame, normal: str) -> dict[str, float]:
    """Baseline -> AUROC of its own values, higher being more abnormal.

    Args:
        trivial: columns clip, frame, the baselines and ``normal``, of the test images.
        labels: of ``labels_of``.
        normal: the class.
    """
    joined = trivial[trivial["normal"] == normal].merge(labels, on=["clip", "frame"], validate="one_to_one")
    return {name: micro_auc(joined["label"], joined[name]) for name in TRIVIAL}


def _published(dataset: str) -> list[dict[str, Any]]:
    """The paper's rows of the data set: Table I's, ours and cited ones, and Table III's means."""
    results = published_results("alps", dataset)
    results = results[results["metric"] == "auroc"]
    lines = results[results["table"] == "Table I"].pivot_table("value", "row", "condition", sort=False)
    rows = [{"row": f"{name}, as published", **values.dropna().to_dict()} for name, values in lines.iterrows()]
    means = results[results["table"] == "Table III"]
    return rows + [{"row": f"{line.row} (Table III), as published", "mean": line.value} for line in means.itertuples()]


def _mean(values: Sequence[float]) -> float:
    present = [value for value in values if not np.isnan(value)]
    return float(np.mean(present)) if present else float("nan")
