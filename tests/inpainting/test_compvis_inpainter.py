import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vad_pipeline.inpainting.compvis_inpainter import CompVisUNet, convert_compvis, read_compvis
from vad_pipeline.inpainting.filled_clips import Inpainting, inpainter_of
from vad_pipeline.inpainting.fit_inpainter import not_fitted
from vad_pipeline.inpainting.latent_inpainter import InpainterError, sampling_steps

MULTIPLES = (1, 2, 3, 4)
INPUTS = torch.randn(2, 7, 16, 24, generator=torch.Generator().manual_seed(2)), torch.tensor([981, 21])


# CompVis' networks, written down from the paper's appendix and the published names


class Residual(nn.Module):
    """Of the U-Net; resample is applied to both branches."""

    def __init__(self, i, o, time, resample=None):
        super().__init__()
        self.resample = resample or (lambda x: x)
        self.in_layers = nn.Sequential(nn.GroupNorm(32, i), nn.SiLU(), nn.Conv2d(i, o, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, o))
        self.out_layers = nn.Sequential(nn.GroupNorm(32, o), nn.SiLU(), nn.Dropout(0), nn.Conv2d(o, o, 3, padding=1))
        self.skip_connection = nn.Conv2d(i, o, 1) if i != o else nn.Identity()

    def forward(self, x, time):
        h = self.in_layers[2](self.resample(self.in_layers[:2](x))) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(self.resample(x)) + self.out_layers(h)


class HeadByHead(nn.Module):
    """Attention whose fused rows hold a head's query, key and value, then the next head's."""

    def __init__(self, channels, heads):
        super().__init__()
        self.heads, self.size = heads, channels // heads
        self.norm = nn.GroupNorm(32, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x, time):
        rows, attended = self.qkv(self.norm(x).flatten(2)), []  # (B, 3 C, H W)
        for head in range(self.heads):
            q, k, v = (rows[:, (3 * head + part) * self.size :][:, : self.size] for part in range(3))
            attended.append(v @ (q.mT @ k / math.sqrt(self.size)).softmax(-1).mT)
        return x + self.proj_out(torch.cat(attended, 1)).view_as(x)


class Block(nn.Sequential):
    def forward(self, x, time):
        for layer in self:
            x = layer(x) if isinstance(layer, nn.Conv2d) else layer(x, time)
        return x


