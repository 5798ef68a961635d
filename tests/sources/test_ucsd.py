import shutil

import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table, mask_jobs, raw_clips
from vad_pipeline.sources.raw_clip import SourceError, Span
from vad_pipeline.sources.ucsd import UcsdConfig, read_spans, read_ucsd

SPANS = ["[2:3]", "[1:1, 4:4]"]


@pytest.fixture
def subset(tmp_path, write_image):
    """Writes a release in the official layout: two train and two test clips of four 12x8 frames, with masks."""

    def write(name="UCSDped2", above="UCSD_Anomaly_Dataset.v1p2", spans=SPANS, mask_name="{:03d}.bmp"):
        folder = tmp_path / above / name
        for clip in ("Train/Train001", "Train/Train002", "Test/Test001", "Test/Test002"):
            for t in range(1, 5):
                write_image(folder / clip / f"{t:03d}.tif", np.full((8, 12), 10 * t + int(clip[-1]), np.uint8))
        for number, abnormal in ((1, (2, 3)), (2, (1, 4))):
            for t in range(1, 5):
                mask = np.zeros((8, 12), np.uint8)
                mask[2:4, 5:9] = 255 if t in abnormal else 0
                write_image(folder / f"Test/Test{number:03d}_gt" / mask_name.format(t), mask)
        lines = [f"TestVideoFile{{end+1}}.gt_frame = {span};" for span in spans]
        (folder / "Test" / f"{name}.m").write_text("\n".join(["TestVideoFile = {};", *lines]))
        return folder

    return write


def extraction(root, **settings):
    return FrameExtraction("ucsd", ucsd={"root": str(root), **settings})


@pytest.mark.parametrize("mask_name", ["{:03d}.bmp", "frame{:03d}.bmp"])
def test_the_official_layout_gives_frames_labels_and_masks(tmp_path, subset, carry_out, mask_name):
    subset(mask_name=mask_name)
    config = extraction(tmp_path)
    frames = carry_out(frame_jobs(config))
    assert set(frames) == {"train/Train001", "train/Train002", "test/Test001", "test/Test002"}
    assert frames["test/Test002"].shape == (4, 8, 12, 1)
    assert frames["test/Test002"].fps == 10
    assert frames["test/Test002"].array()[:, 0, 0, 0].tolist() == [12, 22, 32, 42]
    labels = label_table(config, frames)
    assert labels[labels["clip"] == "test/Test001"]["label"].tolist() == [0, 1, 1, 0]
    assert labels[labels["clip"] == "test/Test002"]["label"].tolist() == [1, 0, 0, 1]
    assert len(labels) == 8
    masks = carry_out(mask_jobs(config, frames))
    assert set(masks) == {"test/Test001", "test/Test002"}
    assert masks["test/Test002"].array().sum(axis=(1, 2)).tolist() == [8, 0, 0, 8]


@pytest.mark.parametrize("root", [".", "UCSD_Anomaly_Dataset.v1p2", "UCSD_Anomaly_Dataset.v1p2/UCSDped2"])
def test_root_may_be_above_the_archive_the_archive_or_the_subset_itself(tmp_path, subset, root):
    folder = subset()
    clips = read_ucsd(UcsdConfig(str(tmp_path / root)))
    assert [raw.clip for raw in clips] == ["train/Train001", "train/Train002", "test/Test001", "test/Test002"]
    assert {raw.source for raw in clips} >= {str(folder / "Train/Train001")}


def test_root_may_hold_the_subset_without_the_archive_around_it(tmp_path, subset):
    subset(above="raw")
    assert len(read_ucsd(UcsdConfig(str(tmp_path / "raw")))) == 4


def test_root_may_be_the_working_directory_inside_the_subset(subset, monkeypatch):
    monkeypatch.chdir(subset())
    assert len(read_ucsd(UcsdConfig("."))) == 4


def test_ped1_is_read_from_its_own_folder_and_label_file(tmp_path, subset):
    subset("UCSDped1", spans=["[1:2, 4:4]", "[3:4]"])
    subset("UCSDped2")
    clips = {raw.clip: raw for raw in read_ucsd(UcsdConfig(str(tmp_path), "UCSDped1"))}
    assert clips["test/Test001"].spans == (Span(0, 2), Span(3, 4))
    assert "UCSDped1" in clips["train/Train001"].source


def test_the_other_subsets_folder_is_not_taken_for_the_one_asked_for(tmp_path, subset):
    with pytest.raises(SourceError, match="UCSDped1 not found"):
        read_ucsd(UcsdConfig(str(subset("UCSDped2")), "UCSDped1"))


def test_a_third_subset_is_refused():
    with pytest.raises(ValidationError, match="UCSDped1"):
        UcsdConfig("data", "UCSDped3")


