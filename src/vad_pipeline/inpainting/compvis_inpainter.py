"""CompVis' latent-diffusion inpainter, ``inpainting_big``, as diffusers modules.

Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, CVPR 2022; layers and names are those of
github.com/CompVis/latent-diffusion with its ``models/ldm/inpainting_big/config.yaml``. What that settles:
- First stage: VQ-f4, its latents used unscaled. ``attn_type: none`` leaves no attention in it, not even in the middle;
  where a file has the middle's (``mid.attn_1``), it is converted.
- U-Net: no ``use_scale_shift_norm``, so the time embedding is added. The file has its weights twice, as trained and
  averaged over training (EMA); CompVis samples with the average.
- ``cond_stage_model`` is the first stage once more, and is not read.

diffusers' UNet2DModel expresses that U-Net, but for the number of heads:
- ``resblock_updown``: levels with attention take ``downsample_type="resnet"``; levels without are
  ``ResnetDownsampleBlock2D`` and ``ResnetUpsampleBlock2D``, because ``DownBlock2D`` ignores that setting.
- Time embedding (cosines first, no shift), norms (32 groups, eps 1e-5; first stage 1e-6) and 1x1 skips are the same.
- Rows of CompVis' fused query-key-value layers lie head by head; they are taken apart into three layers.
- CompVis has 8 heads at every width, UNet2DModel heads of one width. ``CompVisUNet`` sets the number after construction
  and keeps it in the configuration, so that its ``save_pretrained`` and ``from_pretrained`` work. A whole pipeline is
  loaded with ``from_pretrained(folder, unet=CompVisUNet.from_pretrained(folder, subfolder="unet"))``.
"""

import itertools
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from vad_pipeline.inpainting.latent_inpainter import InpainterError, compvis_schedule

UNET, AVERAGED, VQ = "model.diffusion_model.", "model_ema.", "first_stage_model."
COUNTERS = (f"{AVERAGED}decay", f"{AVERAGED}num_updates")
IGNORED = ("cond_stage_model.", f"{VQ}loss.")
GROUPS = 32  # of each group norm
SHOWN = 4  # keys that an error lists of each kind

