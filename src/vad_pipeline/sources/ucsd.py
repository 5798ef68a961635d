"""UCSD Ped1 and Ped2 in their official layout (spec 8.2).

``UCSDped2/{Train/Train001/001.tif .., Test/Test001/001.tif .., Test/Test001_gt/001.bmp .., Test/UCSDped2.m}``,
as unpacked from ``UCSD_Anomaly_Dataset.tar.gz``. Mahadevan et al., Anomaly Detection in Crowded Scenes, CVPR 2010.
"""

import re
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.fingerprint import files_fingerprint
from vad_pipeline.clips.names import natural_key
from vad_pipeline.sources.images import list_images, read_frames, read_masks
from vad_pipeline.sources.raw_clip import RawClip, SourceError, Span

ARCHIVE = "UCSD_Anomaly_Dataset.v1p2"
FPS = 10.0  # as the data set's page states


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UcsdConfig:
    """UCSD Ped1 and Ped2 in their official layout.

    Attributes:
        root: folder that holds ``UCSD_Anomaly_Dataset.v1p2`` or ``UCSDped2``, or either of these themselves.
        subset: which of the two walkways.
        fingerprint: what makes a clip new: ``stat`` (path, size and time of its files) or ``content``.
    """

    root: str
    subset: Literal["UCSDped1", "UCSDped2"] = "UCSDped2"
    fingerprint: Literal["stat", "content"] = "stat"


def read_ucsd(config: UcsdConfig) -> list[RawClip]:
    """The clips of one subset; test clips carry spans and, where the release has them, pixel masks.

    Raises:
        SourceError: the folder is missing or empty, or the ``.m`` file does not label every test clip.
    """
    folder = find_subset(Path(config.root), config.subset)
    train = _clip_folders(folder / "Train")
    test = _clip_folders(folder / "Test")
    spans = read_spans(folder / "Test" / f"{config.subset}.m")
    if len(spans) != len(test):
        raise SourceError(
            f"{folder / 'Test' / (config.subset + '.m')}: labels {len(spans)} test clips, {len(test)} are on disk; "
            "unpack the archive again"
        )
    clips = [_raw_clip(config, f"train/{path.name}", path, ()) for path in train]
    for path, labelled in zip(test, spans, strict=True):
        clips.append(_raw_clip(config, f"test/{path.name}", path, labelled))
    return clips


def find_subset(root: Path, subset: str) -> Path:
    """The folder that holds ``Train`` and ``Test``, looked for inside and above the archive's own folder."""
    for folder in (root / subset, root / ARCHIVE / subset, root):
        if (folder / "Train").is_dir() and (folder / "Test").is_dir():
            if folder == root and subset not in (root.name, root.resolve().name):
                continue
            return folder
    raise SourceError(
        f"{subset} not found in {root}; unpack UCSD_Anomaly_Dataset.tar.gz there, so that {root / ARCHIVE / subset} or "
        f"{root / subset} holds Train and Test, or run without --env to use the built-in scenes"
    )


def read_spans(path: Path) -> list[tuple[Span, ...]]:
    """Abnormal spans per test clip from a line each like ``TestVideoFile{end+1}.gt_frame = [5:90, 140:200];``
    (frames counted from 1, end inclusive).

    Raises:
        SourceError: the file is missing or a line cannot be read; a list that cannot be read is never taken for an
            empty one, which would declare the clip normal.
    """
    if not path.is_file():
        raise SourceError(f"{path} is missing: it labels the test clips; unpack the archive again")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    text = "\n".join(re.sub(r"(%|\.\.\.).*", "", line) for line in lines)  # comments and line continuations
    clips = []
    for found in re.finditer(r"gt_frame\s*=\s*(\[[^\]]*\]|[^\[;\n]*)", text):
        value = found.group(1).strip()
        ranges = re.split(r"[,;\s]+", re.sub(r"\s*:\s*", ":", value.strip("[]")).strip())
        bounds = [re.fullmatch(r"(\d+)(?::(\d+))?", part) for part in ranges if part]
        spans = [Span(int(b.group(1)) - 1, int(b.group(2) or b.group(1))) for b in bounds if b is not None]
        if not value or None in bounds or any(not 0 <= span.start < span.stop for span in spans):
            number = text.count("\n", 0, found.start())
            raise SourceError(
                f"{path}, line {number + 1}: cannot read {lines[number].strip()!r}; expected frames counted from 1, "
                "as in gt_frame = [61:180, 200:210];"
            )
        clips.append(tuple(spans))
    return clips


def _clip_folders(folder: Path) -> list[Path]:
    """Clip folders in numeric order, without the ``_gt`` folders and hidden ones."""
    clips = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and not p.name.endswith("_gt")]
    if not clips:
        raise SourceError(f"{folder} holds no clips; unpack the archive again")
    return sorted(clips, key=lambda path: natural_key(path.name))


def _raw_clip(config: UcsdConfig, clip: str, folder: Path, spans: tuple[Span, ...]) -> RawClip:
    images = tuple(list_images(folder))
    ground_truth = folder.with_name(f"{folder.name}_gt")
    masks = tuple(list_images(ground_truth)) if ground_truth.is_dir() else None
    return RawClip(
        clip=clip,
        fingerprint=files_fingerprint(images, content=config.fingerprint == "content"),
        frames=partial(read_frames, images, clip),
        source=str(folder),
        fps=FPS,
        spans=spans,
        masks=partial(read_masks, masks) if masks else None,
        masks_fingerprint=files_fingerprint(masks, content=config.fingerprint == "content") if masks else "",
    )
