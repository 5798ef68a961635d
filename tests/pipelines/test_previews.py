"""What kedro-viz shows: a preview of every dataset that has one, and the layers of every pipeline in Kedro's order."""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.framework.project import pipelines
from kedro_viz.services.layers import sort_layers
from matplotlib.figure import Figure

from tests.conftest import rows_of
from tests.pipelines.conftest import Project
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.io.checkpoint_dataset import CheckpointDataset
from vad_pipeline.io.clip_store import ClipStoreDataset
from vad_pipeline.report.contact_sheet import contact_sheet

LAYERS = ["raw", "intermediate", "primary", "feature", "model_input", "models", "model_output", "reporting"]
UNRELATED = ("lgn_net_sweeps",)  # it reads three layers that do not depend on each other: kedro-viz goes by their names

RANDOM = np.random.default_rng(0)
ARRAYS = {  # of each clip store, what docs/data_contracts.md says, by the last part of its name
    "frames": RANDOM.integers(0, 256, (5, 12, 16, 1), np.uint8),
    "images": RANDOM.integers(0, 256, (5, 8, 8, 1), np.uint8),
    "pseudo_frames": RANDOM.integers(0, 256, (5, 12, 16, 3), np.uint8),
    "spatial": RANDOM.integers(0, 256, (5, 12, 16, 3), np.uint8),
    "masks": RANDOM.random((5, 12, 16)) < 0.5,
    "objects": RANDOM.random((5, 12, 16)) < 0.5,
    "holes": RANDOM.random((5, 12, 16)) < 0.5,
    "flow": RANDOM.normal(size=(4, 12, 16, 2)).astype(np.float16),
    "temporal": RANDOM.normal(size=(4, 12, 16, 2)).astype(np.float16),
    "flow_tvl1": RANDOM.normal(size=(4, 12, 16, 2)).astype(np.float16),
    "flow_flownet": RANDOM.normal(size=(4, 12, 16, 2)).astype(np.float16),
    "flow_dis": RANDOM.normal(size=(4, 12, 16, 2)).astype(np.float16),
    "maps": RANDOM.random((4, 3, 4)).astype(np.float16),
    "features": RANDOM.normal(size=(5, 40)).astype(np.float16),
    "pseudo_features": RANDOM.normal(size=(5, 40)).astype(np.float16),
}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("previews") / "data")
    pipelines.set_requested(None)
    with project.session() as session:
        yield session.load_context().catalog


def names_of(pipeline):
    return sorted(name for name in pipeline.datasets() if not name.startswith("params:") and name != "parameters")


def sample(name, dataset):
    """Something to save in a dataset."""
    last = name.rpartition(".")[2]
    if isinstance(dataset, ClipStoreDataset):
        array = ARRAYS[last]
        return {f"train/0{n}": ClipJob(f"{last}{n}", partial(rows_of, array), fps=10.0) for n in range(2)}
    if isinstance(dataset, CheckpointDataset):
        about = {"data": "", "seconds": float("nan")}
        return Checkpoint(model="lgn_net", config={}, frames={}, about=about, state={"a": torch.ones(1)})
    return {
        "ParquetDataset": pd.DataFrame({"clip": ["test/1"] * 2, "value": [0.5, float("nan")]}),
        "JSONDataset": {"dataset": "scenes"},
        "MetricsDataset": {"micro_auc": float("nan")},
        "MatplotlibDataset": Figure(figsize=(1, 1)),
        "TextDataset": "<p>",
    }[type(dataset).__name__]


def test_every_dataset_with_a_preview_has_one(catalog):
    names = {name for pipeline in pipelines.values() for name in names_of(pipeline)}
    shown, seen = 0, set()
    for name in sorted(names):
        dataset = catalog.get(name)
        kind = type(dataset).__name__, name.rpartition(".")[2]
        if kind in seen or not hasattr(dataset, "preview") or kind[0] == "EvaluatedSystemsDataset":
            continue  # of every kind one: it decides what is saved, and how it is shown
        seen.add(kind)
        dataset.save(sample(name, dataset))
        viz = (dataset.metadata or {}).get("kedro-viz", {})
        preview = dataset.preview(**viz.get("preview_args", {}))
        assert preview, name
        if kind[0] in ("CheckpointDataset", "MetricsDataset"):
            json.loads(preview, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
        shown += 1
    assert shown > 25
    assert {last for store, last in seen if store == "ClipStoreDataset"} == set(ARRAYS)


@pytest.mark.parametrize("of", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("shape", [(3, 2, 2), (3, 1)])
def test_maps_and_features_without_any_range_are_shown(shape, of):
    assert contact_sheet({"test/odd": np.full(shape, of, np.float16)}).ndim == 3


def test_an_error_map_is_bright_where_the_error_is():
    maps = np.zeros((6, 4, 8), np.float16)
    maps[:, :, :4] = 0.25
    tile = contact_sheet({"test/1": maps}, columns=6, tile_width=160)[18:, 40:160]
    assert tile[:60, :30].mean() > tile[:60, 50:].mean() + 100


def test_a_store_of_no_clips_is_shown(catalog):
    dataset = catalog.get("steal_net.maps")
    dataset.save({})
    assert dataset.preview(clips=6, frames=6)


def layers_of(pipeline, catalog):
    """As kedro-viz sorts them."""
    nodes, children = {}, {}
    for node in pipeline.nodes:
        nodes[node.name], children[node.name] = SimpleNamespace(layer=None), set(node.outputs)
    for name in pipeline.datasets():
        metadata = {} if name.startswith("params:") else getattr(catalog.get(name), "metadata", None) or {}
        nodes[name] = SimpleNamespace(layer=metadata.get("kedro-viz", {}).get("layer"))
        children[name] = {node.name for node in pipeline.nodes if name in node.inputs}
    return sort_layers(nodes, children)


def test_the_layers_of_every_pipeline_come_in_kedro_s_order(catalog):
    for name, pipeline in pipelines.items():
        layers = layers_of(pipeline, catalog)
        assert layers, f"{name}: kedro-viz shows no layers where they depend on each other in a circle"
        if name not in UNRELATED:
            assert layers == [layer for layer in LAYERS if layer in layers], name
