import itertools
import pickle

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import roc_auc_score

from vad_pipeline.sources.raw_clip import RawClip
from vad_pipeline.sources.scene_actors import AGAINST_FLOW, BUILDS, KINDS, RUNNER, WALK
from vad_pipeline.sources.scene_picture import background
from vad_pipeline.sources.scenes import NOISE_SIGMA, ScenesConfig, read_scenes

SMALL = ScenesConfig(train_clips=2, test_clips=7, frames=40, height=64, width=96)


def clips_of(config: ScenesConfig) -> dict[str, RawClip]:
    return {clip.clip: clip for clip in read_scenes(config)}


def first_frames(clip: RawClip, count: int) -> np.ndarray:
    return np.stack(list(itertools.islice(clip.frames(), count)))


def labels_of(clip: RawClip, frames: int) -> np.ndarray:
    return clip.labels(frames)[0]


def min_max(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others():
    one, again = (clips_of(SMALL)["test/03"] for _ in range(2))
    other = clips_of(ScenesConfig(seed=1, frames=40, height=64, width=96))["test/03"]
    assert np.array_equal(first_frames(one, 40), first_frames(again, 40))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert not np.array_equal(first_frames(one, 1), first_frames(other, 1))


def test_a_clip_sent_to_a_worker_process_renders_the_same():
    clip = clips_of(SMALL)["test/02"]
    sent: RawClip = pickle.loads(pickle.dumps(clip))
    assert np.array_equal(first_frames(clip, 3), first_frames(sent, 3))
    assert clip.masks is not None
    assert sent.masks is not None
    assert all(np.array_equal(a, b) for a, b in zip(clip.masks(), sent.masks(), strict=True))


def test_two_clips_of_a_seed_share_the_place_but_not_the_people():
    clips = clips_of(ScenesConfig(frames=40, height=64, width=96))
    one, other = (np.median(first_frames(clips[name], 40), axis=0) for name in ("train/01", "train/02"))
    house = slice(0, 12)
    assert np.abs(one[house] / one[house].mean() - other[house] / other[house].mean()).max() < 0.1
    assert not np.array_equal(first_frames(clips["train/01"], 1), first_frames(clips["train/02"], 1))


def test_training_clips_are_known_to_be_normal():
    for name, clip in clips_of(SMALL).items():
        if name.startswith("train/"):
            assert clip.labelled
            assert clip.spans == ()
            assert clip.masks is not None
            assert not any(mask.any() for mask in clip.masks())


@pytest.mark.parametrize(
    "config",
    [
        ScenesConfig(train_clips=1),
        ScenesConfig(train_clips=1, seed=5, frames=24, height=64, width=96),
        ScenesConfig(train_clips=1, frames=700, height=48, width=80),
        ScenesConfig(train_clips=1, frames=100, height=75, width=50, fps=25),
    ],
)
def test_a_mask_has_pixels_exactly_where_the_label_is_one(config: ScenesConfig):
    for clip in read_scenes(config):
        assert clip.masks is not None
        masks = list(clip.masks())
        assert len(masks) == config.frames
        assert {(mask.shape, mask.dtype) for mask in masks} == {((config.height, config.width), np.dtype(bool))}
        assert np.array_equal([mask.any() for mask in masks], labels_of(clip, config.frames) == 1), clip.clip


def test_every_kind_occurs_twice_in_the_default_test_clips():
    kinds = [
        span.kind for clip in read_scenes(ScenesConfig()) for span in {s.kind: s for s in clip.spans or ()}.values()
    ]
    assert sorted(kinds) == sorted(2 * KINDS)


def test_anomalies_take_a_third_to_half_of_a_clip_and_do_not_always_end_it():
    labels = [labels_of(clip, 120) for clip in read_scenes(ScenesConfig()) if clip.spans]
    assert all(0.25 <= label.mean() <= 0.6 for label in labels)
    assert 2 <= sum(int(label[-1]) for label in labels) <= 10
    assert any(label[0] == 0 and label[-1] == 0 for label in labels)
    assert any(label[0] == 1 for label in labels)


def test_runners_are_faster_than_any_walker_and_walking_against_the_flow_is_not():
    assert BUILDS[RUNNER].speeds[0] > 1.7 * BUILDS[WALK].speeds[1]
    assert BUILDS[AGAINST_FLOW].speeds[1] <= BUILDS[WALK].speeds[1]


def test_the_abnormal_pixels_differ_from_the_empty_place():
    config = ScenesConfig(train_clips=1, test_clips=7)
    empty = background(config.seed, config.height, config.width)
    for clip in read_scenes(config)[1:]:
        assert clip.masks is not None
        differences = [
            np.abs(frame - empty)[mask].mean()
            for frame, mask in itertools.islice(zip(clip.frames(), clip.masks(), strict=True), 0, None, 6)
            if mask.any()
        ]
        assert np.mean(differences) > 20, clip.clip


def test_difference_area_and_brightness_alone_do_not_find_the_anomalies():
    clips = clips_of(ScenesConfig())
    training = [first_frames(clip, 6)[::5] for name, clip in clips.items() if name.startswith("train/")]
    empty = np.median(np.concatenate(training), axis=0)
    labels, scores = [], {"difference": [], "area": [], "brightness": []}
    for name, clip in clips.items():
        if name.startswith("test/"):
            frames = first_frames(clip, 120).astype(np.float32)
            difference = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
            scores["difference"].append(np.concatenate([difference[:1], difference]))
            scores["area"].append((np.abs(frames - empty).max(axis=-1) > 25).mean(axis=(1, 2)))
            scores["brightness"].append(frames.mean(axis=(1, 2, 3)))
            labels.append(labels_of(clip, 120))
    truth = np.concatenate(labels)
    for name, per_clip in scores.items():
        for values in (per_clip, [min_max(clip) for clip in per_clip]):
            assert 0.25 < roc_auc_score(truth, np.concatenate(values)) < 0.75, name


def test_adding_clips_leaves_the_others_as_they_are():
    few, more = clips_of(SMALL), clips_of(ScenesConfig(train_clips=3, test_clips=9, frames=40, height=64, width=96))
    assert set(few) < set(more)
    for name, clip in few.items():
        assert clip.fingerprint == more[name].fingerprint
        assert clip.spans == more[name].spans
    assert np.array_equal(first_frames(few["test/07"], 5), first_frames(more["test/07"], 5))


def test_fingerprints_differ_between_clips_and_with_everything_that_changes_pixels():
    variants = [SMALL, *(ScenesConfig(**change) for change in ({"fps": 5}, {"colour": "gray"}, {"width": 100}))]
    prints = [clip.fingerprint for config in variants for clip in read_scenes(config)]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (71, 53), (32, 150), (256, 384)])