class UNet(nn.Module):
    def __init__(self, channels=32, attention=(2, 4, 8), blocks=2, heads=8, latents=3):
        super().__init__()
        self.channels, time = channels, 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, time), nn.SiLU(), nn.Linear(time, time))
        self.input_blocks = nn.ModuleList([Block(nn.Conv2d(2 * latents + 1, channels, 3, padding=1))])
        skips, width, scale = [channels], channels, 1
        for multiple in MULTIPLES:
            for _ in range(blocks):
                layers = [Residual(width, width := multiple * channels, time)]
                layers += [HeadByHead(width, heads)] if scale in attention else []
                self.input_blocks.append(Block(*layers))
                skips.append(width)
            if multiple != MULTIPLES[-1]:
                self.input_blocks.append(Block(Residual(width, width, time, lambda x: F.avg_pool2d(x, 2))))
                skips.append(width)
                scale *= 2
        self.middle_block = Block(Residual(width, width, time), HeadByHead(width, heads), Residual(width, width, time))
        self.output_blocks = nn.ModuleList()
        for multiple in reversed(MULTIPLES):
            for i in range(blocks + 1):
                layers = [Residual(width + skips.pop(), multiple * channels, time)]
                width = multiple * channels
                layers += [HeadByHead(width, heads)] if scale in attention else []
                if multiple != MULTIPLES[0] and i == blocks:
                    layers.append(Residual(width, width, time, lambda x: F.interpolate(x, scale_factor=2)))
                    scale //= 2
                self.output_blocks.append(Block(*layers))
        self.out = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), nn.Conv2d(width, latents, 3, padding=1))

    def forward(self, x, step):
        angles = step[:, None] * 10000 ** -(torch.arange(self.channels // 2) / (self.channels // 2))
        time, skips = self.time_embed(torch.cat([angles.cos(), angles.sin()], 1)), []
        for block in self.input_blocks:
            x = block(x, time)
            skips.append(x)
        x = self.middle_block(x, time)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], 1), time)
        return self.out(x)


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class VQResidual(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.norm1, self.conv1 = norm(i), nn.Conv2d(i, o, 3, padding=1)
        self.norm2, self.conv2 = norm(o), nn.Conv2d(o, o, 3, padding=1)
        if i != o:
            self.nin_shortcut = nn.Conv2d(i, o, 1)

    def forward(self, x):
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class VQAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        q, k, v = (layer(self.norm(x)).flatten(2) for layer in (self.q, self.k, self.v))
        return x + self.proj_out((v @ (q.mT @ k / math.sqrt(x.shape[1])).softmax(-1).mT).view_as(x))


class Half(nn.Module):
    """Encoder or decoder; ``levels``, by CompVis' name of them, are counted from the finest in both."""

    def __init__(self, side, channels, i, o, blocks, attention):
        super().__init__()
        self.side = side
        widths = [channels, *(channels * multiple for multiple in (1, 2, 4))]
        width = widths[0] if side == "down" else widths[-1]
        self.conv_in, levels, order = nn.Conv2d(i, width, 3, padding=1), [nn.Module() for _ in range(3)], range(3)
        for level in order if side == "down" else reversed(order):
            levels[level].block = nn.ModuleList()
            for _ in range(blocks):
                levels[level].block.append(VQResidual(width, width := widths[level + 1]))
            if side == "down" and level < 2:
                levels[level].downsample = nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, stride=2)})
            elif side == "up" and level > 0:
                levels[level].upsample = nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, padding=1)})
        setattr(self, side, nn.ModuleList(levels))
        self.mid = nn.Module()
        self.mid.block_1 = VQResidual(widths[-1], widths[-1])
        self.mid.attn_1 = VQAttention(widths[-1]) if attention else nn.Identity()
        self.mid.block_2 = VQResidual(widths[-1], widths[-1])
        self.norm_out, self.conv_out = norm(width), nn.Conv2d(width, o, 3, padding=1)

    def forward(self, x):
        x, down = self.conv_in(x), self.side == "down"
        x = x if down else self.middle(x)
        for level in self.down if down else reversed(self.up):
            for block in level.block:
                x = block(x)
            if hasattr(level, "downsample"):
                x = level.downsample["conv"](F.pad(x, (0, 1, 0, 1)))
            if hasattr(level, "upsample"):
                x = level.upsample["conv"](F.interpolate(x, scale_factor=2))
        return self.conv_out(F.silu(self.norm_out(self.middle(x) if down else x)))

    def middle(self, x):
        return self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))


class FirstStage(nn.Module):
    def __init__(self, channels=32, codes=64, attention=False, blocks=2, latents=3):
        super().__init__()
        self.encoder = Half("down", channels, 3, latents, blocks, attention)
        self.decoder = Half("up", channels, latents, 3, blocks + 1, attention)
        self.quantize = nn.Module()
        self.quantize.embedding = nn.Embedding(codes, latents)
        self.quant_conv, self.post_quant_conv = (nn.Conv2d(latents, latents, 1) for _ in range(2))

    def encode(self, picture):
        return self.quant_conv(self.encoder(picture))

    def decode(self, latent):
        codes = self.quantize.embedding.weight
        distances = (latent.movedim(1, -1)[..., None, :] - codes).square().sum(-1)  # (B, h, w, codes)
        return self.decoder(self.post_quant_conv(codes[distances.argmin(-1)].movedim(-1, 1)))