def test_finder_leftovers_and_mask_folders_are_not_taken_for_clips_or_frames(tmp_path, subset):
    folder = subset()
    for place in (folder, folder / "Train", folder / "Test", folder / "Test/Test001", folder / "Test/Test001_gt"):
        (place / ".DS_Store").write_bytes(b"Bud1")
        (place / "._001.tif").write_bytes(b"Mac OS X")
        (place / "._001.bmp").write_bytes(b"Mac OS X")
    (folder / "Test/.AppleDouble").mkdir()
    clips = read_ucsd(UcsdConfig(str(tmp_path)))
    assert [raw.clip for raw in clips if raw.clip.startswith("test/")] == ["test/Test001", "test/Test002"]
    assert [len(list(raw.frames())) for raw in clips] == [4, 4, 4, 4]


def test_clips_are_matched_to_label_lines_in_numeric_order(tmp_path, subset, write_image):
    folder = subset(spans=["[1:1]", "[2:2]", "[3:3]"])
    for name in ("Test001", "Test002"):
        shutil.move(folder / "Test" / name, folder / "Test" / name.replace("00", ""))
        shutil.rmtree(folder / "Test" / f"{name}_gt")
    shutil.copytree(folder / "Test/Test2", folder / "Test/Test10")
    clips = raw_clips(extraction(tmp_path))
    assert [clip for clip in clips if clip.startswith("test/")] == ["test/Test1", "test/Test2", "test/Test10"]
    assert clips["test/Test10"].spans == (Span(2, 3),)


def test_a_missing_folder_says_what_to_put_where_or_how_to_do_without(tmp_path):
    with pytest.raises(SourceError) as error:
        read_ucsd(UcsdConfig(str(tmp_path / "raw")))
    text = str(error.value)
    assert text.startswith(f"UCSDped2 not found in {tmp_path / 'raw'}; unpack UCSD_Anomaly_Dataset.tar.gz there")
    assert str(tmp_path / "raw" / "UCSD_Anomaly_Dataset.v1p2" / "UCSDped2") in text
    assert "or run without --env to use the built-in scenes" in text


def test_a_split_without_clips_is_named(tmp_path, subset):
    folder = subset()
    shutil.rmtree(folder / "Train")
    (folder / "Train").mkdir()
    with pytest.raises(SourceError, match="Train holds no clips; unpack the archive again"):
        read_ucsd(UcsdConfig(str(tmp_path)))


@pytest.mark.parametrize("emptied", ["Train/Train002", "Test/Test001_gt"])
def test_an_empty_clip_folder_is_named(tmp_path, subset, emptied):
    folder = subset() / emptied
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(SourceError, match=rf"{folder}: no images"):
        read_ucsd(UcsdConfig(str(tmp_path)))


def test_a_missing_label_file_is_named(tmp_path, subset):
    (subset() / "Test/UCSDped2.m").unlink()
    with pytest.raises(SourceError, match=r"UCSDped2\.m is missing: it labels the test clips; unpack"):
        read_ucsd(UcsdConfig(str(tmp_path)))


def test_more_labelled_clips_than_clips_are_counted_in_the_error(tmp_path, subset):
    subset(spans=[*SPANS, "[1:2]"])
    with pytest.raises(SourceError, match=r"UCSDped2\.m: labels 3 test clips, 2 are on disk; unpack"):
        read_ucsd(UcsdConfig(str(tmp_path)))


def test_a_span_outside_the_clip_is_named(tmp_path, subset, carry_out):
    subset(spans=["[2:3]", "[3:5]"])
    config = extraction(tmp_path)
    frames = carry_out(frame_jobs(config))
    with pytest.raises(
        SourceError, match=r"clip test/Test002: the abnormal span of frames 3 to 5 .* 4 frames .*Test002"
    ):
        label_table(config, frames)


@pytest.mark.parametrize(("number", "said"), [(3, "3 masks for 4 frames"), (5, "more than 4 masks for 4 frames")])
def test_masks_unlike_the_frames_in_number_are_named(tmp_path, subset, carry_out, write_image, number, said):
    folder = subset() / "Test/Test002_gt"
    (folder / "004.bmp").unlink()
    for t in range(4, number + 1):
        write_image(folder / f"{t:03d}.bmp", np.zeros((8, 12), np.uint8))
    config = extraction(tmp_path)
    frames = carry_out(frame_jobs(config))
    with pytest.raises(SourceError, match=rf"clip test/Test002: {said} .*must be of one release"):
        carry_out(mask_jobs(config, frames))


def test_masks_unlike_the_frames_in_size_are_named(tmp_path, subset, carry_out, write_image):
    write_image(subset() / "Test/Test001_gt/002.bmp", np.zeros((9, 12), np.uint8))
    config = extraction(tmp_path)
    frames = carry_out(frame_jobs(config))
    with pytest.raises(SourceError, match="clip test/Test001: mask 2 is 12x9, the frames are 12x8"):
        carry_out(mask_jobs(config, frames))


