"""Tables of experiments: rows are a model and what is changed in its configuration, run with several seeds.

This is the one way to declare a table. A row becomes a namespace of its pipeline and a run of its own in MLflow; a row
whose training and scores are there already costs nothing. What is changed in scoring alone is not trained again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from lightning.pytorch.callbacks import Callback
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.clips.window import frames_of
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.evaluation.table import baseline_rows, row_of_table
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.flow.dis import DIS
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.flow.tvl1 import TVL1
from vad_pipeline.models.build import build
from vad_pipeline.models.system import ONLY
from vad_pipeline.models.systems import SYSTEMS, model_class
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.training.streams import recipes_of
from vad_pipeline.training.train import Origin, Training, train


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: part of its namespace.
        title: as the table prints it.
        system: of one model, whose parameters the row starts from.
        overrides: of the model's configuration.
        published: the system or variant of ``published_results.csv`` that it is compared with, empty for none.
        condition: of that row, where it has one.
        pseudo: namespace of the pseudo-anomalies that it trains on, empty for none.
        colour: of its frames, empty for the model's own.
    """

    name: str
    title: str
    system: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    published: str = ""
    condition: str = ""
    pseudo: str = ""
    colour: Literal["", "gray", "rgb"] = ""

    def size(self, own: FrameSize) -> FrameSize:
        """Of its frames, given the model's own."""
        return replace(own, colour=self.colour) if self.colour else own


@dataclass(frozen=True)
class Experiment:
    """A table.

    Attributes:
        name: its pipeline's name.
        title: what it asks.
        rows: in the order printed.
    """

    name: str
    title: str
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in self.rows if row.name == name)

    def namespace(self, row: Row) -> str:
        """Namespace of a row's nodes and datasets."""
        return f"{self.name}__{row.name}"


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class Budget:
    """What every row of a table gets.

    Attributes:
        seeds: of weights and sampling; the table shows mean and spread over them.
        training: the same for all rows.
    """

    training: Training
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)


COLOURS: dict[Literal["", "gray", "rgb"], str] = {"gray": "1 channel", "rgb": "3 channels"}
SPATIAL = {"pseudo": "inpainted", "probability": 0.4}
LNTRA: tuple[tuple[str, str, Mapping[str, Any], str], ...] = (
    ("conv3d_ae", "no pseudo-anomalies", {}, ""),
    ("lntra_patch", "LNTRA, patches", {}, ""),
    ("lntra_skip_frame", "LNTRA, skipped frames", {}, ""),
    ("steal_net", "STEAL Net", {}, ""),
    ("conv3d_ae", "spatial pseudo-anomalies", SPATIAL, "pseudo_anomalies"),
)
MSTI = {
    "A": "appearance, memory",
    "B": "appearance, motion, memory",
    "C": "both streams, memory, plain connections",
    "D": "both streams, connections by ASTFM",
    "E": "both streams, memory, connections by ASTFM",
}

VALT_BACKBONES = {
    "resnet50": "ResNet-50",
    "se_resnext50": "SE-ResNeXt-50",
    "wider_resnet38": "WiderResNet-38",
}

# name, title, variant of the configuration, published row; Glo-Net with skips is the network of MNAD's prediction
LGN_VARIANTS = (
    ("loc_net", "Loc-Net (Table II)", "loc_net", "lgn_net/loc_net"),
    ("glo_net", "Glo-Net (Table II)", "glo_net", "lgn_net/glo_net"),
    ("glo_net_skips", "Glo-Net with skips (MNAD's network)", "glo_net_skips", "mnad_pred"),
    ("lgn_st", "LGN-ST (Table II)", "lgn_st", "lgn_net/lgn_st"),
)

# items that differ from the start, addressed sharply, with the pixel loss's gradient: so that more than one is used
TEMPERED: Mapping[str, Any] = {"initial": "normal", "temperature": 0.1, "detach_read": False}