def randomise(network, seed):
    """No weight stays zero or one, so that each of them counts."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        around = 1.0 if parameter.ndim == 1 else 0.0
        spread = 0.3 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        parameter.data = around + spread * noise
    return network.eval()


def checkpoint(unet, first_stage, averaged=None):
    state = {f"model.diffusion_model.{name}": tensor for name, tensor in unet.state_dict().items()}
    for part in ("first_stage_model", "cond_stage_model"):
        state |= {f"{part}.{name}": tensor for name, tensor in first_stage.state_dict().items()}
    if averaged:
        named = {f"diffusion_model{name}".replace(".", ""): tensor for name, tensor in averaged.state_dict().items()}
        named |= {"decay": torch.tensor(0.9999), "num_updates": torch.tensor(7)}
        state |= {f"model_ema.{name}": tensor for name, tensor in named.items()}
    state["betas"] = torch.linspace(0.0015**0.5, 0.0205**0.5, 1000, dtype=torch.float64).square().float()
    return state | {"alphas_cumprod": (1 - state["betas"]).cumprod(0)}


@pytest.fixture(scope="module")
def state():
    return checkpoint(randomise(UNet(blocks=1), 0), randomise(FirstStage(blocks=1), 1))


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert theirs.std() > 0.1


# equal outputs


@torch.no_grad()
@pytest.mark.parametrize("settings", [{}, {"attention": (8,)}, {"attention": (1, 4), "blocks": 1, "heads": 4}])
def test_the_unet_predicts_what_compvis_predicts(tmp_path, settings):
    theirs = randomise(UNet(**settings), 0)
    torch.save({"state_dict": checkpoint(theirs, randomise(FirstStage(), 1))}, tmp_path / "last.ckpt")
    _, ours, _ = read_compvis(tmp_path / "last.ckpt", heads=settings.get("heads", 8))
    assert not ours.training
    same(ours(*INPUTS).sample, theirs(*INPUTS))


@torch.no_grad()
@pytest.mark.parametrize("attention", [False, True])
def test_the_first_stage_encodes_and_decodes_as_compvis_does(tmp_path, attention):
    theirs = randomise(FirstStage(attention=attention), 1)
    state = checkpoint(UNet(blocks=1), theirs) | {"first_stage_model.loss.discriminator.main.0.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "bare.pt", _use_new_zipfile_serialization=attention)  # files of old PyTorch, too
    ours, _, _ = read_compvis(tmp_path / "bare.pt")
    pictures = torch.rand(2, 3, 32, 48) * 2 - 1
    latents = theirs.encode(pictures)
    assert latents.shape == (2, 3, 8, 12)
    same(ours.encode(pictures).latents, latents)
    same(ours.decode(latents).sample, theirs.decode(latents))
    assert (ours.config["scaling_factor"], ours.training) == (1.0, False)


@torch.no_grad()
def test_the_average_is_preferred_to_the_weights_as_trained(state):
    theirs = randomise(UNet(blocks=1), 3)
    both = state | checkpoint(randomise(UNet(blocks=1), 0), FirstStage(blocks=1), averaged=theirs)
    without_trained = {name: tensor for name, tensor in both.items() if not name.startswith("model.")}
    as_trained = convert_compvis(state)[1](*INPUTS).sample
    for given in (both, without_trained):
        ours = convert_compvis(given)[1](*INPUTS).sample
        same(ours, theirs(*INPUTS))
        assert (ours - as_trained).abs().max() > 0.1


@torch.no_grad()
def test_heads_change_the_output_and_survive_saving(tmp_path, state):
    eight, two = (convert_compvis(state, heads=heads)[1] for heads in (8, 2))
    expected = eight(*INPUTS).sample
    assert (two(*INPUTS).sample - expected).abs().max() > 1e-2
    eight.save_pretrained(tmp_path)
    again = CompVisUNet.from_pretrained(tmp_path)
    assert torch.equal(again(*INPUTS).sample, expected)


def test_half_precision_becomes_single_and_nothing_is_shared_with_the_file(state):
    half = {name: tensor.half() for name, tensor in state.items()}
    given = {name: tensor.clone() for name, tensor in state.items()}
    assert all(p.dtype == torch.float32 for network in convert_compvis(half)[:2] for p in network.parameters())
    _, unet, _ = convert_compvis(given)
    given["model.diffusion_model.out.2.bias"].zero_()
    assert torch.equal(unet.conv_out.bias, state["model.diffusion_model.out.2.bias"])


@pytest.mark.parametrize(("count", "apart", "number"), [(50, 20, 50), (30, 33, 31), (7, 142, 8)])
def test_the_sampler_takes_the_steps_of_compvis(state, count, apart, number):
    _, _, scheduler = convert_compvis(state)
    steps = [step + 1 for step in range(0, 1000, apart)]
    assert len(steps) == number
    assert sampling_steps(scheduler, count) == steps[::-1]
    alphas = state["alphas_cumprod"]
    before = [alphas[0], *alphas[steps[:-1]]]
    ours = theirs = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 3  # would be clipped
    for step, alpha, previous in reversed(list(zip(steps, alphas[steps], before, strict=True))):
        ours = scheduler.step(ours.tanh(), step, ours).prev_sample
        noise = theirs.tanh()
        clean = (theirs - (1 - alpha).sqrt() * noise) / alpha.sqrt()
        theirs = previous.sqrt() * clean + (1 - previous).sqrt() * noise
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_the_official_size_has_the_official_parameters():
    with torch.device("meta"):
        unet, first_stage = UNet(256), FirstStage(128, codes=8192)
    state = {name: tensor for name, tensor in checkpoint(unet, first_stage).items() if "." in name}
    vqvae, ours, _ = convert_compvis(state)
    assert len(list(unet.parameters())) + 2 == 418  # CompVis logs "Keeping EMAs of 418.", two of them counters
    assert sum(p.numel() for p in ours.parameters()) == 387_245_827  # "DiffusionWrapper has 387.25 M params."
    assert sum(p.numel() for p in vqvae.parameters()) == sum(p.numel() for p in first_stage.parameters())
    assert ours.conv_in.weight.shape == (256, 7, 3, 3)
    assert {layer.heads for name, layer in ours.named_modules() if name.split(".")[-2:-1] == ["attentions"]} == {8}
    assert vqvae.quantize.embedding.weight.shape == (8192, 3)


def test_a_checkpoint_fills_crops_of_the_size_that_compvis_trained_it_on(tmp_path, state):
    torch.save(state, tmp_path / "last.ckpt")
    config = Inpainting(source=str(tmp_path / "last.ckpt"), accelerator="cpu")
    assert inpainter_of(config, not_fitted("")[0]).crop == 256


# what is refused


@pytest.mark.parametrize(
    "key",
    [
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.input_blocks.3.0.in_layers.2.weight",
        "model.diffusion_model.input_blocks.3.1.qkv.weight",
        "model.diffusion_model.output_blocks.1.2.in_layers.0.weight",
        "first_stage_model.encoder.down.1.block.0.conv1.weight",
        "first_stage_model.decoder.up.2.upsample.conv.weight",
        "first_stage_model.quantize.embedding.weight",
    ],
)
def test_a_missing_key_is_named(state, key):
    cut = {name: tensor for name, tensor in state.items() if name != key}
    with pytest.raises(InpainterError, match=rf"weights is not of CompVis' inpainting_big.*\(missing: {key}\); give"):
        convert_compvis(cut, name="weights")


def test_an_average_with_a_hole_is_not_filled_from_the_weights_as_trained():
    both = checkpoint(UNet(blocks=1), FirstStage(blocks=1), averaged=UNet(blocks=1))
    del both["model_ema.diffusion_modeltime_embed0weight"]
    with pytest.raises(InpainterError, match=r"missing: model_ema.diffusion_modeltime_embed0weight\)"):
        convert_compvis(both)


@pytest.mark.parametrize(
    ("key", "shape", "complaint"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", (32, 3, 3, 3), r"\(32, 3, 3, 3\) instead of \(32, 7, 3, 3\)"),
        ("model.diffusion_model.middle_block.1.qkv.weight", (384, 128), r"instead of \(384, 128, 1\)"),
        ("model.diffusion_model.input_blocks.1.0.emb_layers.1.weight", (64, 128), r"instead of \(32, 128\)"),
        ("model.diffusion_model.input_blocks.1.0.in_layers.2.weight", (), r"\(\) instead of 4 dimensions"),
        ("model.diffusion_model.input_blocks.1.0.in_layers.2.weight", (48, 32, 3, 3), "multiples of 32: the widths 48"),
        ("first_stage_model.encoder.conv_in.weight", (32, 1, 3, 3), r"instead of \(32, 3, 3, 3\)"),
    ],
)
def test_a_key_of_another_shape_is_named(state, key, shape, complaint):
    with pytest.raises(InpainterError, match=complaint):
        convert_compvis(state | {key: torch.zeros(shape)})


def test_one_error_lists_all_that_does_not_fit(state):
    wrong = {f"first_stage_model.encoder.down.{i}.attn.0.q.weight": torch.zeros(1) for i in range(5)}
    wrong["model.diffusion_model.out.2.bias"] = torch.zeros(4)
    del (state := state | wrong)["model.diffusion_model.out.0.bias"]
    with pytest.raises(InpainterError) as error:
        convert_compvis(state)
    assert "(missing: model.diffusion_model.out.0.bias; unexpected: first_stage_model" in str(error.value)
    assert "3.attn.0.q.weight and 1 more; of another shape: model.diffusion_model.out.2.bias (4,) " in str(error.value)


def test_another_noise_schedule_scale_or_number_of_heads_is_refused(state):
    for change, heads, complaint in (
        ({"betas": state["betas"] * 0.8}, 8, "betas are not inpainting_big's"),
        ({"betas": state["betas"][:500]}, 8, "betas are not inpainting_big's"),
        ({"scale_factor": torch.tensor(0.18215)}, 8, r"scale_factor is 0.182\d* instead of 1"),
        ({}, 5, "over 64 and 96 and 128 channels, does not divide into 5 heads"),
        ({}, 0, "0 heads"),
    ):
        with pytest.raises(InpainterError, match=complaint):
            convert_compvis(state | change, heads)


class Callback:
    pass


def test_files_that_hold_more_or_less_than_weights_are_refused_by_name(tmp_path, state, monkeypatch):
    torch.save({"state_dict": state, "callbacks": {Callback: 3}}, tmp_path / "last.ckpt")
    torch.save({"epoch": 3}, tmp_path / "epoch.ckpt")
    torch.save({"state_dict": {"fc.weight": torch.zeros(2, 2)}}, tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("<html>not found</html>")
    (tmp_path / "empty.ckpt").touch()
    for name, complaint in {
        "last.ckpt": r"holds more than weights \(UnpicklingError\).*torch.load\('last.ckpt', 'cpu', weights_only=False",
        "epoch.ckpt": "holds no state dict of tensors",
        "other.ckpt": r"not of CompVis' inpainting_big.*missing: first_stage_model.",
        "text.ckpt": "is damaged, is no PyTorch checkpoint",
        "empty.ckpt": "is damaged, is no PyTorch checkpoint",
        "missing.ckpt": "no checkpoint at",
    }.items():
        with pytest.raises(InpainterError, match=complaint) as error:
            read_compvis(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InpainterError) as error:
        read_compvis(tmp_path / "last.ckpt")
    exec(str(error.value).split("`")[1], {"torch": torch})  # the command that the error gives
    _, unet, _ = read_compvis(tmp_path / "plain.pt")
    assert torch.equal(unet.conv_out.bias, state["model.diffusion_model.out.2.bias"])
