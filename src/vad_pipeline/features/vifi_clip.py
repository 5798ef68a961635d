"""ViFi-CLIP's image encoder (Rasheed et al. 2023) from its checkpoint, as transformers' CLIP vision model.

The checkpoint is a state dict in OpenAI CLIP's layout, under ``model``, with the image encoder's keys behind
``image_encoder.`` and perhaps ``module.`` before that. Attention's query, key and value are one matrix there and three
in transformers; everything else is renamed. Only tensors and plain values are read, nothing in the file is executed.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

HEAD = 64  # channels of an attention head in all of CLIP's transformers
RENAMED = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "ln_post.weight": "vision_model.post_layernorm.weight",
    "ln_post.bias": "vision_model.post_layernorm.bias",
}
IN_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)")
PACKED = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")


def vision_model_of(path: Path, transformers: Any) -> nn.Module:
    """transformers' ``CLIPVisionModelWithProjection`` with the weights of a checkpoint; its size is read off them.

    Raises:
        ValueError: the file is damaged or not of such an encoder; keys that are missing are listed.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} cannot be read as a ViFi-CLIP checkpoint of tensors and plain values ({reason}); if its training "
            "stored other objects beside them, save it anew where it was trained, with its entry `model` alone: "
            "torch.save({'model': checkpoint['model']}, FILE); if it is damaged, download it again"
        ) from error
    state = vision_state(content.get("model", content) if isinstance(content, Mapping) else {})
    needed = ("conv1.weight", "positional_embedding", "proj")
    missing = [key for key in needed if key not in state]
    if missing:
        raise ValueError(
            f"{path} is no ViFi-CLIP checkpoint: image_encoder.{missing[0]} is missing; give the ViT-B/16 one of its "
            "authors"
        )
    width, _, patch, _ = state["conv1.weight"].shape
    layers = 1 + max((int(match[1]) for key in state if (match := PACKED.fullmatch(key))), default=-1)
    config = transformers.CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // HEAD),
        image_size=patch * round((len(state["positional_embedding"]) - 1) ** 0.5),
        patch_size=patch,
        projection_dim=state["proj"].shape[1],
        hidden_act="quick_gelu",
    )
    network = transformers.CLIPVisionModelWithProjection(config)
    result = network.load_state_dict(renamed(state), strict=False)
    lost = [key for key in result.missing_keys if not key.endswith("position_ids")]
    if lost or result.unexpected_keys:
        raise ValueError(
            f"{path} is no ViFi-CLIP checkpoint: missing {', '.join(lost[:4]) or 'nothing'}, "
            f"unknown {', '.join(result.unexpected_keys[:4]) or 'nothing'}"
        )
    return network


def vision_state(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The image encoder's weights, float32, by OpenAI's names."""
    found = {}
    for key, value in state.items():
        name = key.removeprefix("module.")
        if name.startswith("image_encoder.") and isinstance(value, Tensor):
            found[name.removeprefix("image_encoder.")] = value.float()
    return found


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names and layout to transformers'.

    >>> sorted(renamed({"proj": torch.zeros(8, 4), "ln_pre.bias": torch.zeros(8)}))
    ['vision_model.pre_layrnorm.bias', 'visual_projection.weight']
    """
    result = {}
    for key, value in state.items():
        if key == "proj":
            result["visual_projection.weight"] = value.T.contiguous()
        elif match := PACKED.fullmatch(key):
            for name, part in zip("qkv", value.chunk(3), strict=True):
                result[f"vision_model.encoder.layers.{match[1]}.self_attn.{name}_proj.{match[2]}"] = part.contiguous()
        elif (match := BLOCK.fullmatch(key)) and match[2] in IN_BLOCK:
            result[f"vision_model.encoder.layers.{match[1]}.{IN_BLOCK[match[2]]}.{match[3]}"] = value
        else:
            result[RENAMED.get(key, key)] = value
    return result
