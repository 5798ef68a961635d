import warnings

import lightning
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from vad_pipeline.fitting.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from vad_pipeline.flow.flownet import (
    Config,
    FlowNet,
    FlowNetError,
    FlowNetTraining,
    at_frame_size,
    correlation,
    estimate,
    multi_scale_epe,
    pad_to_multiple,
    stack_pairs,
)
from vad_pipeline.flow.flownet_checkpoint import flownet_checkpoint, load_flownet, load_public_checkpoint

SMALL = 1 / 16


def tiny(variant="s", batch_norm=False, **settings):
    torch.manual_seed(0)
    return FlowNet(Config(variant=variant, width=SMALL, batch_norm=batch_norm, **settings)).eval()


def frames(n=2, height=64, width=64, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), np.uint8)


def public_shapes(variant="s", batch_norm=False, width=1.0):
    """Names and shapes of FlowNetPytorch's state dicts, written down from its layers."""
    c = {n: round(n * width) for n in (32, 64, 128, 256, 512, 1024)}
    first, third = (6, c[256]) if variant == "s" else (3, c[32] + 441)
    convolutions = {
        "conv1": (c[64], first, 7),
        "conv2": (c[128], c[64], 5),
        "conv3": (c[256], c[128], 5),
        "conv3_1": (c[256], third, 3),
        "conv4": (c[512], c[256], 3),
        "conv4_1": (c[512], c[512], 3),
        "conv5": (c[512], c[512], 3),
        "conv5_1": (c[512], c[512], 3),
        "conv6": (c[1024], c[512], 3),
        "conv6_1": (c[1024], c[1024], 3),
    }
    if variant == "c":
        convolutions["conv_redir"] = (c[32], c[256], 1)
    shapes = {}
    for name, (o, i, k) in convolutions.items():
        shapes[f"{name}.0.weight"] = (o, i, k, k)
        if batch_norm:
            shapes |= {f"{name}.1.{part}": (o,) for part in ("weight", "bias", "running_mean", "running_var")}
            shapes[f"{name}.1.num_batches_tracked"] = ()
        else:
            shapes[f"{name}.0.bias"] = (o,)
    inputs = {
        6: c[1024],
        5: c[512] + c[512] + 2,
        4: c[512] + c[256] + 2,
        3: c[256] + c[128] + 2,
        2: c[128] + c[64] + 2,
    }
    outputs = {5: c[512], 4: c[256], 3: c[128], 2: c[64]}
    for level, i in inputs.items():
        shapes[f"predict_flow{level}.weight"] = (2, i, 3, 3)
        if level > 2:
            shapes[f"deconv{level - 1}.0.weight"] = (i, outputs[level - 1], 4, 4)
            shapes[f"upsampled_flow{level}_to_{level - 1}.weight"] = (2, 2, 4, 4)
    return shapes


def public_state(**settings):
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(shape, generator=generator) if shape else torch.tensor(3)
        for name, shape in public_shapes(**settings).items()
    }


# the network