@pytest.mark.parametrize("broken", ["Train/Train002/003.tif", "Test/Test001_gt/002.bmp"])
def test_a_truncated_file_of_the_release_is_named(tmp_path, subset, carry_out, cut_in_half, broken):
    path = subset() / broken
    cut_in_half(path)
    config = extraction(tmp_path)
    with pytest.raises(SourceError, match=rf"{path}: cannot be decoded"):  # noqa: PT012
        frames = carry_out(frame_jobs(config))
        carry_out(mask_jobs(config, frames))


def test_frames_of_two_sizes_in_one_clip_are_named(tmp_path, subset, carry_out, write_image):
    write_image(subset() / "Train/Train001/003.tif", np.zeros((8, 13), np.uint8))
    with pytest.raises(SourceError, match=r"clip train/Train001: .*003\.tif is 13x8 gray, 001\.tif is 12x8 gray"):
        carry_out(frame_jobs(extraction(tmp_path)))


def test_a_replaced_frame_makes_its_clip_new_and_only_its(tmp_path, subset, write_image):
    folder = subset()
    before = {raw.clip: raw for raw in read_ucsd(UcsdConfig(str(tmp_path), fingerprint="content"))}
    write_image(folder / "Train/Train001/003.tif", np.full((8, 12), 99, np.uint8))
    write_image(folder / "Test/Test001_gt/002.bmp", np.full((8, 12), 255, np.uint8))
    after = {raw.clip: raw for raw in read_ucsd(UcsdConfig(str(tmp_path), fingerprint="content"))}
    assert {c for c in before if before[c].fingerprint != after[c].fingerprint} == {"train/Train001"}
    assert {c for c in before if before[c].masks_fingerprint != after[c].masks_fingerprint} == {"test/Test001"}


@pytest.mark.parametrize(
    ("line", "spans"),
    [
        ("TestVideoFile{end+1}.gt_frame = [61:180];", [(60, 180)]),
        ("TestVideoFile{end+1}.gt_frame = [5:90, 140:200];", [(4, 90), (139, 200)]),
        ("TestVideoFile{end+1}.gt_frame=[5:90 140:200];", [(4, 90), (139, 200)]),
        ("  TestVideoFile{ end + 1 }.gt_frame\t=  [ 5 : 90 ,140: 200 ] ;\r", [(4, 90), (139, 200)]),
        ("TestVideoFile{end+1}.gt_frame = [7, 9:10]; % [1:2] was wrong", [(6, 7), (8, 10)]),
        ("TestVideoFile{end+1}.gt_frame = [5:90, ... the cart\n    140:200];", [(4, 90), (139, 200)]),
        ("TestVideoFile{end+1}.gt_frame = 61:180;", [(60, 180)]),
        ("TestVideoFile{end+1}.gt_frame = [];", []),
    ],
)
def test_a_label_line_is_read_however_it_is_spaced(tmp_path, line, spans):
    path = tmp_path / "UCSDped1.m"
    path.write_text(f"% TestVideoFile{{end+1}}.gt_frame = [1:2];\nTestVideoFile = {{}};\n\n{line}\n")
    assert read_spans(path) == [tuple(Span(start, stop) for start, stop in spans)]


@pytest.mark.parametrize(
    "value", ["[61:end]", "[61:2:180]", "[61:180", "[0:5]", "[9:5]", "", "zeros(1, 5)", "[61-180]"]
)
def test_a_label_line_that_cannot_be_read_is_quoted_not_taken_for_a_normal_clip(tmp_path, value):
    path = tmp_path / "UCSDped2.m"
    lines = ["TestVideoFile = {};", f"v.gt_frame = {value};", "v.gt_frame = [1:2];"]
    path.write_text("\n".join(lines))
    with pytest.raises(SourceError) as error:
        read_spans(path)
    assert f"UCSDped2.m, line 2: cannot read {lines[1]!r}; expected" in str(error.value)


@pytest.mark.ped2
def test_ped2_has_the_published_number_of_frames(ped2_root):
    clips = read_ucsd(UcsdConfig(str(ped2_root)))
    lengths = {raw.clip: sum(1 for _ in raw.frames()) for raw in clips if raw.clip.startswith("test/")}
    assert list(lengths.values()) == [180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180]
    train = [raw for raw in clips if raw.clip.startswith("train/")]
    assert len(train) == 16
    assert sum(1 for raw in train for _ in raw.frames()) == 2550
    assert next(train[0].frames()).shape == (240, 360, 1)


@pytest.mark.ped2
def test_the_masks_of_ped2_agree_with_its_spans_in_every_frame(ped2_root):
    abnormal = 0
    for raw in read_ucsd(UcsdConfig(str(ped2_root))):
        if raw.clip.startswith("test/"):
            assert raw.masks is not None
            masked = np.array([mask.any() for mask in raw.masks()])
            labels, _ = raw.labels(len(masked))
            np.testing.assert_array_equal(masked, labels == 1, err_msg=raw.clip)
            abnormal += int(labels.sum())
    assert abnormal == 1648
