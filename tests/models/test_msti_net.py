from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from vad_pipeline.evaluation.normality import anomaly_score
from vad_pipeline.flow.representation import represent
from vad_pipeline.models.layers import memory
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.models.msti_net import ASTFM, ChannelAttention, Concatenation, Config, MSTINet, scale_flow
from vad_pipeline.models.scorer import ScoringOptions

VARIANTS = ("A", "B", "C", "D", "E")
WITH_FLOW = VARIANTS[1:]


def clip(n=13, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "frames": rng.integers(0, 256, (n, 32, 48, 1), np.uint8),
        "flow": rng.normal(0, 2, (n - 1, 32, 48, 2)).astype(np.float16),
    }


def tiny(variant="E", **settings):
    torch.manual_seed(0)
    model = MSTINet(Config(**({"width": 0.125, "limit": 4.0, "variant": variant} | settings)), colours=1)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight)  # so that what goes in still shows in what comes out
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def windows(model, arrays, starts=(0, 4)):
    """A batch of training windows, as the data set makes them."""
    rows = model.streams(model.config)
    return {
        name: torch.stack([torch.from_numpy(arrays[name][start + np.arange(len(seen.rows))]) for start in starts])
        for name, seen in rows.items()
    }


def scores(model, arrays, **options):
    arrays = {name: arrays[name] for name in model.streams(model.config)}
    batches = list(model.scorer(ScoringOptions(**options)).clip(arrays))
    return {name: np.concatenate([b.terms[name] for b in batches]) for name in batches[0].terms} | {
        "frames": np.concatenate([b.frames for b in batches]),
        "maps": np.concatenate([b.maps for b in batches]).astype(float),
    }


def pointwise(layer, x):
    """A 1x1 convolution as a matrix product over channels of (C, h, w)."""
    return torch.einsum("oc,chw->ohw", layer.weight[:, :, 0, 0], x) + layer.bias[:, None, None]


def convolved(layer, x):
    """A 3x3 convolution of (C, h, w) with a border of zeros, pixel by pixel."""
    padded, (_, h, w) = F.pad(x, (1, 1, 1, 1)), x.shape
    out = torch.empty(layer.out_channels, h, w)
    for y in range(h):
        for x_ in range(w):
            out[:, y, x_] = (layer.weight * padded[None, :, y : y + 3, x_ : x_ + 3]).sum((1, 2, 3)) + layer.bias
    return out


def attended(layer, x):
    """Eqs. 1 and 2: x + g(x) * sigmoid(g'(mean of g(x)))."""
    extracted = convolved(layer.extract[2], convolved(layer.extract[0], x).clamp_min(0))
    pooled = torch.stack([channel.sum() / channel.numel() for channel in extracted])
    squeezed = (layer.weigh[0].weight[:, :, 0, 0] @ pooled + layer.weigh[0].bias).clamp_min(0)
    weights = layer.weigh[2].weight[:, :, 0, 0] @ squeezed + layer.weigh[2].bias
    return torch.stack([x[c] + extracted[c] / (1 + torch.exp(-weights[c])) for c in range(len(x))])