EXPERIMENTS: dict[str, Experiment] = {
    "lgn_net_ablation": Experiment(
        "lgn_net_ablation",
        "What LGN-Net's branches, cells, memory, its update at test time and its gradient contribute",
        (
            *(
                Row(name, title, "lgn_net", {"variant": variant}, published=published)
                for name, title, variant, published in LGN_VARIANTS
            ),
            Row("full", "LGN-Net", "lgn_net", published="lgn_net"),
            Row("no_update", "without update at test time (gamma = 0, Fig. 9)", "lgn_net", {"gamma": 0.0}),
            Row("psnr_only", "PSNR alone (lambda = 1, Fig. 10)", "lgn_net", {"psnr_weight": 1.0}),
            Row("distance_only", "memory distance alone (lambda = 0, Fig. 10)", "lgn_net", {"psnr_weight": 0.0}),
            Row("attached_read", "reading with gradient", "lgn_net", {"detach_read": False}),
            Row("subset_maximum", "update weights divided as Eq. 6 prints", "lgn_net", {"update_max": "subset"}),
            Row("tempered", "LGN-Net, tempered memory (not in the paper)", "lgn_net", TEMPERED),
        ),
    ),
    "msti_net_ablation": Experiment(
        "msti_net_ablation",
        "What MSTI-Net's motion stream, connections, fusion modules and memory contribute (Table II)",
        tuple(
            Row(variant, f"{variant}: {parts}", "msti_net", {"variant": variant}, published=f"msti_net/{variant}")
            for variant, parts in MSTI.items()
        ),
    ),
    "valt_gan_ablation": Experiment(
        "valt_gan_ablation",
        "What mining in boxes of several sizes (Fig. 3, and none) and the backbone (Table IV) do to VALT-GAN",
        (
            Row("no_mining", "no mining (epsilon = 0)", "valt_gan", {"epsilon": 0.0}),
            Row("epsilon_0_008", "epsilon = 0.008 (Fig. 3)", "valt_gan", {"epsilon": 0.008}),
            Row("epsilon_0_08", "epsilon = 0.08 (Fig. 3)", "valt_gan", {"epsilon": 0.08}, published="valt_gan"),
            Row("epsilon_0_8", "epsilon = 0.8 (Fig. 3)", "valt_gan", {"epsilon": 0.8}),
            *(
                Row(name, f"{title} (Table IV)", "valt_gan", {"backbone": name}, published=f"valt_gan/{name}")
                for name, title in VALT_BACKBONES.items()
            ),
        ),
    ),
    "pseudo_anomalies_ablation": Experiment(
        "pseudo_anomalies_ablation",
        "Whether spatial pseudo-anomalies help a spatial autoencoder, and whether it matters what fills the holes",
        (
            Row("normal_only", "normal windows only", "conv3d_ae"),
            Row(
                "telea", "holes filled by Telea", "conv3d_ae", {"pseudo": "inpainted"}, pseudo="pseudo_anomalies_telea"
            ),
            Row(
                "latent_diffusion",
                "holes filled by latent diffusion",
                "conv3d_ae",
                {"pseudo": "inpainted"},
                pseudo="pseudo_anomalies",
            ),
        ),
    ),
    "lntra_table": Experiment(
        "lntra_table",
        "The baselines of spatio-temporal pseudo-anomalies beside its spatial autoencoder, at one and three channels "
        "(its Table 1; Table 2 where the evaluated split is UBnormal's validation)",
        tuple(
            Row(
                f"{'spatial' if pseudo else model}_{colour}",
                f"{title}, {channels}",
                model,
                overrides,
                published="pseudo_anomaly_detector/spatial" if pseudo else model,
                condition="segmentation" if pseudo else "",
                pseudo=pseudo,
                colour=colour,
            )
            for colour, channels in COLOURS.items()
            for model, title, overrides, pseudo in LNTRA
        ),
    ),
    "mask_table": Experiment(
        "mask_table",
        "Random masks or those of objects, for the spatial autoencoder alone (Table 4)",
        (
            Row(
                "random",
                "random masks",
                "conv3d_ae",
                SPATIAL,
                published="pseudo_anomaly_detector/spatial",
                condition="random",
                pseudo="pseudo_anomalies_random",
            ),
            Row(
                "objects",
                "masks of moving objects",
                "conv3d_ae",
                SPATIAL,
                published="pseudo_anomaly_detector/spatial",
                condition="segmentation",
                pseudo="pseudo_anomalies",
            ),
        ),
    ),
}


