import numpy as np
import pandas as pd
import pytest
import torch

from vad_pipeline.models.lgn_net import Config, LGNNet
from vad_pipeline.scoring.gamma_sweep import MULTIPLES, SweepError, Sweeps, gamma_sweep
from vad_pipeline.scoring.score import Scoring, score_clips

SCORING = Scoring(batch=3, accelerator="cpu", threads=1)


def tiny(gamma, reset="never"):
    torch.manual_seed(0)
    return LGNNet(Config(width=0.0625, items=3, gamma=gamma, memory_reset=reset), colours=1).eval()


@pytest.fixture
def clips(store_clips):
    random = np.random.default_rng(0)
    return store_clips({f"test/{i}": random.integers(0, 256, (9 + i, 16, 24, 1), np.uint8) for i in range(3)})


def one_by_one(gamma, reset, clips, folder):
    return score_clips(tiny(gamma, reset), {"frames": clips}, SCORING, [list(clips)], folder, maps=False)[0]


def swept(gammas, reset, clips):
    arrays = {clip: {"frames": stored.array()} for clip, stored in clips.items()}
    return gamma_sweep(tiny(0.0, reset), arrays, gammas, SCORING)


def within(clips, folder, parts):
    """Gammas among the regular scores that a memory which never changes gives, so that some frames update it."""
    regular = one_by_one(0.0, "never", clips, folder)["regular_score"]
    return [float(np.quantile(regular, part)) for part in parts]


@pytest.mark.parametrize("reset", ["never", "per_clip"])
def test_every_threshold_scores_as_if_it_were_the_only_one(tmp_path, clips, reset):
    gammas = [0.0, *within(clips, tmp_path, (0.2, 0.5, 0.6, 0.9)), 1.0]
    found = swept(gammas, reset, clips)
    assert list(found) == gammas
    for gamma, table in found.items():
        expected = one_by_one(gamma, reset, clips, tmp_path)
        pd.testing.assert_frame_equal(table, expected, rtol=1e-5, atol=1e-7)
    distances = pd.DataFrame({gamma: table["memory_distance"] for gamma, table in found.items()})
    assert len(distances.T.drop_duplicates()) == len(gammas), "each has led to a memory of its own"


def test_windows_are_encoded_once_and_equal_memories_are_decoded_once(tmp_path, clips, monkeypatch):
    model = tiny(0.0)
    runs = {"encode": 0, "decode": 0}
    scorer_of = model.scorer

    def counted(options):
        scorer = scorer_of(options)
        encode, decode = scorer.network.encode, scorer.network.decode

        def encoded(stacked):
            runs["encode"] += len(stacked)
            return encode(stacked)

        def decoded(answer, *past):
            runs["decode"] += len(answer)
            return decode(answer, *past)

        scorer.network.encode, scorer.network.decode = encoded, decoded
        return scorer

    monkeypatch.setattr(model, "scorer", counted)
    arrays = {clip: {"frames": stored.array()} for clip, stored in clips.items()}
    n_frames = sum(len(rows["frames"]) - 4 for rows in arrays.values())
    lowest = one_by_one(0.0, "never", clips, tmp_path)["regular_score"].min()
    gamma_sweep(model, arrays, [lowest * part for part in (0.1, 0.2, 0.3, 0.4)], SCORING)
    assert runs == {"encode": n_frames, "decode": n_frames}, "none updates, so all are one"


def test_the_thresholds_by_default_are_ten_and_hold_the_model_s_own():
    gammas = Sweeps().thresholds(0.004)
    assert gammas == tuple(0.004 * multiple for multiple in MULTIPLES)
    assert len(gammas) == 10
    assert Sweeps(gammas=(0.02, 0.0)).thresholds(0.004) == (0.0, 0.004, 0.02)


@pytest.mark.parametrize(
    ("sweeps", "problem"), [(Sweeps(), "is 0, which has no"), (Sweeps(gammas=(-1.0,)), "negative")]
)
def test_thresholds_that_cannot_be_are_refused(sweeps, problem):
    with pytest.raises(SweepError, match=problem):
        sweeps.thresholds(0.0)