@pytest.mark.parametrize(("colour", "channels"), [("rgb", 3), ("gray", 1)])
def test_frames_have_the_size_and_channels_asked_for(height: int, width: int, colour: str, channels: int):
    config = ScenesConfig(frames=8, height=height, width=width, colour=colour, train_clips=1, test_clips=1)
    for clip in read_scenes(config):
        frames = first_frames(clip, 9)
        assert frames.shape == (8, height, width, channels)
        assert frames.dtype == np.uint8
        assert 30 < frames.mean() < 225


@pytest.mark.parametrize("colour", ["rgb", "gray"])
def test_the_sensor_noise_is_as_strong_as_declared(colour: str):
    clip = clips_of(ScenesConfig(frames=30, colour=colour))["train/01"]
    house = first_frames(clip, 30)[:, :18].astype(float)  # nobody walks before it
    # Differences of neighbours in time cancel the picture and the slow light; rounding adds 1/12 to the variance.
    measured = np.sqrt(np.diff(house, axis=0).var() / 2 - 1 / 12)
    assert measured == pytest.approx(NOISE_SIGMA, abs=0.1)


def test_the_light_changes_slowly_by_a_few_grey_levels():
    clip = clips_of(ScenesConfig(frames=120, height=64, width=96))["train/03"]
    light = first_frames(clip, 120)[:, :9].mean(axis=(1, 2, 3))
    assert 0.5 < np.ptp(light) < 15
    assert np.abs(np.diff(light)).max() < 1.5


def test_the_first_frame_of_a_very_long_clip_does_not_wait_for_the_rest(monkeypatch: pytest.MonkeyPatch):
    clip = clips_of(ScenesConfig(train_clips=1, test_clips=1, frames=100_000, height=32, width=48))["test/01"]
    drawn = []
    monkeypatch.setattr("vad_pipeline.sources.scenes.sprite_of", lambda *a: drawn.append(a))
    frames = clip.frames()
    next(frames)
    next(frames)
    assert len(drawn) < 200
    assert labels_of(clip, 100_000)[50_000:].any()


@pytest.mark.parametrize("wrong", [{"clips": 3}, {"frames": 2}, {"colour": "cmyk"}, {"seed": -1}])
def test_an_unknown_key_or_a_senseless_value_is_rejected(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        TypeAdapter(ScenesConfig).validate_python(wrong)
