"""Images of classes and ALPS, from raw data to metrics and report."""

from graphlib import TopologicalSorter

import pandas as pd
import pytest

from tests.pipelines.conftest import TINY_SCENES
from vad_pipeline.experiments.image_anomalies import CLASSES, ROWS
from vad_pipeline.pipelines.image_anomalies import create_pipeline, nodes
from vad_pipeline.report.reconstructions import examples_of
from vad_pipeline.sources.extraction import FrameExtraction

TINY_IMAGES = {
    "image_anomalies": {
        "model": {"width": 0.125, "latent": 8},
        "budget": {"training": {"epochs": 1, "batch_size": 32}},
    }
}
TINY_ALPS = TINY_SCENES | {"alps": {"model": {"width": 0.125, "latent": 8, "patch": 16}, "training": {"epochs": 1}}}
TINY_ALPS["alps"]["frames"] = {"height": 48, "width": 64}


@pytest.mark.slow
def test_a_class_of_the_bundled_digits_with_each_mode(shared_project):
    wanted = [f"image_anomalies__{mode}_3.metrics" for mode in ("noise", "vanilla")]
    shared_project.run("image_anomalies", params=TINY_IMAGES, to_outputs=wanted)
    metrics = {
        mode: shared_project.load(f"image_anomalies__{mode}_3.metrics", params=TINY_IMAGES)
        for mode in ("alps", "noise", "vanilla")
    }
    assert all(found["frames_scored"] == 539 for found in metrics.values())
    assert metrics["alps"]["frames_abnormal"] == 484
    scores = shared_project.load("image_anomalies__noise_3.scores", params=TINY_IMAGES)
    assert (scores["clean_error"] != scores["perturbed_error"]).any(), "ALPS' perturbation came as noise"
    images = shared_project.load("image_anomalies.frames", params=TINY_IMAGES)
    shown = shared_project.load("image_anomalies__alps_3.examples", params=TINY_IMAGES)
    assert shown["label"].tolist() == [0] * 8 + [1] * 8
    first = examples_of(shown)[0]
    assert (first.seen == images[first.clip].array()[first.number]).all()

    of_class = shared_project.load("image_anomalies__alps_3.scores", params=TINY_IMAGES)
    trivial = nodes.score_trivial_baselines(images)
    named = [metrics[row.mode] for row in ROWS]  # as if all classes were like the third
    table, means = nodes.tabulate_classes("digits", "clean", images, trivial, *named)
    assert means["mean_auroc_alps"] == pytest.approx(metrics["alps"]["micro_auc"])
    with shared_project.session(params=TINY_IMAGES) as session:
        budget = session.load_context().params["image_anomalies"]["budget"]
    found = [of_class] * len(CLASSES) + [shown] * len(CLASSES)
    pairs, spread, html = nodes.report_classes(
        table, "scenes", FrameExtraction("digits"), budget_of(budget), images, *found
    )
    assert len(pairs.axes) > len(CLASSES)
    assert len(spread.axes) == len(CLASSES)
    assert "ALPS, clean error" in html
    assert "digits, in the data of scenes" in html
    assert html.split('class="headline"')[1].split("</td>")[0].endswith("ALPS"), (
        "the method stands out, not its baseline"
    )


def budget_of(section):
    from pydantic import TypeAdapter

    from vad_pipeline.experiments.experiments import Budget

    return section if isinstance(section, Budget) else TypeAdapter(Budget).validate_python(section)


@pytest.mark.slow
def test_alps_on_patches_of_the_scenes(shared_project):
    shared_project.run("alps", params=TINY_ALPS)
    scores = shared_project.load("alps.scores", params=TINY_ALPS)
    tested = scores[scores["clip"].str.startswith("test/")]
    assert tested.groupby("clip")["frame"].agg(["min", "max"]).to_numpy().tolist() == [[1, 23], [1, 23]]
    metrics = shared_project.load("alps.metrics", params=TINY_ALPS)
    assert {"micro_auc", "eer", "micro_auc_term_clean_error", "micro_auc_term_mean_error"} <= set(metrics)
    assert isinstance(shared_project.load("alps.table", params=TINY_ALPS), pd.DataFrame)
    report = next(shared_project.data_root.glob("08_reporting/scenes/alps/report.html/*/report.html")).read_text()
    assert "normal and abnormal frames" in report
    assert "motion threshold" in report


def test_the_layers_of_kedro_viz_have_an_order(project):
    """kedro-viz shows none at all where one layer feeds another that feeds it."""
    pipeline = create_pipeline()
    with project.session() as session:
        catalog = session.load_context().catalog
        layers = {
            name: (getattr(catalog.get(name), "metadata", None) or {}).get("kedro-viz", {}).get("layer")
            for name in pipeline.datasets()
            if not name.startswith("params:")
        }
    assert layers["image_anomalies.report"] == "reporting"
    order = TopologicalSorter()
    for node in pipeline.nodes:
        for read in filter(layers.get, node.inputs):
            for made in filter(layers.get, node.outputs):
                if layers[read] != layers[made]:
                    order.add(layers[made], layers[read])
    assert list(order.static_order())[-1] == "reporting"