@dataclass(frozen=True)
class RowResult:
    """What a row found.

    Attributes:
        scores: raw terms per frame, with a column seed.
        metrics: mean and standard deviation (``_std``, over seeds) of each, what trainings found out (``Model.facts``)
            under ``found_<name>`` among them.
        checkpoints: a trained model for each seed.
    """

    scores: pd.DataFrame
    metrics: dict[str, float]
    checkpoints: tuple[Checkpoint, ...]


def with_overrides(config: Any, overrides: Mapping[str, Any]) -> Any:
    """A configuration with some fields changed, checked like one from a file."""
    return TypeAdapter(type(config)).validate_python(asdict(config) | dict(overrides))


def run_row(
    row: Row,
    base: Any,
    size: FrameSize,
    budget: Budget,
    scoring: Scoring,
    streams: Mapping[str, Clips],
    labels: pd.DataFrame,
    folder: Path,
    *,
    callbacks: Callable[[int], Sequence[Callback]] = lambda seed: (),
    stored: Clips | None = None,
    split: str = "test",
    dataset: str = "",
    images: bool = False,
    estimators: tuple[TVL1 | None, FlowNetFlow | None, DIS | None] = (None, None, None),
) -> RowResult:
    """Train, score and evaluate a row with every seed; what is finished is taken as it is.

    Args:
        row: what to change.
        base: the model's configuration.
        size: of its frames.
        budget: seeds and training.
        scoring: how the trained model is run.
        streams: stream -> clips.
        labels: of the test clips.
        folder: working directory of the table; rows that differ in scoring alone share trainings there.
        callbacks: seed -> for Lightning.
        stored: runs of pseudo-anomalous rows, where the row trains on them.
        split: whose clips are scored and evaluated.
        dataset: its name, for the checkpoint.
        images: the data are single images.
        estimators: settings of flow, where the model reads it.

    """
    name = SYSTEMS[row.system].parts[ONLY].model
    model = model_class(name)
    config = with_overrides(base, row.overrides)
    origin = Origin(dataset, recipes_of(model.streams(config), *estimators))
    tables, metrics, checkpoints = [], [], []
    for seed in budget.seeds:
        trained = train(name, config, size, budget.training, seed, streams, folder, callbacks(seed), stored, origin)
        checkpoint = trained.checkpoint
        read = {stream: streams[stream] for stream in model.streams(config)}
        leading = next(iter(read.values()))
        lengths = {clip: frames_of({stream: len(clips[clip]) for stream, clips in read.items()}) for clip in leading}
        network = build(checkpoint)
        scores, _ = score_clips(network, read, scoring, [list(leading.split(split))], folder, maps=False)
        weights = model.fusion(config)
        normaliser, fps = checkpoint.normaliser, {clip: stored.fps for clip, stored in leading.items()}
        measured = evaluate(scores, labels, model.terms, weights, seed, split, lengths, normaliser, images, fps)
        metrics.append(measured | {f"found_{name}": value for name, value in network.facts().items()})
        tables.append(scores.assign(seed=seed))
        checkpoints.append(checkpoint)
    summary = pd.DataFrame(metrics)
    spread = summary.std(ddof=1) if len(summary) > 1 else summary.iloc[0] * np.nan
    flat = {str(name): float(value) for name, value in summary.mean().items()}
    flat |= {f"{name}_std": float(value) for name, value in spread.items()}
    return RowResult(pd.concat(tables, ignore_index=True), flat, tuple(checkpoints))


def table_of(
    experiment: Experiment,
    metrics: Mapping[str, Mapping[str, float]],
    trivial: Mapping[str, Mapping[str, float]],
    dataset: str,
) -> pd.DataFrame:
    """The table: a row each for the experiment's rows and the trivial baselines.

    Args:
        experiment: the declaration.
        metrics: row name -> metrics of ``run_row``.
        trivial: baseline -> metrics.
        dataset: whose published figures stand beside ours.

    Returns:
        Columns row, micro_auc, micro_auc_std, micro_auc_global, macro_auc, micro_auc_common, average_precision, eer,
        gap, micro_auc_smoothed (all per cent) and published (per cent, missing where none was printed).
    """
    rows = [
        row_of_table(row.title, metrics[row.name], dataset, row.published, row.condition) for row in experiment.rows
    ]
    rows += baseline_rows(trivial, dataset)
    return pd.DataFrame(rows).astype({"published": "float64"})
