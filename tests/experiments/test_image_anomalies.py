"""Each class in turn as normal: labels, rows that depend on others, tables, and what labels would choose."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.experiments import labelled_epoch
from vad_pipeline.experiments.experiments import Budget
from vad_pipeline.experiments.image_anomalies import (
    CLASSES,
    MODES,
    ROWS,
    ClassRow,
    image_table,
    images_of,
    labels_of,
    run_of_class,
    trivial_auc,
)
from vad_pipeline.models.alps import Config
from vad_pipeline.models.build import build
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.training.train import Training

CONFIG = Config(width=0.125, latent=8, patch=None)
SIZE = FrameSize(8, 8, "gray")
BUDGET = Budget(Training(epochs=3, batch_size=4, learning_rate=1e-2, accelerator="cpu"), seeds=(0, 1))


def images(store_clips, n=20, classes=3):
    """A bar at another place for every class."""
    random, clips = np.random.default_rng(0), {}
    for c in range(classes):
        rows = random.integers(0, 60, (2 * n, 8, 8, 1)).astype(np.uint8)
        rows[:, 2 * c : 2 * c + 2] += 180
        clips |= {f"train/{c}": rows[:n], f"test/{c}": rows[n:]}
    return store_clips(clips)


def run(own, stored, folder, **options):
    return run_of_class(own, stored, CONFIG, SIZE, BUDGET, Scoring(accelerator="cpu"), folder, **options)


def test_one_class_trains_and_all_others_are_abnormal(store_clips):
    stored = images(store_clips)
    assert list(images_of(stored, "1")) == ["test/0", "test/1", "test/2", "train/1"]
    labels = labels_of(images_of(stored, "1"), "1")
    by_clip = labels.groupby("clip")["label"].agg(["min", "max", "size"])
    assert by_clip.loc["test/1"].tolist() == [0, 0, 20]
    assert by_clip.loc["test/0"].tolist() == [1, 1, 20]
    assert set(labels.loc[labels["clip"] == "test/2", "kind"]) == {"class/2"}


def test_a_class_without_training_images_is_named(store_clips):
    with pytest.raises(ValueError, match="no training images of class 7, only of 0, 1, 2"):
        images_of(images(store_clips), "7")


def test_there_is_a_row_for_every_mode_and_class():
    assert len({row.namespace for row in ROWS}) == len(MODES) * len(CLASSES) == 30


def test_a_row_is_trained_scored_and_found_again_and_noise_takes_its_strength_from_alps(store_clips, tmp_path):
    stored = images(store_clips)
    alps = run(ClassRow("alps", "1"), stored, tmp_path)
    assert alps.scores["seed"].unique().tolist() == [0, 1]
    labelled = alps.scores.merge(labels_of(stored, "1"), on=["clip", "frame"])
    areas = [roc_auc_score(part["label"], part["perturbed_error"]) for _, part in labelled.groupby("seed")]
    assert alps.metrics["micro_auc"] == pytest.approx(np.mean(areas))
    strengths = alps.metrics["found_perturbation"]
    assert build(alps.checkpoints[0]).facts()["perturbation"] > 0
    noise = run(ClassRow("noise", "1"), stored, tmp_path, alps_metrics=alps.metrics)
    assert noise.checkpoints[0].config["noise_strength"] == strengths

    def forbidden(*_):
        raise AssertionError("it was trained again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vad_pipeline.training.train.fit", forbidden)
        again = run(ClassRow("alps", "1"), stored, tmp_path)
    pd.testing.assert_frame_equal(again.scores, alps.scores)


def test_the_epoch_that_labels_choose_is_an_oracle_s_alone(store_clips, tmp_path):
    stored = images(store_clips)
    clean = run(ClassRow("alps", "1"), stored, tmp_path / "clean")
    assert not [name for name in clean.metrics if "oracle" in name]
    paper = run(ClassRow("alps", "1"), stored, tmp_path / "clean", protocol="paper")
    assert 0 <= paper.metrics["micro_auc_labelled_epoch_oracle"] <= 1
    assert paper.metrics["micro_auc"] == clean.metrics["micro_auc"]
    assert len(list((tmp_path / "clean").glob("labelled_epoch_*.safetensors"))) == 2


def test_the_best_epoch_s_weights_are_kept_and_survive_an_interruption(store_clips, tmp_path):
    class Trainer:
        current_epoch = 0

    class Module(torch.nn.Module):
        device, area = torch.device("cpu"), 0.5

        def __init__(self):
            super().__init__()
            self.register_buffer("epoch", torch.zeros(1))

    areas = iter([0.6, 0.9, 0.7])
    watch = labelled_epoch.LabelledEpoch(images(store_clips), "1", "perturbed_error", tmp_path / "best.safetensors", 0)
    assert len(watch.normal) == 20
    assert len(watch.abnormal) == 40
    module = Module()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "_area", lambda _: next(areas))
        for epoch in range(2):
            module.epoch.fill_(epoch)
            watch.on_train_epoch_end(Trainer(), module)
        resumed = labelled_epoch.LabelledEpoch(images(store_clips), "1", "perturbed_error", watch.path, 0)
        resumed.load_state_dict(watch.state_dict())
        patch.setattr(resumed, "_area", lambda _: next(areas))
        module.epoch.fill_(2)
        resumed.on_train_epoch_end(Trainer(), module)
    assert load_file(watch.path)["epoch"].item() == 1


METRICS = {
    row.namespace: {
        "micro_auc": 0.9 + int(row.normal) / 1000,
        "micro_auc_std": 0.01,
        "micro_auc_term_clean_error": 0.95,
        "micro_auc_term_perturbed_error": 0.9,
        "micro_auc_term_mean_error": 0.92,
        "micro_auc_labelled_epoch_oracle": 0.97,
    }
    for row in ROWS
}
TRIVIAL = {c: {"foreground_area": 0.6, "brightness": 0.5} for c in CLASSES}


def test_the_table_has_the_modes_their_means_and_the_published_rows():
    table = image_table(METRICS, TRIVIAL, "mnist").set_index("row")
    assert table.loc["ALPS", "mean"] == pytest.approx(90.45)
    assert table.loc["ALPS", "std"] == pytest.approx(1.0)
    assert table.loc["ALPS, clean error", "3"] == pytest.approx(95.0)
    assert table.loc["Ours (ALPS), as published", "2"] == 94.09
    assert table.loc["Ours (ALPS), as published", "mean"] == 97.65
    assert table.loc["Vanilla AE (Table III), as published", "mean"] == 95.42
    assert not [row for row in table.index if "oracle" in row]
    assert not [row for row in image_table(METRICS, TRIVIAL, "digits")["row"] if "published" in row]


def test_what_labels_choose_stands_in_rows_that_say_so():
    table = image_table(METRICS, TRIVIAL, "mnist", "paper").set_index("row")
    assert table.loc["ALPS, best of three scores (oracle)", "mean"] == pytest.approx(95.0)
    assert table.loc["ALPS, epoch chosen by labels (oracle)", "mean"] == pytest.approx(97.0)


def test_trivial_baselines_are_measured_with_their_own_class_as_normal():
    labels = pd.DataFrame({"clip": ["test/0", "test/1"], "frame": [0, 0], "label": [0, 1], "kind": ""})
    scores = pd.DataFrame({"clip": ["test/0", "test/1"] * 2, "frame": 0, "normal": ["0", "0", "1", "1"]})
    scores["foreground_area"], scores["brightness"] = [0.0, 1.0, 1.0, 0.0], [5.0, 5.0, 0.0, 0.0]
    assert trivial_auc(scores, labels, "0") == {"foreground_area": 1.0, "brightness": 0.5}
