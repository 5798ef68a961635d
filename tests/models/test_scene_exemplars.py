"""Scene exemplars: what is found, where, by which term; p-values; order, streams, light and cameras."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from tests.models.walkers import LANES, PEOPLE, STREET, Thing, footage, normal_clip, striped, texture, walker
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.clips.window import Window
from vad_pipeline.features.cell_features import CellFeatures
from vad_pipeline.fitting.checkpoint import Checkpoint, CheckpointError
from vad_pipeline.fitting.devices import TrainingError
from vad_pipeline.fitting.one_pass import fit_in_one_pass, take_state
from vad_pipeline.models.scene_exemplars import STATISTICS, Config, SceneExemplars
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.terminal.errors import is_for_users

CONFIG = Config(motion_examples=6_000, appearance_examples=3_000)
SMALL = Config(motion_examples=400, appearance_examples=80, appearance_share=0.3)
OPTIONS = ScoringOptions()
TARGET = SceneExemplars.window(CONFIG).target
UNUSUAL = {  # what nobody does in training, of a walker on the other lane beside it
    "fast": Thing(LANES[0], 10, 4.0, PEOPLE[0]),
    "against": Thing(LANES[1], 120, -1.5, PEOPLE[1]),
    "another_look": Thing(LANES[0], 30, 1.5, striped()),
    "another_shape": Thing(LANES[1], 30, 1.5, striped(16, 32)),
}


def clips_of(first, count, n):
    return lambda: ({"frames": normal_clip(first + seed, n)} for seed in range(count))


@pytest.fixture(scope="module")
def model():
    learnt = SceneExemplars(CONFIG, colours=1)
    for clip in clips_of(0, 12, 30)():
        learnt.learn(clip)
    learnt.calibrate(clips_of(1000, 60, 5), OPTIONS)  # a frame of each, so that they are independent
    return learnt.eval()


@pytest.fixture(scope="module")
def usual(model):
    """Surprise of frames of further normal footage."""
    return np.concatenate([scored(model, clip["frames"])[0]["surprise"] for clip in clips_of(2000, 10, 8)()])


def changed(model, **fields):
    """The same memory under another configuration."""
    other = SceneExemplars(replace(model.config, **fields), colours=1)
    take_state(other, model.state_dict())
    return other.eval()


def joined(model, batches):
    batches = [batch for batch in batches if batch is not None]
    terms = {name: np.concatenate([batch.terms[name] for batch in batches]) for name in model.terms}
    return terms, np.concatenate([batch.maps for batch in batches]).astype(np.float32)


def scored(model, frames, batch=8):
    return joined(model, model.scorer(ScoringOptions(batch=batch)).clip({"frames": frames}))


def with_a_walker(thing, n=16):
    lane = LANES[1] if thing.row < 60 else LANES[0]
    return footage([thing, walker(np.random.default_rng(5), row=lane, column=40)], n, seed=9)


def lies_in(cell, thing, t):
    """Whether a cell's middle lies in a thing's box, or a cell beside it."""
    top, bottom, left, right = thing.box(t)
    row, column = 4 * cell[0] + 2, 4 * cell[1] + 2
    return top - 4 <= row < bottom + 4 and left - 4 <= column < right + 4


@pytest.mark.parametrize("kind", UNUSUAL)
def test_what_nobody_does_is_found_and_found_where_it_is(model, usual, kind):
    thing = UNUSUAL[kind]
    terms, maps = scored(model, with_a_walker(thing))
    assert (terms["surprise"] > np.quantile(usual, 0.99)).all()
    assert (terms["p_value"] < 0.05).all()
    for t, surprises in enumerate(maps, start=TARGET):
        assert lies_in(np.unravel_index(surprises.argmax(), surprises.shape), thing, t)


@pytest.mark.parametrize(("kind", "term"), [("fast", "speed"), ("against", "velocity"), ("another_look", "appearance")])
def test_the_term_says_what_is_unusual(model, kind, term):
    terms, _ = scored(model, with_a_walker(UNUSUAL[kind], 12))
    others = {"speed", "velocity", "appearance"} - {term} - ({"velocity"} if term == "speed" else set())
    assert all((terms[term] > 2 * terms[other]).all() for other in others)


def test_what_stands_where_nobody_stands_is_found_by_place_and_where_it_is(model):
    thing = Thing(48, 80, 0.0, PEOPLE[2])
    scorer = model.scorer(OPTIONS)
    frames = with_a_walker(thing, 12)
    for windows, complete in scorer.encodings({"frames": frames}):
        for cells, t in zip(windows, complete.frames, strict=True):
            place = scorer.surprises(cells)["place"]
            assert lies_in(cells.places[place.argmax()], thing, t)
    normal = np.concatenate([scored(model, clip["frames"])[0]["place"] for clip in clips_of(2000, 4, 8)()])
    assert scored(model, frames)[0]["place"].min() > normal.max()


def test_a_cell_outside_the_foreground_scores_nothing(model):
    scorer, frames = model.scorer(OPTIONS), with_a_walker(UNUSUAL["fast"], 10)
    for windows, complete in scorer.encodings({"frames": frames}):
        _, maps = scorer.score(windows, complete)
        for cells, surprises in zip(windows, maps, strict=True):
            outside = np.ones(surprises.shape, bool)
            outside[tuple(cells.places.T)] = False
            assert len(cells.places) > 0
            assert (surprises.numpy()[outside] == 0).all()
            assert surprises.max() > 0


def test_the_order_of_clips_and_an_interruption_change_no_bit(tmp_path):
    clips = {str(i): (lambda i=i: {"frames": normal_clip(i, 10)}) for i in range(4)}
    straight, shuffled, resumed = (SceneExemplars(SMALL, colours=1) for _ in range(3))
    for i in range(4):
        straight.learn(clips[str(i)]())
    for i in (2, 0, 3, 1):
        shuffled.learn(clips[str(i)]())

    def interrupted(clip):
        if resumed.frames_seen[0].sum() >= 2 * (10 - 4):
            raise KeyboardInterrupt
        return resumed.learn(clip)

    with pytest.raises(KeyboardInterrupt):
        fit_in_one_pass("m", resumed, interrupted, clips, 0, tmp_path, keep_every=0)
    resumed = SceneExemplars(SMALL, colours=1)
    fit_in_one_pass("m", resumed, resumed.learn, clips, 0, tmp_path, keep_every=0)
    assert len(straight.motion) == 400
    assert len(straight.looks) == 80
    for name, values in straight.state_dict().items():
        assert torch.equal(values, shuffled.state_dict()[name]), name
        assert torch.equal(values, resumed.state_dict()[name]), name


def test_frame_by_frame_gives_the_scores_of_batches(model):
    frames = with_a_walker(UNUSUAL["against"], 14)
    scorer = model.scorer(OPTIONS)
    pushed = [scorer.push({"frames": frames[t : t + 1]}) for t in range(len(frames))]
    assert [batch is not None for batch in pushed] == [t >= 2 * model.config.gap for t in range(14)], "two frames late"
    found, expected = joined(model, [*pushed, scorer.finish()]), scored(model, frames, batch=5)
    for term, values in expected[0].items():
        np.testing.assert_allclose(found[0][term], values, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3)


def test_looking_back_only_needs_no_later_frame(model):
    causal = changed(model, causal=True)
    assert causal.window(causal.config) == Window(length=3, target=2)
    assert model.window(model.config) == Window(length=5, target=2)
    frames = with_a_walker(UNUSUAL["fast"], 16)
    otherwise = np.concatenate([frames[:10], normal_clip(77, 6)])
    scorer = causal.scorer(OPTIONS)
    at_once = [scorer.push({"frames": frames[t : t + 1]}) for t in range(10)]
    assert [int(batch.frames[0]) for batch in at_once if batch is not None] == list(range(2, 10)), "no delay"
    whole, other = scored(causal, frames)[0], scored(causal, otherwise)[0]
    for term in causal.terms:
        np.testing.assert_allclose(whole[term][:8], other[term][:8], rtol=1e-9)
    assert not np.allclose(whole["surprise"][8:], other["surprise"][8:])


@pytest.mark.parametrize("seed", range(3))
def test_the_p_value_of_frames_is_uniform_on_further_normal_footage(model, seed):
    p = [scored(model, clip["frames"])[0]["p_value"][0] for clip in clips_of(3000 + 100 * seed, 20, 5)()]
    assert kstest(p, "uniform").pvalue > 0.005


@pytest.mark.parametrize("seed", range(2))
def test_the_p_values_of_cells_are_near_uniform_on_further_normal_footage(model, seed):
    scorer = model.scorer(OPTIONS)
    cells = [
        cells
        for clip in clips_of(4000 + 100 * seed, 20, 5)()
        for windows, _ in scorer.encodings(clip)
        for cells in windows
    ]
    for statistic in STATISTICS:
        p = np.exp(-np.concatenate([scorer.surprises(one)[statistic] for one in cells]))
        assert kstest(p, "uniform").statistic < 0.25, statistic


def test_a_slow_change_of_light_is_survived_where_the_background_runs(model, usual):
    n, sunny = 130, np.arange(STREET.shape[1])[:, None] > 150  # the sun comes out on one side
    frames = footage([walker(np.random.default_rng(3), column=-60.0, speed=1.0)], n)
    lit = (frames + 0.19 * np.arange(n)[:, None, None, None] * sunny).clip(0, 255).astype(np.uint8)
    running, standing = changed(model), changed(model, running_background=False)
    terms, maps = scored(running, lit)
    assert (terms["surprise"] <= usual.max()).all()
    assert (maps[:, :, 38:] == 0).all(), "nothing stands out in the sun"
    assert (scored(standing, lit[-20:])[1][:, :, 38:] > 1).any(axis=(1, 2)).all()


def test_a_covered_camera_is_one_event_and_no_surprise(model):
    street, cover = footage([], 8), texture(*STREET.shape, 0, 255, 99)
    terms, maps = scored(model, np.concatenate([street, footage([], 70, street=cover)]))
    steps = np.flatnonzero(np.diff(terms["camera"]))
    assert set(terms["camera"]) == {0.0, 1.0}
    assert len(steps) <= 2, "one run of frames"
    assert steps[0] + 1 + TARGET <= 8 + 5 * model.config.gap, "within a second"
    assert (terms["surprise"] == 0).all()
    assert (maps == 0).all()


def test_a_training_without_anything_that_moves_says_so():
    for frames in (np.zeros((12, 120, 176, 1), np.uint8), np.repeat(normal_clip(0, 1), 12, axis=0)):
        still = SceneExemplars(SMALL, colours=1)
        still.learn({"frames": frames})
        assert len(still.motion) == 0
        with pytest.raises(TrainingError, match="nothing stands out from the background"):
            still.calibrate(lambda: iter(()), OPTIONS)


def test_a_training_without_held_out_footage_says_so(model):
    with pytest.raises(TrainingError, match=r"set training\.held_out above 0 and give clips of at least 5 frames"):
        changed(model).calibrate(lambda: iter(()), OPTIONS)


@pytest.mark.parametrize("frames", [np.zeros((25, 120, 176, 1), np.uint8), np.repeat(footage([], 1), 25, axis=0)])
def test_black_frames_and_a_still_picture_of_the_empty_scene_surprise_nobody(model, frames):
    terms, _ = scored(model, frames)
    assert all(np.isfinite(values).all() for values in terms.values())
    assert (terms["surprise"] == 0).all()
    assert (terms["p_value"] == 1).all()


def test_a_clip_shorter_than_the_window_teaches_no_motion_and_has_no_scores(model):
    short = SceneExemplars(SMALL, colours=1)
    assert short.learn({"frames": normal_clip(0, 4)}) == {"train_cells": 0.0}
    assert list(model.scorer(OPTIONS).clip({"frames": normal_clip(0, 4)})) == []


def test_frames_of_another_size_are_refused_with_what_to_do(model):
    with pytest.raises(
        ValueError, match="frames of 96x120, the scene was learnt at 176x120; resize them to that"
    ) as error:
        scored(model, normal_clip(0, 8)[:, :, :96])
    assert is_for_users(error.value)


def test_a_memory_of_other_features_is_refused():
    frames = FrameSize(120, 176, "gray")
    checkpoint = Checkpoint("scene_exemplars", asdict(CONFIG), asdict(frames), {}, {})
    checkpoint.check_against(CONFIG, frames)
    with pytest.raises(CheckpointError, match=r"model\.features: .*'block': 5.* in the checkpoint, .*'block': 4"):
        checkpoint.check_against(replace(CONFIG, features=CellFeatures(block=4)), frames)
