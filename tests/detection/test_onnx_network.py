"""Networks as ONNX: what onnxruntime computes is what torch does."""

import numpy as np
import pytest
import torch
from onnx import load

from tests.detection.untrained import leave, untrained
from tests.test_every_model import SIZE
from vad_pipeline.detection.hand_over import hand_over
from vad_pipeline.detection.onnx_network import (
    ExportError,
    check_exportable,
    export_network,
    run_network,
    signature_of,
)
from vad_pipeline.detection.reading import Reading
from vad_pipeline.models.build import build


def test_onnxruntime_computes_what_torch_does(tmp_path):
    model = build(untrained("conv3d_ae"))
    signature = export_network(model, SIZE, tmp_path / "network.onnx")
    inputs = {name: given.shape for name, given in signature.inputs.items()}
    assert inputs == {"frames": (1, 16, 1, 16, 32)}
    rng = np.random.default_rng(1)
    given = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in inputs.items()}
    found = run_network(tmp_path / "network.onnx", given)
    with torch.inference_mode():
        expected = model(*(torch.from_numpy(values) for values in given.values()))
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert list(found) == list(signature.outputs)
    for values, torchs in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(values, torchs.numpy(), atol=1e-3)
    assert np.ptp(found[signature.outputs[0]]) > 0.01, "it depends on what it is given"


def test_a_network_that_reads_two_streams_names_both():
    signature = signature_of(build(untrained("msti_net")), SIZE)
    shapes = {name: given.shape for name, given in signature.inputs.items()}
    assert shapes == {"frames": (1, 4, 1, 16, 32), "flow": (1, 3, 2, 16, 32)}
    assert "divided by 4 and clipped" in signature.inputs["flow"].prepared


def test_a_folder_holds_the_network_and_says_what_it_takes(tmp_path):
    hand_over(leave(tmp_path / "models", "mnad_pred"), tmp_path / "entrance", Reading(), onnx=True)
    network = load(tmp_path / "entrance" / "onnx" / "mnad_pred.onnx").graph
    assert [given.name for given in network.input] == ["frames"]
    assert [given.name for given in network.output] == ["expected", "queries"]
    readme = (tmp_path / "entrance" / "README.md").read_text()
    assert "- `frames`: float32 1x4x1x16x32, a window of frames of 32x16 gray" in readme


@pytest.mark.parametrize("system", ["scene_exemplars", "alps"])
def test_a_system_without_such_a_network_is_refused_with_those_that_have_one(system):
    with pytest.raises(
        ExportError, match=rf"{system}: it has no network .*conv3d_ae, frame_pred, .*mnad_pred.* have one"
    ):
        check_exportable(system)