@pytest.mark.parametrize(("variant", "parameters"), [("s", 38_675_536), ("c", 39_174_320)])
def test_width_one_has_the_published_parameters(variant, parameters):
    with torch.device("meta"):
        network = FlowNet(Config(variant=variant))
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("variant", ["s", "c"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_names_and_shapes_are_those_of_the_public_version(variant, batch_norm):
    with torch.device("meta"):
        network = FlowNet(Config(variant=variant, batch_norm=batch_norm))
    mine = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert mine == public_shapes(variant, batch_norm)


@pytest.mark.parametrize("variant", ["s", "c"])
@pytest.mark.parametrize(("height", "width"), [(64, 128), (37, 91), (5, 3), (65, 1)])
def test_frames_of_any_size_give_flows_that_cover_them(variant, height, width):
    network = tiny(variant)
    pairs = torch.randn(2, 6, height, width)
    with torch.no_grad():
        finest, flows = network(pairs), network.train()(pairs)
    assert finest.shape == flows[0].shape
    assert [tuple(flow.shape) for flow in flows] == [
        (2, 2, -(-height // s), -(-width // s)) for s in (4, 8, 16, 32, 64)
    ]


def test_padding_repeats_the_last_row_and_column_and_leaves_multiples_alone():
    images = torch.randn(1, 6, 50, 70)
    padded = pad_to_multiple(images)
    assert padded.shape == (1, 6, 64, 128)
    assert torch.equal(padded[..., :50, :70], images)
    assert torch.equal(padded[..., 50:, 100], images[..., -1:, -1].expand(-1, -1, 14))
    assert pad_to_multiple(padded) is padded


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (6, 64, 64), (1, 6, 0, 64)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(FlowNetError, match=r"\(B, 6, H, W\)"):
        tiny()(torch.zeros(shape))


def test_a_misspelt_or_impossible_setting_is_refused():
    for settings in ({"widht": 1}, {"variant": "d"}, {"width": 0}, {"div_flow": 0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Config(**settings)


def test_flownetc_finds_the_motion_by_comparing_both_frames():
    network = tiny("c")
    first, second = torch.randn(2, 1, 3, 64, 64)
    with torch.no_grad():
        there, back = network(torch.cat([first, second], 1)), network(torch.cat([second, first], 1))
        features = [network.conv3(network.conv2(network.conv1(x))) for x in (first, second)]
        read = []
        network.conv3_1.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        network(torch.cat([first, second], 1))
    assert not torch.allclose(there, back)
    expected = torch.cat([network.conv_redir(features[0]), F.leaky_relu(correlation(*features), 0.1)], 1)
    torch.testing.assert_close(read[0], expected)


def test_correlation_equals_a_slow_loop():
    torch.manual_seed(0)
    first, second = torch.randn(2, 2, 5, 6, 9)
    expected = torch.zeros(2, 441, 6, 9)
    for i in range(21):
        for j in range(21):
            for y in range(6):
                for x in range(9):
                    v, u = y + 2 * (i - 10), x + 2 * (j - 10)
                    if 0 <= v < 6 and 0 <= u < 9:
                        expected[:, 21 * i + j, y, x] = (first[:, :, y, x] * second[:, :, v, u]).sum(1) / 5
    torch.testing.assert_close(correlation(first, second), expected)


def test_correlation_of_a_shifted_map_peaks_at_the_shift():
    torch.manual_seed(0)
    first = torch.randn(1, 64, 12, 16)
    second = first.roll((2, -4), dims=(2, 3))  # what was at (y, x) is at (y + 2, x - 4)
    best = correlation(first, second)[0, :, 3:9, 5:12].argmax(0)
    assert (best == 21 * (10 + 1) + (10 - 2)).all()


def test_correlation_passes_gradients_to_both_maps():
    maps = [torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(correlation, maps, fast_mode=True)


# the loss


def test_loss_equals_the_sum_over_scales_by_hand():
    target = torch.zeros(2, 2, 64, 128)
    target[0, 0] = 3.0  # of the first pair all errors are 5, of the second 0
    target[0, 1] = 4.0
    flows = [torch.zeros(2, 2, 64 // s, 128 // s) for s in (4, 8, 16, 32, 64)]
    expected = sum(w * 5 * n / 2 for w, n in zip((0.005, 0.01, 0.02, 0.08, 0.32), (512, 128, 32, 8, 2), strict=True))
    assert float(multi_scale_epe(flows, target)) == pytest.approx(expected)


def test_targets_are_averaged_over_the_cells_that_the_frame_covers():
    target = torch.arange(6.0).expand(1, 2, 6, 6).contiguous()  # columns 0..5: cells of 4 average 1.5 and 4.5
    flow = torch.tensor([1.5, 4.5]).expand(1, 2, 2, 2)
    assert float(multi_scale_epe([flow], target, weights=[1.0])) == 0
    assert float(multi_scale_epe([flow + 1], target, weights=[1.0])) == pytest.approx(4 * 2**0.5)


def test_flows_in_the_wrong_order_are_refused():
    flows = tiny().train()(torch.zeros(1, 6, 64, 64))
    with pytest.raises(ValueError, match="finest first"):
        multi_scale_epe(flows[::-1], torch.zeros(1, 2, 64, 64))


def test_the_loss_of_an_exact_prediction_has_finite_gradients():
    flow = torch.zeros(1, 2, 16, 16, requires_grad=True)
    multi_scale_epe([flow], torch.zeros(1, 2, 64, 64), weights=[1.0]).backward()
    assert (flow.grad == 0).all()


# estimate


def test_frames_become_rgb_in_unit_range_minus_the_mean():
    earlier = torch.tensor([255, 0, 51], dtype=torch.uint8).expand(1, 4, 4, 3)
    pairs = stack_pairs(earlier, torch.zeros_like(earlier))
    expected = torch.tensor([1 - 0.45, -0.432, 0.2 - 0.411, -0.45, -0.432, -0.411])
    torch.testing.assert_close(pairs[0, :, 2, 3], expected)
    assert pairs.is_contiguous(memory_format=torch.channels_last)


def test_gray_frames_are_replicated():
    network, gray = tiny(), frames(channels=1)
    np.testing.assert_array_equal(
        estimate(network, gray, gray[::-1]), estimate(network, gray.repeat(3, -1), gray[::-1].repeat(3, -1))
    )


def test_a_constant_flow_is_multiplied_by_div_flow_and_by_nothing_else(monkeypatch):
    network = tiny(div_flow=10.0)
    monkeypatch.setattr(
        network, "forward", lambda pairs: torch.tensor([0.5, -0.25]).view(1, 2, 1, 1).expand(3, 2, 10, 13)
    )
    flow = estimate(network, frames(3, 37, 50), frames(3, 37, 50))
    assert flow.shape == (3, 37, 50, 2)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow, np.broadcast_to(np.float32([5.0, -2.5]), flow.shape))


def test_upsampling_keeps_positions(monkeypatch):
    network = tiny()
    centres = torch.arange(16) * 4 + 1.5  # of the cells, in pixels
    ramp = torch.stack([centres.expand(16, 16), centres[:, None].expand(16, 16)])[None] / 20
    monkeypatch.setattr(network, "forward", lambda pairs: ramp)
    flow = estimate(network, frames(1), frames(1))[0]
    inner = slice(2, 62)  # beyond the outermost centres values are repeated
    np.testing.assert_allclose(flow[5, inner, 0], np.arange(64)[inner], atol=1e-4)
    np.testing.assert_allclose(flow[inner, 5, 1], np.arange(64)[inner], atol=1e-4)


@pytest.mark.parametrize("variant", ["s", "c"])
def test_estimate_is_the_forward_pass_in_pixels(variant):
    network, first, second = tiny(variant), frames(2, 62, 81), frames(2, 62, 81, seed=1)
    with torch.no_grad():
        quarter = network(stack_pairs(torch.from_numpy(first), torch.from_numpy(second)))
    expected = 20 * F.interpolate(quarter, size=(64, 84), mode="bilinear")[..., :62, :81].movedim(1, -1).numpy()
    np.testing.assert_allclose(estimate(network, first, second), expected, atol=1e-3)


def test_odd_sizes_give_what_frames_padded_by_hand_give():
    network, first, second = tiny(), frames(1, 70, 33), frames(1, 70, 33, seed=1)
    padded = [np.pad(x, ((0, 0), (0, 58), (0, 31), (0, 0)), mode="edge") for x in (first, second)]
    inner = np.s_[:, :68, :31]  # the last cell is not interpolated with the padding's
    np.testing.assert_allclose(estimate(network, first, second)[inner], estimate(network, *padded)[inner], atol=1e-3)


@pytest.mark.parametrize("variant", ["s", "c"])
def test_bf16_is_close_to_full_precision(variant):
    network, first, second = tiny(variant), frames(), frames(seed=1)
    full, half = (estimate(network, first, second, bf16=bf16) for bf16 in (False, True))
    assert half.dtype == np.float32
    assert not np.array_equal(full, half)
    assert np.abs(full - half).mean() < 0.02 * np.abs(full).mean()


def test_pairs_do_not_see_each_other():
    network, first, second = tiny("c"), frames(3), frames(3, seed=1)
    whole = estimate(network, first, second)
    np.testing.assert_allclose(whole[1:2], estimate(network, first[1:2], second[1:2]), atol=1e-4)


def test_no_pairs_give_no_flow():
    assert estimate(tiny(), frames(0), frames(0)).shape == (0, 64, 64, 2)


def test_magnified_frames_are_enlarged_and_their_flow_averaged_back():
    network, earlier, later = tiny(), frames(2, channels=1), frames(2, channels=1)[::-1]
    found = estimate(network, earlier, later, magnify=2)

    def enlarged(images):
        return torch.nn.functional.interpolate(images, scale_factor=2.0, mode="bicubic", align_corners=False)

    pairs = enlarged(stack_pairs(torch.from_numpy(earlier.copy()), torch.from_numpy(later.copy())))
    with torch.no_grad():
        flow = at_frame_size(network.eval()(pairs), *pairs.shape[2:]) * network.config.div_flow
    blocks = flow.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-2, -1)) / 2
    assert found.shape == (*earlier.shape[:3], 2)
    assert np.allclose(found, blocks.movedim(1, -1).numpy(), atol=1e-5)


def test_estimating_leaves_a_network_trainable_and_in_its_mode():
    network = tiny("s", batch_norm=True).train()
    before = network.conv1[1].running_mean.clone()
    estimate(network, frames(), frames())
    assert network.training
    assert torch.equal(network.conv1[1].running_mean, before)
    network(torch.randn(2, 6, 128, 64))[0].sum().backward()


def test_what_is_not_a_pair_of_frames_is_refused():
    for first, second, complaint in (
        (frames().astype(np.float32), frames(), "uint8"),
        (frames(channels=2), frames(channels=2), "1 or 3"),
        (frames()[0], frames()[0], "uint8 frames"),
        (frames(2), frames(1), "equally many"),
        (frames(1, height=0), frames(1, height=0), "got"),
    ):
        with pytest.raises(FlowNetError, match=complaint):
            estimate(tiny(), first, second)


def test_nan_never_leaves():
    network = tiny()
    network.conv4[0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(FlowNetError, match="NaN or infinite"):
        estimate(network, frames(), frames())


# weights on disk


@pytest.mark.parametrize("variant", ["s", "c"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("layout", ["bare", "nested", "parallel", "legacy"])
def test_public_checkpoints_load_key_for_key(tmp_path, variant, batch_norm, layout):
    path, state = tmp_path / "flownets_EPE1.951.pth", public_state(variant=variant, batch_norm=batch_norm, width=1 / 32)
    if layout == "bare":
        torch.save(state, path)
    elif layout == "parallel":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    else:
        content = {"epoch": 300, "arch": "flownets", "state_dict": state, "best_EPE": 1.951, "div_flow": 5}
        torch.save(content, path, _use_new_zipfile_serialization=layout == "nested")
    network = load_flownet(path)
    div_flow = 5 if layout in ("nested", "legacy") else 20
    assert network.config == Config(variant=variant, width=1 / 32, batch_norm=batch_norm, div_flow=div_flow)
    assert not network.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_batch_norm_of_old_checkpoints_has_no_counters(tmp_path):
    state = public_state(batch_norm=True, width=1 / 32)
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "old.pth.tar")
    network = load_flownet(tmp_path / "old.pth.tar")
    assert torch.equal(network.conv1[1].running_var, state["conv1.1.running_var"])
    assert estimate(network, frames(1), frames(1)).shape == (1, 64, 64, 2)


@pytest.mark.parametrize("variant", ["s", "c"])
def test_weights_for_bgr_see_rgb_frames_as_they_were_trained_to(tmp_path, variant):
    torch.save(tiny(variant).state_dict(), tmp_path / "caffe.pth")
    rgb, bgr = (load_public_checkpoint(tmp_path / "caffe.pth", channels) for channels in ("rgb", "bgr"))
    pairs = torch.randn(1, 6, 64, 64)
    turned = pairs[:, [2, 1, 0, 5, 4, 3]]
    with torch.no_grad():
        torch.testing.assert_close(bgr(pairs), rgb(turned))
        assert not torch.allclose(bgr(pairs), rgb(pairs))


def test_one_error_lists_what_does_not_fit(tmp_path):
    path, state = tmp_path / "cut.pth", public_state(width=1 / 32)
    for level in (2, 3, 4, 5, 6):
        del state[f"predict_flow{level}.weight"]
    state["conv2.0.weight"] = torch.zeros(3, 3)
    state["extra"] = torch.zeros(1)
    torch.save(state, path)
    with pytest.raises(FlowNetError) as error:
        load_flownet(path)
    message = str(error.value)
    assert str(path) in message
    assert "FlowNetS of width 0.03125" in message
    assert "missing: " in message
    assert " and 1 more; unexpected: extra; of another shape: conv2.0.weight (3, 3) instead of (4, 2, 5, 5)" in message


@pytest.mark.parametrize("state", [{"fc.weight": (10, 10)}, {"conv1.weight": (64, 3, 7, 7)}, {"conv6.0.weight": ()}])
def test_another_architecture_is_named_as_such(tmp_path, state):
    torch.save({name: torch.zeros(shape) for name, shape in state.items()}, tmp_path / "resnet18.pt")
    with pytest.raises(FlowNetError, match=r"resnet18.pt is not of FlowNetS.*missing: conv1.0.weight"):
        load_flownet(tmp_path / "resnet18.pt")


@pytest.mark.parametrize("content", [{}, [1, 2], {"state_dict": 3}, {"epoch": 3, "weights": torch.zeros(1)}])
def test_a_pickle_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(FlowNetError, match=r"other.pth holds no state dict"):
        load_flownet(tmp_path / "other.pth")


def test_nothing_in_a_public_checkpoint_is_executed(tmp_path):
    torch.save(tiny(), tmp_path / "whole_module.pth")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    (tmp_path / "empty.pth").touch()
    for name in ("whole_module.pth", "text.pth", "empty.pth"):
        with pytest.raises(FlowNetError, match=f"{name} cannot be read, is damaged, or holds more than weights"):
            load_flownet(tmp_path / name)


def test_a_div_flow_that_is_no_number_is_refused(tmp_path):
    torch.save({"state_dict": public_state(width=1 / 32), "div_flow": "twenty"}, tmp_path / "x.pth")
    with pytest.raises(FlowNetError, match=r"x.pth: div_flow"):
        load_flownet(tmp_path / "x.pth")


@pytest.mark.parametrize("variant", ["s", "c"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_our_own_files_bring_back_network_and_origin(tmp_path, variant, batch_norm):
    path, network = tmp_path / "flownet.safetensors", tiny(variant, batch_norm, div_flow=8.0)
    network.to(memory_format=torch.channels_last)
    about = {"command": "kedro run --pipelines=flownet_training", "epe": 0.2}
    write_checkpoint(flownet_checkpoint(network, about), path)
    read = load_flownet(path)
    assert read.config == network.config
    assert read_checkpoint(path).about == about
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    for name, tensor in network.state_dict().items():
        assert read.state_dict()[name].dtype == tensor.dtype
        torch.testing.assert_close(read.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    flows = [estimate(n, frames(), frames(seed=1)) for n in (network, read)]
    assert np.abs(flows[0] - flows[1]).mean() < 0.01 * np.abs(flows[0]).mean()


def test_half_precision_halves_the_file(tmp_path):
    network = tiny()
    write_checkpoint(flownet_checkpoint(network, {}), tmp_path / "flownet.safetensors")
    parameters = sum(p.numel() for p in network.parameters())
    assert 2 * parameters < (tmp_path / "flownet.safetensors").stat().st_size < 2.2 * parameters


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_weights_that_half_precision_cannot_hold_are_refused(value):
    network = tiny()
    network.conv5[0].bias.data[0] = value
    with pytest.raises(FlowNetError, match=r"conv5.0.bias is NaN, infinite or beyond half precision"):
        flownet_checkpoint(network, {})


def test_unusable_files_of_ours_are_refused_by_name(tmp_path):
    (tmp_path / "damaged.safetensors").write_bytes(b"12345678" * 4)
    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    header = {"model": '"lgn_net"', "config": "{}", "frames": "{}", "about": "{}"}
    save_file({"a": torch.zeros(1)}, tmp_path / "lgn_net.safetensors", header)
    save_file({"a": torch.zeros(1)}, tmp_path / "cut.safetensors", header | {"model": '"flownet"'})
    save_file(
        {"a": torch.zeros(1)}, tmp_path / "new.safetensors", header | {"model": '"flownet"', "config": '{"b": 1}'}
    )
    for name, complaint in {
        "missing.safetensors": "no checkpoint at",
        "missing.pth": "no FlowNet weights at",
        "damaged.safetensors": "is damaged",
        "bare.safetensors": "not a checkpoint of this project",
        "lgn_net.safetensors": "is of 'lgn_net', not of FlowNet",
        "cut.safetensors": "is not of FlowNetS",
        "new.safetensors": "configuration does not fit",
        "flownet.onnx": "end in .safetensors",
    }.items():
        with pytest.raises((FlowNetError, CheckpointError), match=complaint) as error:
            load_flownet(tmp_path / name)
        assert name in str(error.value)


# training


def batch(n=4, channels=1):
    """Frames that move by (3, -2) px: blurred noise rolled."""
    torch.manual_seed(0)
    noise = F.avg_pool2d(torch.rand(n, channels, 72, 72), 5, 1, 2)
    earlier = ((noise - noise.min()) / (noise.max() - noise.min()) * 255).byte().movedim(1, -1)
    later = earlier.roll((-2, 3), dims=(1, 2))
    flow = torch.tensor([3.0, -2.0]).expand(n, 64, 64, 2)
    return {"earlier": earlier[:, 4:68, 4:68], "later": later[:, 4:68, 4:68], "flow": flow}


@pytest.mark.parametrize("variant", ["s", "c"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_few_steps_reduce_the_loss(variant, batch_norm):
    torch.manual_seed(0)
    model = FlowNetTraining(Config(variant=variant, width=SMALL, batch_norm=batch_norm), learning_rate=1e-3, epochs=9)
    model.log_dict = lambda *_, **__: None
    (optimizer,), _ = model.configure_optimizers()
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        losses.append(model.training_step(batch(), 0))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]


def test_decay_is_on_weights_alone_and_no_parameter_is_left_out():
    model = FlowNetTraining(Config(width=SMALL), epochs=2)
    (optimizer,), (schedule,) = model.configure_optimizers()
    weights, biases = optimizer.param_groups
    assert (weights["weight_decay"], biases["weight_decay"]) == (4e-4, 0)
    assert all(p.ndim == 4 for p in weights["params"])
    assert all(p.ndim == 1 for p in biases["params"])
    assert len(weights["params"]) + len(biases["params"]) == len(list(model.parameters()))
    assert weights["lr"] == 1e-4
    for expected in (0.5e-4, 0):
        optimizer.step()
        schedule.step()
        assert weights["lr"] == pytest.approx(expected)


def test_lightning_trains_and_logs_errors_in_pixels():
    model = FlowNetTraining(Config(width=SMALL), learning_rate=1e-3, epochs=2)
    pairs = batch()
    samples = [{name: tensor[i] for name, tensor in pairs.items()} for i in range(4)]
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        precision="bf16-mixed",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(model, DataLoader(samples, batch_size=2), DataLoader(samples, batch_size=4))
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged.keys() == {"train_loss", "train_epe", "val_epe", "val_zero_epe"}
    assert logged["val_zero_epe"] == pytest.approx(13**0.5, rel=1e-5)
    own = estimate(model.network, pairs["earlier"].numpy(), pairs["later"].numpy(), bf16=True)
    error = np.linalg.norm(own - pairs["flow"].numpy(), axis=-1).mean()
    assert logged["val_epe"] == pytest.approx(error, rel=0.01)
