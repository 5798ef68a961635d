import pytest

from vad_pipeline.anomalies.pool import Pool, Run, frame_seed, run_of, runs_of

LENGTHS = {"train/01": 100, "train/02": 15, "train/03": 64}


def test_without_a_size_every_frame_is_in_the_pool():
    assert runs_of(LENGTHS, Pool(), 0) == [
        Run("train/01", 0, 100),
        Run("train/02", 0, 15),
        Run("train/03", 0, 64),
    ]


@pytest.mark.parametrize("size", [1, 32, 48, 10_000])
def test_a_pool_is_made_of_runs_that_do_not_overlap(size):
    runs = runs_of(LENGTHS, Pool(size=size), 0)
    assert len(runs) == min(10, max(1, round(size / 16)))
    frames = [(run.clip, frame) for run in runs for frame in range(run.start, run.stop)]
    assert len(set(frames)) == len(frames) == 16 * len(runs)
    assert all(run.stop <= LENGTHS[run.clip] for run in runs)
    assert "train/02" not in {run.clip for run in runs}


def test_the_seed_chooses_the_runs():
    assert runs_of(LENGTHS, Pool(size=48), 0) == runs_of(LENGTHS, Pool(size=48), 0)
    assert runs_of(LENGTHS, Pool(size=48), 0) != runs_of(LENGTHS, Pool(size=48), 1)


def test_a_run_is_read_back_from_its_name():
    run = Run("train/some@where", 32, 48)
    assert run_of(run.name, 16) == run


def test_every_frame_of_every_clip_has_a_seed_of_its_own():
    seeds = {tuple(frame_seed(0, clip, frame)) for clip in LENGTHS for frame in range(100)}
    assert len(seeds) == 300
