import numpy as np
import pytest
import torch

from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.models.build import build
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.semantic_discriminator import Config, SemanticDiscriminator
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.training.train import Training, train

N = 60  # frames of a clip


def clouds(apart, seed=0):
    """Vectors of normal clips, of their twins and of two test clips, one like each; ``apart`` separates the clouds."""
    random = np.random.default_rng(seed)
    centre = random.normal(size=1280)

    def cloud(moved):
        return (random.normal(size=(N, 1280)) + moved * centre).astype(np.float16)

    normal = {f"train/{i}": cloud(0) for i in range(4)}
    twins = {f"train/{i}@0": cloud(apart) for i in range(4)}
    return normal, twins, {"test/normal": cloud(0), "test/odd": cloud(apart)}


def probabilities(apart, tmp_path, store_clips):
    normal, twins, tested = clouds(apart)
    training = Training(epochs=20, batch_size=16, learning_rate=0.02, accelerator="cpu")
    streams = {"features": store_clips(normal | tested)}
    pseudo = store_clips(twins)
    trained = train("semantic_discriminator", Config(), FrameSize(), training, 0, streams, tmp_path, stored=pseudo)
    scores, maps = score_clips(build(trained.checkpoint), streams, Scoring(accelerator="cpu"), [list(tested)], tmp_path)
    assert maps == {}
    return scores.groupby("clip")["pseudo_probability"].mean()


def test_separable_clouds_are_separated(tmp_path, store_clips):
    found = probabilities(0.3, tmp_path, store_clips)
    assert found["test/normal"] < 0.1
    assert found["test/odd"] > 0.9


def test_identical_clouds_stay_at_one_half(tmp_path, store_clips):
    found = probabilities(0.0, tmp_path, store_clips)
    assert found.to_numpy() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("clip_pool", [False, True])
def test_batches_score_as_single_windows_do(clip_pool):
    torch.manual_seed(0)
    model = SemanticDiscriminator(Config(clip_pool=clip_pool)).eval()
    features = np.random.default_rng(0).normal(size=(30, 1280)).astype(np.float16)
    parts = list(model.scorer(ScoringOptions(batch=7)).clip({"features": features}))
    frames = np.concatenate([part.frames for part in parts])
    found = np.concatenate([part.terms["pseudo_probability"] for part in parts])
    assert frames.tolist() == (list(range(8, 23)) if clip_pool else list(range(30)))
    for frame, probability in zip(frames, found, strict=True):
        rows = features[frame - 8 : frame + 8] if clip_pool else features[frame : frame + 1]
        with torch.no_grad():
            assert probability == pytest.approx(float(model(torch.from_numpy(rows)[None]).sigmoid()), abs=1e-5)


def test_vectors_of_another_provider_are_refused():
    model = SemanticDiscriminator(Config())
    with pytest.raises(ValueError, match=r"features of 512 numbers, efficientnet_lite0 gives 1280"):
        model(torch.zeros(2, 1, 512))


def test_the_layers_are_those_of_the_specification():
    model = SemanticDiscriminator(Config(features={"provider": "vifi_clip"}))
    assert [tuple(m.weight.shape) for m in model.network if isinstance(m, torch.nn.Linear)] == [
        (256, 512),
        (128, 256),
        (1, 128),
    ]
