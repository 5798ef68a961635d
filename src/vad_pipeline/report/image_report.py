"""What a detector of single images found, each class in turn being normal: tables, reconstructions, distributions."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.experiments.experiments import Budget
from vad_pipeline.experiments.image_anomalies import MODES
from vad_pipeline.report.figures import distributions_figure
from vad_pipeline.report.html import render_report
from vad_pipeline.report.reconstructions import Example, reconstructions_figure

CAPTION = (
    "AUROC in per cent on all test images, each class in turn being the normal one. The score is the error of an "
    "image reconstructed from its perturbed latent vector (s2) after the last epoch. std: over seeds, averaged over "
    "classes. Rows that say oracle choose by labels; they only show what that would report."
)


def draw_image_report(
    dataset: str,
    source: str,
    table: pd.DataFrame,
    budget: Budget,
    labelled: Mapping[str, pd.DataFrame],
    examples: Mapping[str, Sequence[Example]],
) -> tuple[Figure, Figure, str]:
    """Figures of reconstructions and of distributions, and the HTML report.

    Args:
        dataset: its name.
        source: what the images were read from.
        table: of ``experiments.image_anomalies.image_table``, per cent.
        budget: of every row.
        labelled: normal class -> columns perturbed_error, label of the first seed.
        examples: normal class -> images and their reconstructions.
    """
    pairs = reconstructions_figure(examples)
    spread = distributions_figure({f"{c} normal": part for c, part in labelled.items()}, "perturbed_error", columns=5)
    training = budget.training
    html = render_report(
        title="image_anomalies",
        facts={
            "images": f"{source}, in the data of {dataset}",
            "epochs": str(training.epochs),
            "batch and learning rate": f"{training.batch_size}, {training.learning_rate}",
            "seeds": ", ".join(map(str, budget.seeds)),
            "test images": str(len(next(iter(labelled.values())))),
        },
        caption=CAPTION,
        table=table.set_index("row") / 100,
        headline=MODES["alps"],
        figures={
            "Reconstructions": (
                "Every line has another normal class: images above, what ALPS makes of them from their perturbed "
                "latent vectors below. Abnormal images should come out as something of the normal class.",
                pairs,
            ),
            "Anomaly scores": ("Error of the reconstruction, normal and abnormal test images.", spread),
        },
    )
    return pairs, spread, html
