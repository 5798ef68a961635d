import gzip
import pickle

import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table, mask_jobs, raw_clips
from vad_pipeline.sources.idx_images import IdxImagesConfig, read_idx_images
from vad_pipeline.sources.raw_clip import SourceError, Span

TRAIN, TEST = [5, 0, 5, 1, 0, 5], [1, 5, 0, 5]
IMAGES, LABELS = 2051, 2049


def content_of(array, magic):
    sizes = [magic, *array.shape]
    return b"".join(size.to_bytes(4, "big") for size in sizes) + array.astype(np.uint8).tobytes()


def images_of(n, first=0):
    """n images 28x28, each of one gray value, from ``first`` on, and a white pixel that tells rows from columns."""
    images = np.repeat(np.arange(first, first + n), 28 * 28).reshape(n, 28, 28)
    images[:, 2, 25] = 255
    return images


@pytest.fixture
def write(tmp_path):
    """Writes the four files with the given labels, names and (un)gzipped."""

    def write(train=TRAIN, test=TEST, dot="-", gz="", root=tmp_path):
        root.mkdir(exist_ok=True)
        for stem, labels, first in (("train", train, 10), ("t10k", test, 100)):
            for name, content in (
                (f"{stem}-images{dot}idx3-ubyte", content_of(images_of(len(labels), first), IMAGES)),
                (f"{stem}-labels{dot}idx1-ubyte", content_of(np.array(labels), LABELS)),
            ):
                (root / f"{name}{gz}").write_bytes(gzip.compress(content) if gz else content)
        return root

    return write


def extraction(root, **settings):
    return FrameExtraction("idx_images", idx_images={"root": str(root), **settings})


def refused(root, **settings):
    """The message with which the description of the clips, or else their reading, is refused."""
    with pytest.raises(SourceError) as error:  # noqa: PT012
        for raw in raw_clips(extraction(root, **settings)).values():
            list(raw.frames())
    return str(error.value)


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
def test_the_four_files_give_a_clip_per_split_and_class_in_order(write, carry_out, dot, gz):
    config = extraction(write(dot=dot, gz=gz))
    frames = carry_out(frame_jobs(config))
    values = {clip: frames[clip].array()[:, 0, 0, 0].tolist() for clip in raw_clips(config)}
    assert set(values) == set(frames)
    assert values == {
        "train/0": [11, 14],
        "train/1": [13],
        "train/5": [10, 12, 15],
        "test/0": [102],
        "test/1": [100],
        "test/5": [101, 103],
    }
    five = frames["train/5"]
    assert (five.shape, five.dtype, five.fps) == ((3, 28, 28, 1), "uint8", None)
    assert (five.array()[:, 2, 25] == 255).all()
    assert (five.array()[:, 25, 2] != 255).all()


def test_some_files_may_be_gzipped_and_others_not(write, tmp_path):
    write()
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert len(raw_clips(extraction(tmp_path))) == 6


def test_a_normal_class_has_the_only_training_clip_and_the_others_are_abnormal(write, carry_out):
    config = extraction(write(), normal_class=5)
    frames = carry_out(frame_jobs(config))
    assert set(frames) == {"train/5", "test/0", "test/1", "test/5"}
    assert raw_clips(config)["train/5"].spans == ()
    labels = label_table(config, frames)
    assert labels["clip"].tolist() == ["test/0", "test/1", "test/5", "test/5"]
    assert labels["label"].tolist() == [1, 1, 0, 0]
    assert labels["kind"].tolist() == ["class/0", "class/1", "", ""]
    assert mask_jobs(config, frames) == {}


def test_without_a_normal_class_test_images_are_unlabelled(write, carry_out):
    config = extraction(write())
    assert {raw.spans for clip, raw in raw_clips(config).items() if clip.startswith("test/")} == {None}
    assert len(label_table(config, carry_out(frame_jobs(config)))) == 0


def test_an_abnormal_clip_is_so_from_its_first_image_to_its_last(write):
    assert raw_clips(extraction(write(), normal_class=0))["test/5"].spans == (Span(0, 2, "class/5"),)


