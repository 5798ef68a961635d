from collections import OrderedDict
from itertools import pairwise
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vad_pipeline.models.layers.backbones import Backbone, BackboneError, build_backbone, load_backbone_weights
from vad_pipeline.models.layers.imagenet import DEVIATION, MEAN

NAMES = get_args(Backbone)
WIDTH = 1 / 16

# First and last of the published files' keys without the classifier (and bn_out), and how many there are.
PUBLISHED = {
    # NVIDIA's semantic-segmentation, network/wider_resnet.py
    "wider_resnet38": (
        ["mod1.conv1.weight", "mod2.block1.bn1.0.weight", "mod2.block1.bn1.0.bias"],
        [
            "mod7.block1.convs.bn3.0.num_batches_tracked",
            "mod7.block1.convs.conv3.weight",
            "mod7.block1.proj_conv.weight",
        ],
        223,
    ),
    # torchvision/models/resnet.py: 320 keys with fc
    "resnet50": (
        ["conv1.weight", "bn1.weight", "bn1.bias"],
        ["layer4.2.bn3.running_mean", "layer4.2.bn3.running_var", "layer4.2.bn3.num_batches_tracked"],
        318,
    ),
    # timm/models/resnet.py: those and four of each of 16 blocks
    "se_resnext50": (
        ["conv1.weight", "bn1.weight", "bn1.bias"],
        ["layer4.2.se.fc1.bias", "layer4.2.se.fc2.weight", "layer4.2.se.fc2.bias"],
        382,
    ),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("colours", [1, 3])
def test_features_are_an_eighth_as_high_and_wide_and_have_the_stated_channels(name, colours):
    backbone = build_backbone(name, WIDTH, colours).eval()
    features = backbone(torch.zeros(2, colours, 32, 48))
    assert features.shape == (2, backbone.channels, 4, 6)
    assert backbone.channels == (4096 if name == "wider_resnet38" else 2048) * WIDTH


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_published_weights(name):
    keys = list(build_backbone(name, WIDTH, 3).state_dict())
    first, last, number = PUBLISHED[name]
    assert (keys[:3], keys[-3:], len(keys)) == (first, last, number)


@pytest.mark.parametrize(
    ("name", "alone", "generator"),
    [("wider_resnet38", 105.1, 149.6), ("resnet50", 23.5, 51.3), ("se_resnext50", 25.5, 53.3)],
)
def test_parameters_are_those_of_the_published_networks(name, alone, generator):
    with torch.device("meta"):
        backbone = build_backbone(name, 1.0, 3)
        reduction = nn.Conv2d(4 * backbone.channels, 2048, 1, bias=False)
        sides = (2048, 1024, 512, 256)
        decoder = [nn.ConvTranspose2d(a, b, 2, 2, bias=False) for a, b in pairwise(sides)]
        norms = [nn.BatchNorm2d(side) for side in sides[1:]]
        head = nn.Conv2d(256, 3, 1)
    assert millions(backbone) == alone
    assert millions(nn.ModuleList([backbone, reduction, *decoder, *norms, head])) == generator


@pytest.mark.parametrize("name", NAMES)
def test_features_depend_on_a_field_wider_than_a_stride(name):
    """A dilated network sees far, and a change in a corner moves that corner's features."""
    torch.manual_seed(0)
    backbone = build_backbone(name, WIDTH, 3).eval()
    frames = torch.rand(1, 3, 64, 64) * 2 - 1
    changed = frames.clone()
    changed[..., :8, :8] *= -1
    moved = (backbone(frames) - backbone(changed)).abs().amax(1)[0]
    assert moved[0, 0] > 0
    assert (moved > 0).sum() > 9


def test_groups_are_scaled_and_keep_their_channels():
    blocks = [getattr(build_backbone("se_resnext50", 0.25, 3), f"layer{stage}")[0] for stage in (1, 2, 3, 4)]
    assert [block.conv2.groups for block in blocks] == [8] * 4
    assert [block.conv2.weight.shape[1] for block in blocks] == [4, 8, 16, 32]


def test_frames_are_brought_to_the_mean_and_deviation_of_imagenet():
    backbone = build_backbone("resnet50", WIDTH, 3)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    frames = ((mean + deviation) * 2 - 1).expand(1, 3, 8, 8)
    torch.testing.assert_close(backbone.normalise(frames), torch.ones(1, 3, 8, 8))


def test_frames_that_do_not_fit_the_stride_are_refused():
    with pytest.raises(ValueError, match=r"frames of 12x16; .*multiples of 8"):
        build_backbone("resnet50", WIDTH, 3)(torch.zeros(1, 3, 16, 12))


@pytest.mark.parametrize("wrapping", ["bare", "state_dict", "module", "safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back_from_a_file(tmp_path, name, wrapping):
    torch.manual_seed(0)
    written, read = build_backbone(name, WIDTH, 3), build_backbone(name, WIDTH, 3)
    state = with_classifier(name, written)
    if wrapping == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
    else:
        path = tmp_path / "weights.pth"
        if wrapping == "module":
            state = {f"module.{key}": value for key, value in state.items()}
        torch.save({"state_dict": state, "epoch": 3} if wrapping != "bare" else state, path)
    load_backbone_weights(read, path)
    for key, value in written.state_dict().items():
        torch.testing.assert_close(read.state_dict()[key], value, rtol=0, atol=0)


def test_files_without_counters_of_batches_are_read(tmp_path):
    written = build_backbone("resnet50", WIDTH, 3)
    state = {key: value for key, value in written.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    read = build_backbone("resnet50", WIDTH, 3)
    load_backbone_weights(read, tmp_path / "old.pth")
    torch.testing.assert_close(read.conv1.weight, written.conv1.weight)


@pytest.mark.parametrize("name", NAMES)
def test_gray_frames_take_the_sum_over_the_colours(tmp_path, name):
    colour, gray = build_backbone(name, WIDTH, 3), build_backbone(name, WIDTH, 1)
    torch.save(colour.state_dict(), tmp_path / "colour.pth")
    load_backbone_weights(gray, tmp_path / "colour.pth")
    first = next(iter(colour.state_dict()))
    torch.testing.assert_close(gray.state_dict()[first], colour.state_dict()[first].sum(1, keepdim=True))


def test_weights_that_do_not_fit_are_refused_with_file_key_and_remedy(tmp_path):
    backbone = build_backbone("resnet50", WIDTH, 3)
    state = backbone.state_dict()
    path = tmp_path / "weights.pth"

    torch.save({key: value for key, value in state.items() if key != "layer1.0.conv2.weight"}, path)
    with pytest.raises(BackboneError, match=r"weights\.pth .*layer1\.0\.conv2\.weight is missing; give torchvision"):
        load_backbone_weights(backbone, path)

    torch.save(state | {"layer9.weight": torch.zeros(1)}, path)
    with pytest.raises(BackboneError, match=r"layer9\.weight is unexpected; give torchvision's resnet50"):
        load_backbone_weights(backbone, path)

    torch.save(build_backbone("resnet50", 2 * WIDTH, 3).state_dict(), path)
    with pytest.raises(BackboneError, match=r"conv1\.weight is \(8, 3, 7, 7\) instead of \(4, 3, 7, 7\), and \d+ more"):
        load_backbone_weights(backbone, path)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    backbone = build_backbone("resnet50", WIDTH, 3)
    with pytest.raises(BackboneError, match=r"no weights at .*none\.pth; correct the path"):
        load_backbone_weights(backbone, tmp_path / "none.pth")
    (tmp_path / "damaged.pth").write_bytes(b"no weights")
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("damaged.pth", "damaged.safetensors"):
        with pytest.raises(BackboneError, match=f"{name} cannot be read"):
            load_backbone_weights(backbone, tmp_path / name)
    with pytest.raises(BackboneError, match="holds no state dict of tensors"):
        load_backbone_weights(backbone, tmp_path / "list.pth")


def millions(module):
    return round(sum(weight.numel() for weight in module.parameters()) / 1e6, 1)


def with_classifier(name, backbone):
    state = OrderedDict(backbone.state_dict())
    if name == "wider_resnet38":
        state |= {"bn_out.0.weight": torch.ones(2), "classifier.fc.weight": torch.ones(2, 2)}
    else:
        state |= {"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}
    return state
