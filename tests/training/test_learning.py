"""Whether training teaches anything: slow, on the built-in scenes."""

import lightning
import pytest
import torch

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.fitting.devices import multiplies_bf16
from vad_pipeline.models.build import build
from vad_pipeline.models.lgn_net import Config, LGNNet
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.scoring.trivial_baselines import trivial_metrics, trivial_scores
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table
from vad_pipeline.training.train import Training, train


def stored(jobs, pool):
    pool.fill(jobs, Parallel(), "")
    return Clips(
        {c: Clip(c, j.fingerprint, *pool.header(j.fingerprint), j.fps, j.source, pool) for c, j in jobs.items()}
    )


@pytest.mark.slow
def test_a_trained_tiny_lgn_net_beats_its_untrained_self_and_every_trivial_baseline(tmp_path):
    pool = ClipPool(str(tmp_path / "pool"))
    source = FrameExtraction("scenes", scenes={"train_clips": 8, "test_clips": 7, "frames": 120})
    frames = stored(frame_jobs(source), pool)
    labels = label_table(source, frames)
    size = FrameSize(64, 96, "gray")
    streams = {"frames": stored(resize_jobs(frames, size), pool)}
    config = Config(width=0.125, gamma=0.0)

    training = Training(
        epochs=2, batch_size=4, learning_rate=1e-3, window_stride=4, accelerator="cpu", precision="bf16-mixed"
    )
    trained = train("lgn_net", config, size, training, 0, streams, tmp_path / "work")
    lightning.seed_everything(0, verbose=False)
    untrained = LGNNet(config, colours=1).eval()  # with the weights that the training began with

    def micro_auc(model):
        scoring = Scoring(accelerator="cpu", precision="bf16" if multiplies_bf16(torch.device("cpu")) else "32")
        scores, _ = score_clips(model, streams, scoring, [list(frames.split("test"))], tmp_path)
        return evaluate(scores, labels, LGNNet.terms, LGNNet.fusion(config))["micro_auc"]

    auc = micro_auc(build(trained.checkpoint))
    before = micro_auc(untrained)
    assert auc > before + 0.02
    trivial = trivial_metrics(trivial_scores(frames), labels)
    assert auc > max(metrics["micro_auc"] for metrics in trivial.values())
