"""The key map of ViFi-CLIP's checkpoints, against OpenAI's image encoder written out in plain torch."""

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")

from vad_pipeline.features.vifi_clip import vision_model_of  # noqa: E402

WIDTH, PATCH, SIDE, LAYERS, OUT = 128, 8, 32, 2, 24


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, WIDTH // 64)
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(WIDTH, 4 * WIDTH))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        seen = self.ln_1(x)
        x = x + self.attn(seen, seen, seen, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ImageEncoder(nn.Module):
    """OpenAI's VisionTransformer, with its names."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.proj = nn.Parameter(torch.randn(WIDTH, OUT))

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        x = self.transformer.resblocks(self.ln_pre(x).transpose(0, 1)).transpose(0, 1)
        return self.ln_post(x[:, 0]) @ self.proj


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    encoder = ImageEncoder().eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.2)
    return encoder


@pytest.mark.parametrize("prefix", ["module.image_encoder.", "image_encoder."])
@pytest.mark.parametrize("nested", [True, False])
def test_a_checkpoint_in_openai_s_layout_gives_the_same_vectors(tmp_path, encoder, prefix, nested):
    state = {prefix + name: value for name, value in encoder.state_dict().items()}
    state["module.logit_scale"] = torch.tensor(1.0)
    torch.save({"model": state, "epoch": 3} if nested else state, tmp_path / "vifi.pth")
    network = vision_model_of(tmp_path / "vifi.pth", transformers).eval()
    pictures = torch.randn(3, 3, SIDE, SIDE)
    with torch.no_grad():
        expected, found = encoder(pictures), network(pixel_values=pictures).image_embeds
    assert found.shape == (3, OUT)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_checkpoint_of_something_else_says_what_is_missing(tmp_path, encoder):
    torch.save({"model": {"backbone.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth is no ViFi-CLIP checkpoint: image_encoder.conv1.weight"):
        vision_model_of(tmp_path / "other.pth", transformers)
    state = {f"image_encoder.{name}": value for name, value in encoder.state_dict().items()}
    del state["image_encoder.ln_post.weight"]
    torch.save(state, tmp_path / "partial.pth")
    with pytest.raises(ValueError, match=r"missing vision_model.post_layernorm.weight"):
        vision_model_of(tmp_path / "partial.pth", transformers)


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="cannot be read as a ViFi-CLIP checkpoint"):
        vision_model_of(tmp_path / "evil.pth", transformers)
    assert not (tmp_path / "made").exists()
