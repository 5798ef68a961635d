import pickle
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_digits

from vad_pipeline.sources.digits import DigitsConfig, read_digits
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table, mask_jobs, raw_clips
from vad_pipeline.sources.raw_clip import Span

COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
TEST = [53, 55, 53, 55, 54, 55, 54, 54, 52, 54]  # three tenths


def images_of(raw):
    return np.stack(list(raw.frames()))


def extraction(**settings):
    return FrameExtraction("digits", digits=settings)


def test_all_digits_are_there_and_three_tenths_of_each_are_test_images():
    lengths = {raw.clip: sum(1 for _ in raw.frames()) for raw in read_digits(DigitsConfig())}
    assert list(lengths) == [f"{split}/{digit}" for split in ("train", "test") for digit in range(10)]
    assert [lengths[f"test/{digit}"] for digit in range(10)] == TEST
    assert [lengths[f"train/{digit}"] + lengths[f"test/{digit}"] for digit in range(10)] == COUNTS


def test_every_image_of_a_digit_is_in_one_of_its_two_clips_in_its_own_order():
    bundled = load_digits()
    clips = {raw.clip: raw for raw in read_digits(DigitsConfig(test_share=0.5))}
    threes = (bundled.images[bundled.target == 3] / 16 * 255).round().astype(np.uint8)[..., None]
    place = {image.tobytes(): at for at, image in enumerate(threes)}
    assert len(place) == COUNTS[3], "images must differ for this test"
    found = [[place[image.tobytes()] for image in images_of(clips[f"{split}/3"])] for split in ("train", "test")]
    assert sorted(found[0] + found[1]) == list(range(COUNTS[3]))
    assert [sorted(part) for part in found] == found


def test_an_image_is_gray_and_spans_black_to_white():
    image = next(read_digits(DigitsConfig())[0].frames())
    assert (image.shape, image.dtype) == ((8, 8, 1), np.uint8)
    images = images_of(read_digits(DigitsConfig())[0])
    assert (images.min(), images.max()) == (0, 255)
    assert len(np.unique(images)) == 17


def test_a_normal_digit_has_the_only_training_clip_and_the_others_are_abnormal():
    clips = {raw.clip: raw for raw in read_digits(DigitsConfig(normal_class=4))}
    assert list(clips) == ["train/4", *(f"test/{digit}" for digit in range(10))]
    assert clips["train/4"].spans == clips["test/4"].spans == ()
    assert clips["test/7"].spans == (Span(0, TEST[7], "class/7"),)


def test_without_a_normal_digit_test_images_are_unlabelled():
    spans = {raw.clip: raw.spans for raw in read_digits(DigitsConfig())}
    assert {spans[f"test/{digit}"] for digit in range(10)} == {None}
    assert {spans[f"train/{digit}"] for digit in range(10)} == {()}


def test_frames_and_labels_of_a_normal_digit_are_extracted(carry_out):
    config = extraction(normal_class=1)
    frames = carry_out(frame_jobs(config))
    assert set(frames) == set(raw_clips(config))
    assert frames["test/8"].shape == (TEST[8], 8, 8, 1)
    assert frames["test/8"].fps is None
    assert mask_jobs(config, frames) == {}
    labels = label_table(config, frames)
    assert len(labels) == sum(TEST)
    assert (labels["label"] == (labels["clip"] != "test/1")).all()
    abnormal = labels[labels["label"] == 1]
    assert (abnormal["kind"] == "class/" + abnormal["clip"].str.removeprefix("test/")).all()
    assert (labels.loc[labels["label"] == 0, "kind"] == "").all()


def test_another_seed_or_share_makes_other_clips_and_another_normal_digit_does_not():
    def fingerprints(**settings):
        return {clip: job.fingerprint for clip, job in frame_jobs(extraction(**settings)).items()}

    usual = fingerprints()
    assert len(set(usual.values())) == 20
    assert not set(usual.values()) & set(fingerprints(seed=1).values())
    assert not set(usual.values()) & set(fingerprints(test_share=0.4).values())
    assert fingerprints(normal_class=6).items() <= usual.items()


def test_another_seed_draws_other_test_images():
    drawn = [{image.tobytes() for image in images_of(read_digits(DigitsConfig(seed=s))[10])} for s in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize(("share", "count"), [(1e-6, 1), (1 - 1e-6, 177)])
def test_a_share_however_small_or_large_leaves_an_image_on_either_side(share, count):
    clips = {raw.clip: raw for raw in read_digits(DigitsConfig(test_share=share))}
    assert len(images_of(clips["test/0"])) == count
    assert len(images_of(clips["train/0"])) == 178 - count


def test_a_clip_can_be_sent_to_another_process():
    raw = read_digits(DigitsConfig())[3]
    np.testing.assert_array_equal(images_of(pickle.loads(pickle.dumps(raw))), images_of(raw))


@pytest.mark.parametrize(
    "settings", [{"normal_class": 10}, {"normal_class": -1}, {"test_share": 0}, {"test_share": 1}, {"seed": -1}]
)
def test_a_setting_out_of_range_is_named(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        raw_clips(extraction(**settings))


def test_processes_that_read_other_sources_do_not_load_scikit_learns_data():
    loaded = "import sys, vad_pipeline.sources; print('sklearn.datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout == "False\n"