def test_describing_the_clips_decompresses_no_image(write, tmp_path):
    write(gz=".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:16]))
    raw = raw_clips(extraction(tmp_path))["train/0"]
    with pytest.raises(SourceError, match=r"0 bytes after the head, which promises 4704; the file is truncated"):
        next(raw.frames())


def test_a_clip_can_be_sent_to_another_process(write):
    raw = pickle.loads(pickle.dumps(raw_clips(extraction(write()))["train/5"]))
    assert [int(image[0, 0, 0]) for image in raw.frames()] == [10, 12, 15]


def fingerprints(config):
    return {clip: job.fingerprint for clip, job in frame_jobs(config).items()}


def test_another_normal_class_makes_no_clip_new(write):
    root = write()
    every = fingerprints(extraction(root))
    assert len(set(every.values())) == 6
    assert fingerprints(extraction(root, normal_class=5)).items() <= every.items()


@pytest.mark.parametrize("mode", ["stat", "content"])
def test_other_images_make_the_clips_of_their_split_new(write, tmp_path, mode):
    root = write()
    before = fingerprints(extraction(root, fingerprint=mode))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content_of(images_of(4, 50), IMAGES))
    after = fingerprints(extraction(root, fingerprint=mode))
    assert {clip for clip in before if before[clip] != after[clip]} == {"test/0", "test/1", "test/5"}


def test_other_labels_make_the_clips_new_whose_images_they_change(write, tmp_path):
    root = write()
    before = fingerprints(extraction(root))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(content_of(np.array([5, 0, 0, 1, 0, 5]), LABELS))
    after = fingerprints(extraction(root))
    assert {clip for clip in before if before[clip] != after[clip]} == {"train/0", "train/5"}


def test_a_content_fingerprint_outlives_copying(write, tmp_path):
    one, other = (extraction(write(root=tmp_path / name), fingerprint="content") for name in ("one", "other"))
    assert fingerprints(one) == fingerprints(other)


@pytest.mark.parametrize(
    "name",
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
)
def test_a_missing_file_is_named_and_where_to_put_it(write, tmp_path, name):
    (write() / name).unlink()
    said = refused(tmp_path)
    assert said.startswith(f"{tmp_path / name} is missing, also with .gz; put the data set's four idx files into")


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
@pytest.mark.parametrize("kept", [-1, 9, 2, 0])
def test_a_truncated_file_is_named(write, kind, gz, kept):
    path = write(gz=gz) / f"t10k-{kind}-ubyte{gz}"
    path.write_bytes(path.read_bytes()[:kept])
    said = refused(path.parent)
    assert said.startswith(f"{path}: ")
    assert "the file is truncated" in said
    assert said.endswith("fetch it again")


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_a_gzipped_file_whose_content_is_truncated_is_named(write, kind):
    path = write(gz=".gz") / f"train-{kind}-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    assert f"{path}: " in (said := refused(path.parent))
    assert "bytes after the head, which promises" in said
    assert "truncated" in said


@pytest.mark.parametrize("damage", ["middle", "checksum", "no gzip"])
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_a_damaged_gzipped_file_is_named(write, kind, damage):
    path = write(gz=".gz") / f"train-{kind}-ubyte.gz"
    content = bytearray(path.read_bytes())
    if damage == "middle":
        content[12:16] = b"\xff" * 4
    elif damage == "checksum":
        content[-8] ^= 1
    else:
        content = bytearray(b"<!DOCTYPE html><title>404</title>")
    path.write_bytes(content)
    assert refused(path.parent).startswith(f"{path}: cannot be read (")


@pytest.mark.parametrize("gz", ["", ".gz"])
def test_a_file_of_another_magic_number_is_named(write, gz):
    root = write(gz=gz)
    images, labels = (root / f"train-{kind}-ubyte{gz}" for kind in ("images-idx3", "labels-idx1"))
    kept = labels.read_bytes()
    labels.write_bytes(images.read_bytes())
    said = refused(root)
    assert said.startswith(f"{labels}: magic number 2051, that of idx labels is 2049; this is another file")
    labels.write_bytes(kept)
    images.write_bytes(kept)
    assert refused(root).startswith(f"{images}: magic number 2049, that of idx images is 2051; this is another file")