@torch.no_grad()
def test_channel_attention_is_eq_1():
    torch.manual_seed(0)
    layer, x = ChannelAttention(80), torch.randn(2, 80, 4, 5)
    assert layer.weigh[0].out_channels == 5, "a sixteenth of the channels"
    expected = torch.stack([attended(layer, one) for one in x])
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_fusion_module_weighs_appearance_by_what_both_streams_show_of_a_pixel():
    torch.manual_seed(0)
    layer, appearance, motion = ASTFM(16), torch.randn(2, 16, 4, 5), torch.randn(2, 16, 4, 5)
    expected = []
    for a, m in zip(appearance, motion, strict=True):
        both = torch.cat([a, attended(layer.attention, m)])
        weights = pointwise(layer.weigh[2], pointwise(layer.weigh[0], both).clamp_min(0))
        expected.append(a / (1 + torch.exp(-weights)))
    torch.testing.assert_close(layer(appearance, motion), torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert (layer(appearance, motion).abs() <= appearance.abs()).all(), "a weight is between 0 and 1"
    assert not layer(torch.zeros_like(appearance), motion).any(), "motion alone adds nothing"


@torch.no_grad()
def test_plain_fusion_mixes_both_streams_pixel_by_pixel():
    torch.manual_seed(0)
    layer, appearance, motion = Concatenation(6, 4), torch.randn(6, 4, 5), torch.randn(4, 4, 5)
    expected = pointwise(layer.join, torch.cat([appearance, motion]))
    torch.testing.assert_close(layer(appearance[None], motion[None])[0], expected, rtol=1e-4, atol=1e-5)


def count(variant):
    """Parameters of the published widths, layer by layer."""

    def conv(i, o, kernel=3, norm=False):
        return i * o * kernel * kernel + o + 2 * o * norm

    def block(i, o):
        return conv(i, o, norm=True) + conv(o, o, norm=True)

    levels = (64, 128, 256)
    streams = {"appearance": 12, "motion": 6}
    if variant == "A":
        del streams["motion"]
    total = sum(block(first, 64) + block(64, 128) + block(128, 256) for first in streams.values())
    total += conv(256, 512, norm=True) + conv(512, 512)
    if variant == "B":
        total += conv(512 + 256, 512, 1)
    if variant == "C":
        total += sum(conv(2 * c, c, 1) for c in levels)
    if variant in "DE":
        total += sum(2 * conv(c, c) + conv(c, c // 16, 1) + conv(c // 16, c, 1) for c in levels)
        total += sum(conv(2 * c, c, 1) + conv(c, c, 1) for c in levels)
    total += block(512 if variant == "D" else 1024, 512)
    total += conv(512, 256, norm=True) + block(256, 256) + conv(256, 128, norm=True) + block(128, 128)
    return total + conv(128, 64, norm=True) + 2 * conv(64, 64, norm=True) + conv(64, 3)


@pytest.mark.parametrize(
    ("variant", "millions"), [("A", 14.877), ("B", 16.419), ("C", 16.198), ("D", 15.486), ("E", 17.845)]
)
def test_every_variant_has_as_many_parameters_as_its_layers_say(variant, millions):
    with torch.device("meta"):
        model = MSTINet(Config(variant=variant))
    found = sum(p.numel() for p in model.parameters())
    assert found == count(variant)
    assert found / 1e6 == pytest.approx(millions, abs=5e-4)


def test_variant_a_reads_no_flow_and_changing_it_changes_nothing():
    model = tiny("A")
    assert set(model.streams(model.config)) == {"frames"}
    assert model.network.motion is None
    one, other = clip(), clip() | {"flow": clip(seed=1)["flow"]}
    scorer, again = model.scorer(ScoringOptions()), model.scorer(ScoringOptions())
    for left, right in zip(scorer.clip(one), again.clip(other), strict=True):
        np.testing.assert_array_equal(left.terms["psnr"], right.terms["psnr"])
        np.testing.assert_array_equal(left.maps, right.maps)
    assert "flow" not in windows(model, one)


@pytest.mark.parametrize("variant", WITH_FLOW)
def test_no_variant_sees_the_flow_that_ends_in_the_target_frame(variant):
    """A clip of nine frames scores 4 to 8; the flow from frame 6 to 7 may change what is predicted of frame 8 alone."""
    model, arrays = tiny(variant), clip(9)
    rows = model.streams(model.config)["flow"].rows
    assert (rows.start, rows.stop) == (0, 3), "row 3 ends in frame 4, the target"
    before = scores(model, arrays)
    for row, unseen in ((7, slice(None)), (6, slice(0, 4))):
        changed = arrays["flow"].copy()
        changed[row] += 3
        after = scores(model, arrays | {"flow": changed})
        for name in ("psnr", "memory_distance", "maps"):
            np.testing.assert_array_equal(after[name][unseen], before[name][unseen])
    assert after["psnr"][4] != before["psnr"][4], "the last flow between inputs is seen"


@pytest.mark.parametrize("variant", WITH_FLOW)
@pytest.mark.parametrize("row", [0, 1, 2])
def test_every_flow_between_the_inputs_is_seen(variant, row):
    model, arrays = tiny(variant), clip(5)
    changed = arrays["flow"].copy()
    changed[row] += 3
    assert scores(model, arrays)["psnr"][0] != scores(model, arrays | {"flow": changed})["psnr"][0]


@pytest.mark.parametrize(("flow", "estimator"), [("flownet", "flownet"), ("tvl1", "tvl1"), ("dis", "dis")])
def test_flow_comes_from_the_estimator_that_the_configuration_names(flow, estimator):
    assert MSTINet.streams(Config(flow=flow))["flow"].recipe == {"estimator": estimator}
    assert MSTINet.streams(Config())["flow"].recipe == {"estimator": "flownet"}


def test_flow_is_scaled_as_its_representation_says():
    flow = clip()["flow"]
    scaled = scale_flow(torch.from_numpy(flow), 4.0)
    np.testing.assert_allclose(scaled.movedim(1, -1).numpy(), represent(flow, "uv", 4.0), atol=1e-7)
    assert float(scaled.abs().max()) == 1, "clipped"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_reaches_every_parameter(variant):
    model = tiny(variant).train()
    losses, _ = model._losses(windows(model, clip()))
    losses["loss"].backward()
    unmoved = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias before a batch norm is taken out by it again
    norms = {name for name, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    before_norm = {f"{name.rpartition('.')[0]}.{int(name.rpartition('.')[2]) - 1}.bias" for name in norms}
    assert set(unmoved) <= before_norm


def test_the_pixel_loss_reaches_the_encoder_through_the_memory_s_answer_alone():
    model = tiny(memory_output="replace").train()
    losses, _ = model._losses(windows(model, clip()))
    losses["prediction"].backward()
    assert model.network.appearance[0][0].weight.grad.any()


def test_the_loss_is_the_weighted_sum_of_pixels_entropy_and_dissimilarity():
    model = tiny(intensity=0.5, separateness=0.25, compactness=2.0, tolerance=0.05)
    batch = windows(model, clip())
    with torch.no_grad():
        losses, queries = model._losses(batch)
        frames, flow = scale_frames(batch["frames"]), scale_flow(batch["flow"], 4.0)
        predicted, _ = model(frames[:, :4], flow)
    weights = (queries @ model.items.T).softmax(1)
    entropy = -(weights * weights.log()).sum(1).mean()
    away = (1 - F.cosine_similarity(weights @ model.items, queries) - 0.05).clamp_min(0).mean()
    pixels = (predicted - frames[:, 4]).square().mean()
    torch.testing.assert_close(losses["loss"], 0.5 * pixels + 0.25 * entropy + 2 * away, rtol=1e-5, atol=1e-6)
    assert float(away) > 0
    assert queries.shape == (2 * 4 * 6, 64)


def test_without_a_memory_the_loss_is_the_pixels_alone():
    model = tiny("D")
    with torch.no_grad():
        losses, queries = model._losses(windows(model, clip()))
    assert queries is None
    assert set(losses) == {"loss", "prediction", "psnr"}
    assert float(losses["loss"]) == pytest.approx(0.8 * float(losses["prediction"]))
    assert "items" not in model.state_dict()
    assert not scores(model, clip())["memory_distance"].any()


@pytest.mark.parametrize("update", ["msti", "mnad"])
def test_a_training_step_moves_the_memory_after_the_loss(update):
    model = tiny(update=update).train()
    before, batch = model.items.clone(), windows(model, clip())
    expected, queries = model._losses(batch)
    model = tiny(update=update).train()
    model.log_dict = lambda *_, **__: None
    model._trainer = SimpleNamespace(world_size=1)
    loss = model.training_step(batch, 0)
    torch.testing.assert_close(loss, expected["loss"])
    moved = F.normalize(before + (queries @ before.T).softmax(0).T @ queries, dim=1)
    if update == "mnad":
        moved = memory.updated_items(queries, before)
    torch.testing.assert_close(model.items, moved.detach(), rtol=1e-5, atol=1e-6)
    assert not model.items.requires_grad


def test_the_decoder_reads_the_query_beside_the_answer_or_the_answer_alone():
    arrays = clip(5)
    assert tiny().network.decoder[0].stages[0][0].in_channels == 2 * 64
    model = tiny(memory_output="replace")
    assert model.network.decoder[0].stages[0][0].in_channels == 64
    model.items = memory.initial_items(10, 64).mean(0, keepdim=True).repeat(10, 1)  # one answer to every query
    flat = scores(model, arrays), scores(model, arrays | {"flow": clip(5, seed=1)["flow"]})
    np.testing.assert_allclose(flat[0]["psnr"], flat[1]["psnr"], rtol=1e-6)


def test_tau_weighs_psnr_and_distance_and_the_variant_without_memory_has_psnr_alone():
    assert MSTINet.fusion(Config()) == pytest.approx({"psnr": 0.7, "memory_distance": 0.3})
    assert MSTINet.fusion(Config(psnr_weight=0.25)) == {"psnr": 0.25, "memory_distance": 0.75}
    assert MSTINet.fusion(Config(variant="D", psnr_weight=0.25)) == {"psnr": 1.0}


def test_the_anomaly_score_is_one_minus_eq_10():
    psnr, distance = np.array([20.0, 30, 25, 40]), np.array([0.9, 0.3, 0.5, 0.1])
    table = pd.DataFrame({"clip": "test/0", "frame": range(4), "psnr": psnr, "memory_distance": distance})

    def f(values):
        return (values - values.min()) / (values.max() - values.min())

    regularity = 1 - 0.7 * (1 - f(psnr)) - 0.3 * f(distance)
    anomaly = anomaly_score(table, MSTINet.terms, MSTINet.fusion(Config()), "per_clip")
    np.testing.assert_allclose(anomaly, 1 - regularity)


@torch.no_grad()
def plain_scores(model, arrays):
    """Window by window through the training network."""
    rows = []
    for start in range(len(arrays["frames"]) - 4):
        frames = scale_frames(torch.from_numpy(arrays["frames"][start : start + 5]))[None]
        flow = (
            None
            if model.network.motion is None
            else scale_flow(torch.from_numpy(arrays["flow"][start : start + 3]), 4)[None]
        )
        predicted, queries = model(frames[:, :4], flow)
        error = ((predicted - frames[:, 4]) / 2).square()
        distance = 0.0
        if queries is not None:
            distance = float(torch.cdist(queries, model.items).amin(1).mean())
        rows.append((float(-10 * torch.log10(error.mean())), distance))
    return np.array(rows).T


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("batch", [1, 4])
def test_fast_scoring_equals_the_plain_forward(variant, batch):
    model, arrays = tiny(variant), clip()
    fast, plain = scores(model, arrays, batch=batch), plain_scores(model, arrays)
    assert fast["frames"].tolist() == list(range(4, 13))
    np.testing.assert_allclose(fast["psnr"], plain[0], atol=1e-4)
    np.testing.assert_allclose(fast["memory_distance"], plain[1], atol=1e-4)
    np.testing.assert_allclose(-10 * np.log10(fast["maps"].mean(axis=(1, 2))), fast["psnr"], atol=0.02)


def test_bf16_scores_stay_close():
    model, arrays = tiny(), clip()
    exact, fast = scores(model, arrays), scores(model, arrays, bf16=True)
    np.testing.assert_allclose(fast["psnr"], exact["psnr"], atol=0.1)
    assert fast["psnr"].dtype == np.float64


@pytest.mark.parametrize("variant", ["A", "E"])
def test_the_prediction_for_figures_is_the_scored_one(variant):
    model, arrays = tiny(variant), clip()
    window = {"frames": arrays["frames"][3:8], "flow": arrays["flow"][3:6]}
    predicted = model.scorer(ScoringOptions()).predict(window, 4)
    error = (predicted.astype(float) - window["frames"][4]) / 255
    assert -10 * np.log10(np.square(error).mean()) == pytest.approx(scores(model, arrays)["psnr"][3], abs=0.05)


def test_scoring_leaves_the_model_as_it_is():
    model = tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores(model, clip())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