# parts of names in diffusers and at CompVis
UNET_NAMES = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
    "group_norm": "norm",
    "to_q": "qkv",
    "to_k": "qkv",
    "to_v": "qkv",
    "to_out.0": "proj_out",
}
VQ_NAMES = {
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.attentions.0": "mid.attn_1",
    "mid_block.resnets.1": "mid.block_2",
    "down_blocks": "down",
    "resnets": "block",
    "downsamplers.0": "downsample",
    "upsamplers.0": "upsample",
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


class CompVisUNet(UNet2DModel):
    """A UNet2DModel whose attention layers all have the same number of heads, ``config.num_attention_heads``."""

    def use_heads(self, heads: int) -> Self:
        """Give every attention layer this many heads, which must divide its channels."""
        for layer in self.modules():
            if isinstance(layer, Attention):
                layer.heads = layer.sliceable_head_dim = heads
                layer.scale = (layer.inner_dim // heads) ** -0.5
        self.register_to_config(num_attention_heads=heads)
        return self

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **settings: Any) -> Any:
        others = dict(config)
        heads = others.pop("num_attention_heads")
        made: Any = super().from_config(others, return_unused_kwargs, **settings)
        (made[0] if return_unused_kwargs else made).use_heads(heads)
        return made


def read_compvis(path: Path, heads: int = 8) -> tuple[VQModel, CompVisUNet, DDIMScheduler]:
    """Read ``inpainting_big/last.ckpt``, or a checkpoint of the same layers at other widths and depths.

    Args:
        path: a pickled state dict, bare or under ``state_dict``. Only tensors and plain values are read.
        heads: of each attention layer of the U-Net; no weight shows it.

    Returns:
        The networks in float32 on the CPU, in evaluation mode, and the sampler. Of the official file:
        - VQModel: pictures (B, 3, H, W) in [-1, 1] to latents (B, 3, H/4, W/4) and back; ``decode`` quantises first.
        - CompVisUNet: noisy latent, latent of the masked picture and mask (1 in the hole, -1 elsewhere), together
          (B, 3 + 3 + 1, H/4, W/4), to the noise (B, 3, H/4, W/4). H and W are multiples of 32.
        - DDIMScheduler: 1000 steps with betas linspace(sqrt(0.0015), sqrt(0.0205))^2; its ``step`` has eta 0.

    Raises:
        InpainterError: the file is missing or damaged, holds more than weights, or is of another architecture.
    """
    path = Path(path)
    try:
        # mapped, so that of the official 3 GB only the weights that are used are read
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise InpainterError(f"no checkpoint at {path}; correct the path") from None
    except Exception as error:  # of a damaged file: nearly any
        command = f"torch.save(torch.load('{path.name}', 'cpu', weights_only=False)['state_dict'], 'plain.pt')"
        raise InpainterError(
            f"{path} is damaged, is no PyTorch checkpoint, or holds more than weights ({type(error).__name__}). "
            "CompVis' own file holds objects of PyTorch Lightning, which are not unpickled here because that can run "
            f"any code; if you trust the file, run `{command}` where pytorch_lightning is installed, then give plain.pt"
        ) from error
    state = content["state_dict"] if isinstance(content, Mapping) and "state_dict" in content else content
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InpainterError(f"{path} holds no state dict of tensors, bare or under 'state_dict'; correct the path")
    return convert_compvis(state, heads, str(path))


def convert_compvis(
    state: Mapping[str, Tensor], heads: int = 8, name: str = "the state dict"
) -> tuple[VQModel, CompVisUNet, DDIMScheduler]:
    """The networks and the sampler of a state dict in CompVis' names; see ``read_compvis``.

    Args:
        state: tensors of any float type. They are copied.
        heads: of each attention layer of the U-Net.
        name: of the state dict, for messages.

    Raises:
        InpainterError: keys are missing, unexpected or of other shapes, widths do not divide into heads or groups, or
            the noise schedule or the latents' scale is another.
    """
    scheduler = _scheduler(state, name)
    file = _File(state, any(key.startswith(AVERAGED) and key not in COUNTERS for key in state), name)
    with torch.device("meta"):  # compared before anything is allocated
        vqvae = _empty_vqvae(file)
        unet = _empty_unet(file, vqvae.config["latent_channels"], heads)
    networks = [(vqvae, dict(_vqvae_places(vqvae))), (unet, dict(_unet_places(unet, file)))]
    _compare(file, {place.key: place.shape for _, places in networks for place in places.values()})
    for network, places in networks:
        weights = {
            name: _part(state[places[name].key], places[name].third, heads).reshape(empty.shape)
            for name, empty in network.state_dict().items()
        }
        network.load_state_dict(weights, assign=True)  # assign, because the network is still without memory
    return vqvae.eval(), unet.eval(), scheduler


@dataclass(frozen=True)
class _File:
    """A state dict whose architecture is to be found out."""

    state: Mapping[str, Tensor]
    averaged: bool  # holds the U-Net's average, which is taken then
    name: str

    def unet_key(self, weight: str) -> str:
        """Of a weight of the U-Net; the average's keys have no dots, because buffers cannot."""
        return AVERAGED + f"diffusion_model.{weight}".replace(".", "") if self.averaged else UNET + weight

    # asked for two layers of a module: a single missing key is then reported as that and hides no module

    def has(self, module: str, *layers: str) -> bool:
        return any(f"{VQ}{module}.{layer}.weight" in self.state for layer in layers)

    def unet_has(self, module: str, *layers: str) -> bool:
        return any(self.unet_key(f"{module}.{layer}.weight") in self.state for layer in layers)

    def shape(self, key: str, dimensions: int) -> tuple[int, ...]:
        if key not in self.state:
            raise self.misfit({"missing": [key]})
        shape = tuple(self.state[key].shape)
        if len(shape) != dimensions:
            raise self.misfit({"of another shape": [f"{key} {shape} instead of {dimensions} dimensions"]})
        return shape

    def misfit(self, wrong: Mapping[str, list[str]]) -> InpainterError:
        lists = "; ".join(f"{what}: {_few(keys)}" for what, keys in wrong.items() if keys)
        return InpainterError(
            f"{self.name} is not of CompVis' inpainting_big, of whatever width ({lists}); give its last.ckpt, which "
            "the README of github.com/CompVis/latent-diffusion links to"
        )


@dataclass(frozen=True)
class _Place:
    """Where a weight of a diffusers network is in CompVis' state dict."""

    key: str
    shape: tuple[int, ...]
    third: int | None = None  # of fused rows: 0 query, 1 key, 2 value


def _scheduler(state: Mapping[str, Tensor], name: str) -> DDIMScheduler:
    scheduler = compvis_schedule()
    betas, scale = state.get("betas", scheduler.betas), state.get("scale_factor", torch.tensor(1.0))
    if betas.shape != scheduler.betas.shape or not torch.allclose(betas.float(), scheduler.betas, rtol=1e-3):
        raise InpainterError(
            f"{name}: its betas are not inpainting_big's, 0.0015 to 0.0205 in 1000 steps; correct the path"
        )
    if scale.numel() != 1 or float(scale) != 1:
        raise InpainterError(
            f"{name}: it scales latents, scale_factor is {scale.tolist()} instead of 1; correct the path"
        )
    return scheduler


def _empty_vqvae(file: _File) -> VQModel:
    block = ("norm1", "conv1")
    levels = _count(lambda i: file.has(f"encoder.down.{i}.block.0", *block))
    codes, code_channels = file.shape(f"{VQ}quantize.embedding.weight", 2)
    return VQModel(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=_widths(file, [f"{VQ}encoder.down.{i}.block.0.conv1.weight" for i in range(levels)]),
        layers_per_block=_count(lambda i: file.has(f"encoder.down.0.block.{i}", *block)),
        latent_channels=file.shape(f"{VQ}encoder.conv_out.weight", 4)[0],
        sample_size=256,
        num_vq_embeddings=codes,
        norm_num_groups=GROUPS,
        vq_embed_dim=code_channels,
        scaling_factor=1.0,
        mid_block_add_attention=any(file.has(f"{half}.mid.attn_1", "q", "k") for half in ("encoder", "decoder")),
    )


def _empty_unet(file: _File, latents: int, heads: int) -> CompVisUNet:
    block = ("in_layers.0", "in_layers.2")
    blocks = _count(lambda i: file.unet_has(f"output_blocks.{i}.0", *block))
    # a level ends where a block also upsamples, after the attention if there is any
    ends = [i for i in range(blocks) if any(file.unet_has(f"output_blocks.{i}.{j}", *block, "conv") for j in (1, 2))]
    period = ends[0] + 1 if ends else blocks  # blocks of a level, one more than residual blocks on the way down
    starts = [level * period + 1 for level in range(len(ends) + 1)]
    widths = _widths(file, [file.unet_key(f"input_blocks.{i}.0.in_layers.2.weight") for i in starts])
    attended = [
        any(file.unet_has(f"input_blocks.{i}.1", "norm", "qkv") for i in range(start, start + period - 1))
        for start in starts
    ]
    divided = sorted({width for width, has in zip(widths, attended, strict=True) if has} | {widths[-1]})
    if heads < 1 or any(width % heads for width in divided):
        raise InpainterError(
            f"{file.name}: its attention, over {' and '.join(map(str, divided))} channels, does not divide into "
            f"{heads} heads; give the number that it was trained with"
        )
    return CompVisUNet(
        sample_size=64,
        in_channels=2 * latents + 1,
        out_channels=latents,
        down_block_types=tuple("AttnDownBlock2D" if has else "ResnetDownsampleBlock2D" for has in attended),
        up_block_types=tuple("AttnUpBlock2D" if has else "ResnetUpsampleBlock2D" for has in reversed(attended)),
        block_out_channels=widths,
        layers_per_block=period - 1,
        downsample_type="resnet",
        upsample_type="resnet",
        attention_head_dim=None,  # one head, until the next line
        norm_num_groups=GROUPS,
    ).use_heads(heads)


def _count(there: Callable[[int], bool]) -> int:
    """How many there are, and one if none, so that the first is reported as missing."""
    return max(1, next(i for i in itertools.count() if not there(i)))


def _widths(file: _File, convolutions: list[str]) -> tuple[int, ...]:
    widths = tuple(file.shape(key, 4)[0] for key in convolutions)
    if not all(widths) or any(width % GROUPS for width in widths):
        raise file.misfit({f"not multiples of {GROUPS}": [f"the widths {', '.join(map(str, widths))}"]})
    return widths


def _vqvae_places(vqvae: VQModel) -> Iterator[tuple[str, _Place]]:
    last = len(vqvae.config["block_out_channels"]) - 1
    for name, tensor in vqvae.state_dict().items():
        # CompVis counts levels from the finest in the decoder, too
        key = re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{last - int(found[1])}", _renamed(name, VQ_NAMES))
        convolution = (1, 1) if ".attentions." in name and tensor.ndim == 2 else ()
        yield name, _Place(VQ + key, (*tensor.shape, *convolution))


def _unet_places(unet: CompVisUNet, file: _File) -> Iterator[tuple[str, _Place]]:
    period, up_types = unet.config["layers_per_block"] + 1, unet.config["up_block_types"]

    def block(found: re.Match[str]) -> str:
        side, level, kind, i = found[1], int(found[2]), found[3], int(found[4])
        if side == "down":  # its first block is the first convolution
            i = period if kind == "downsamplers" else i + 1
            return f"input_blocks.{level * period + i}.{int(kind == 'attentions')}"
        if kind == "upsamplers":  # in the level's last block, behind the attention
            return f"output_blocks.{(level + 1) * period - 1}.{2 if up_types[level].startswith('Attn') else 1}"
        return f"output_blocks.{level * period + i}.{int(kind == 'attentions')}"

    for name, tensor in unet.state_dict().items():
        shape, third = tuple(tensor.shape), None
        if ".attentions." in name and len(shape) == 2:
            shape = (*shape, 1)  # a convolution over the sequence of pixels
        if fused := re.search(r"\.to_([qkv])\.", name):
            shape, third = (3 * shape[0], *shape[1:]), "qkv".index(fused[1])
        key = _renamed(re.sub(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)", block, name), UNET_NAMES)
        yield name, _Place(file.unet_key(key), shape, third)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        name = name.replace(ours, theirs)
    return name


def _compare(file: _File, expected: Mapping[str, tuple[int, ...]]) -> None:
    as_trained = (UNET,) if file.averaged else ()
    wrong = {
        "missing": [key for key in expected if key not in file.state],
        "unexpected": [
            key
            for key in file.state
            # without a dot: the buffers of the noise schedule
            if "." in key and key not in expected and key not in COUNTERS and not key.startswith(IGNORED + as_trained)
        ],
        "of another shape": [
            f"{key} {tuple(file.state[key].shape)} instead of {shape}"
            for key, shape in expected.items()
            if key in file.state and file.state[key].shape != shape
        ],
    }
    if any(wrong.values()):
        raise file.misfit(wrong)


def _part(tensor: Tensor, third: int | None, heads: int) -> Tensor:
    """A copy in float32, of fused rows only the query's, key's or value's."""
    if third is not None:
        # QKVAttentionLegacy: (heads, 3, channels of a head)
        tensor = tensor.unflatten(0, (heads, 3, -1))[:, third].flatten(0, 1)
    return tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def _few(keys: Iterable[str]) -> str:
    keys = list(keys)
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
