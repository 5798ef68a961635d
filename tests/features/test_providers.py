import numpy as np
import pytest
import torch

from vad_pipeline.features.providers import FeatureError, FrameFeatures, Loaded, describe, load
from vad_pipeline.features.stored_features import feature_jobs, feature_rows

CPU = torch.device("cpu")


def frames(n, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 40, 60, channels), dtype=np.uint8)


def test_efficientnet_lite0_comes_with_its_weights_and_tells_frames_apart():
    loaded = load(FrameFeatures(), CPU)
    flat = np.full((1, 40, 60, 3), 90, np.uint8)
    found = describe(np.concatenate([frames(2), flat]), loaded, CPU)
    assert found.shape == (3, FrameFeatures().dimension) == (3, 1280)
    assert found.dtype == np.float16
    assert (found >= 0).all()  # after a ReLU6
    unlike = np.linalg.norm(found[:, None].astype(float) - found[None], axis=-1)
    assert unlike[0, 1] < unlike[0, 2]  # two pictures of noise are more alike than noise and nothing
    assert unlike[0, 1] > 0
    assert np.allclose(describe(frames(2)[1:], loaded, CPU), found[1:2], atol=2e-2)


def test_pictures_are_scaled_as_the_network_wants_them_and_gray_is_replicated():
    seen = []

    def network(pictures):
        seen.append(pictures)
        return pictures.mean(dim=(2, 3))

    loaded = Loaded(network, (10.0, 20.0, 30.0), (2.0, 4.0, 5.0), multiple=4)
    found = describe(np.full((3, 8, 12, 1), 50, np.uint8), loaded, CPU)
    assert seen[0].shape == (4, 3, 224, 224)
    assert found.tolist() == [[20.0, 7.5, 4.0]] * 3


def test_a_clip_s_rows_are_its_frames_vectors(store_clips):
    clips = store_clips({"train/01": frames(5, 1)})
    rows = np.stack(list(feature_rows(clips["train/01"], FrameFeatures(), CPU, 1, None)))
    whole = describe(frames(5, 1), load(FrameFeatures(), CPU), CPU)
    assert rows.shape == (4, 1280)
    assert np.allclose(rows, whole[1:], atol=2e-2)
    job = feature_jobs(clips, FrameFeatures(), CPU)["train/01"]
    assert job.length == 5
    assert job.fingerprint == feature_jobs(clips, FrameFeatures(), CPU)["train/01"].fingerprint


@pytest.mark.parametrize("folder_exists", [True, False])
def test_xclip_reads_a_local_folder_and_says_where_it_is_missing(tmp_path, folder_exists):
    transformers = pytest.importorskip("transformers")
    if not folder_exists:
        with pytest.raises(FeatureError, match=r"no X-CLIP model at .*gone .*efficientnet_lite0"):
            load(FrameFeatures("xclip", str(tmp_path / "gone")), CPU)
        return
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = small | {"image_size": 224, "patch_size": 56, "num_frames": 4, "mit_hidden_size": 512}
    vision |= {"mit_num_attention_heads": 2, "mit_num_hidden_layers": 1, "mit_intermediate_size": 32}
    text = small | {"vocab_size": 30, "max_position_embeddings": 8}
    config = transformers.XCLIPConfig(
        text_config=text, vision_config=vision, projection_dim=512, prompt_num_attention_heads=2, prompt_layers=1
    )
    torch.manual_seed(0)
    network = transformers.XCLIPModel(config).eval()
    network.save_pretrained(tmp_path)
    loaded = load(FrameFeatures("xclip", str(tmp_path)), CPU)
    assert loaded.multiple == 4
    found = describe(frames(6), loaded, CPU)
    assert found.shape == (6, 512)
    pictures = torch.from_numpy(np.stack([_small(frame) for frame in frames(6)[:4]])).movedim(-1, 1).float()
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (loaded.mean, loaded.deviation))
    with torch.no_grad():
        seen = network.vision_model(pixel_values=(pictures - mean) / deviation).pooler_output
        expected = network.visual_projection(seen)
    assert np.allclose(found[:4], expected.numpy(), atol=1e-2)


def _small(frame):
    import cv2

    return cv2.resize(frame, (224, 224), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (FrameFeatures("efficientnet_lite0", "x.pth"), "has its weights in its package"),
        (FrameFeatures("vifi_clip"), "no ViFi-CLIP weights at None"),
        (FrameFeatures("vifi_clip", "/gone.pth"), "no ViFi-CLIP weights at /gone.pth"),
    ],
)
def test_missing_weights_are_named_with_the_remedy(config, complaint):
    pytest.importorskip("transformers")
    with pytest.raises(FeatureError, match=complaint):
        load(config, CPU)