def test_a_gzipped_file_without_the_suffix_is_told(write):
    path = write() / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert refused(path.parent).endswith("a gzipped one whose name does not end with .gz")


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_bytes_after_the_end_are_refused(write, kind, gz):
    path = write(gz=gz) / f"train-{kind}-ubyte{gz}"
    content = (gzip.decompress(path.read_bytes()) if gz else path.read_bytes()) + b"\0"
    path.write_bytes(gzip.compress(content) if gz else content)
    promised = 6 * 28 * 28 if kind.startswith("images") else 6
    said = refused(path.parent)
    assert said.startswith(f"{path}: {promised + 1} bytes after the head, which promises {promised}; what trails")


def test_images_of_another_size_are_refused(write):
    path = write() / "train-images-idx3-ubyte"
    path.write_bytes(content_of(np.zeros((6, 20, 16)), IMAGES))
    assert f"{path}: images of 16x20 pixels, this source reads 28x28; " in refused(path.parent)


@pytest.mark.parametrize("n", [3, 5])
def test_more_or_fewer_labels_than_images_are_counted(write, n):
    path = write() / "t10k-labels-idx1-ubyte"
    path.write_bytes(content_of(np.arange(n), LABELS))
    said = refused(path.parent)
    assert said.startswith(f"{path}: {n} labels for the 4 images of t10k-images-idx3-ubyte; both files must be of one")


def test_a_label_outside_the_ten_classes_is_named(write):
    root = write(test=[1, 5, 10, 200])
    said = refused(root)
    assert said.startswith(f"{root / 't10k-labels-idx1-ubyte'}: image 3 (counted from 1) is of class 10, classes are 0")


@pytest.mark.parametrize("normal_class", [None, 5])
@pytest.mark.parametrize(("test", "said"), [([5, 5], "2 test images are all of class 5"), ([], "0 test images")])
def test_fewer_than_two_classes_are_refused(write, normal_class, test, said):
    root = write(test=test)
    message = refused(root, normal_class=normal_class)
    assert message.startswith(f"{root / 't10k-images-idx3-ubyte'}: the {said}")
    assert message.endswith("give test images of at least two")


def test_no_training_images_are_refused(write):
    assert "there are no training images" in refused(write(train=[]))


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ([0, 1], [0, 1, 5], r"train-images-idx3-ubyte: no training image is of normal_class 5; .* \(0, 1\)"),
        ([0, 5], [0, 1], r"t10k-images-idx3-ubyte: no test image is of normal_class 5; .* \(0, 1\)"),
    ],
)
def test_a_normal_class_without_images_is_refused(write, train, test, said):
    with pytest.raises(SourceError, match=said):
        read_idx_images(IdxImagesConfig(str(write(train, test)), normal_class=5))


@pytest.mark.parametrize("normal_class", [-1, 10, "T-shirt"])
def test_a_normal_class_outside_the_ten_is_refused(write, normal_class):
    with pytest.raises(ValidationError, match="normal_class"):
        raw_clips(extraction(write(), normal_class=normal_class))


@pytest.mark.mnist
def test_mnist_has_the_published_number_of_images_in_each_class(mnist_root):
    clips = raw_clips(extraction(mnist_root))
    test = [sum(1 for _ in clips[f"test/{digit}"].frames()) for digit in range(10)]
    assert test == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert sum(test) == 10_000
    train = np.concatenate([np.stack(list(clips[f"train/{digit}"].frames())) for digit in range(10)])
    assert train.shape == (60_000, 28, 28, 1)
    # the constants by which everybody normalises MNIST
    assert (train / np.float32(255)).mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert train.std(dtype=np.float64) / 255 == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.mnist
def test_a_digit_of_mnist_is_learnt_from_alone_and_all_test_images_are_labelled(mnist_root, carry_out):
    config = extraction(mnist_root, normal_class=8)
    frames = carry_out(frame_jobs(config))
    assert [clip for clip in frames if clip.startswith("train/")] == ["train/8"]
    assert frames["train/8"].shape == (5851, 28, 28, 1)
    labels = label_table(config, frames)
    assert len(labels) == 10_000
    assert int(labels["label"].sum()) == 10_000 - 974
    assert labels["kind"].nunique() == 10  # nine digits and ""
