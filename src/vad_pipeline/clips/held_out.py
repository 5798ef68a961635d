"""Normal footage that takes no part in training: whole clips, or the end of the only one."""

from collections.abc import Iterable, Mapping

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.window import FEWER, frames_of

Streams = Mapping[str, Clips]  # stream -> clips, the same ones in each


def split_held_out(streams: Streams, share: float, shortest: int = 1) -> tuple[dict[str, Clips], dict[str, Clips]]:
    """Training clips and held-out normal clips, of every stream.

    Of several clips, the held-out ones are spread evenly over their order, at least one where the share is positive. Of
    one clip the last part is held out, called ``train/01@270`` by its first frame, unless one of the two parts would be
    shorter than ``shortest`` frames.
    """
    names = list(next(iter(streams.values())))
    if share <= 0 or not names:
        return dict(streams), {stream: Clips({}) for stream in streams}
    if len(names) == 1:
        return _split_one(streams, names[0], share, shortest)
    n = min(max(1, round(share * len(names))), len(names) - 1)
    held = {names[int((i + 0.5) * len(names) / n)] for i in range(n)}
    return (
        {stream: Clips({c: clips[c] for c in names if c not in held}) for stream, clips in streams.items()},
        {stream: Clips({c: clips[c] for c in names if c in held}) for stream, clips in streams.items()},
    )


def with_parts(streams: Streams, names: Iterable[str]) -> dict[str, Clips]:
    """The streams with the parts of clips that are named in the manner of ``split_held_out``."""
    added: dict[str, dict[str, Clip]] = {stream: {} for stream in streams}
    for name in names:
        clip, _, first = name.rpartition("@")
        if any(clip not in clips for clips in streams.values()):
            continue  # a whole clip, or one that is not there any more
        n_frames = frames_of({stream: len(clips[clip]) for stream, clips in streams.items()})
        for stream, clips in streams.items():
            added[stream][name] = clips[clip].part(name, int(first), n_frames - FEWER.get(stream, 0))
    return {stream: Clips({**clips, **added[stream]}) for stream, clips in streams.items()}


def _split_one(streams: Streams, clip: str, share: float, shortest: int) -> tuple[dict[str, Clips], dict[str, Clips]]:
    n_frames = frames_of({stream: len(clips[clip]) for stream, clips in streams.items()})
    first = n_frames - max(round(share * n_frames), shortest)
    if first < shortest:
        return dict(streams), {stream: Clips({}) for stream in streams}
    name = f"{clip}@{first}"
    fitted, held = {}, {}
    for stream, clips in streams.items():
        fewer = FEWER.get(stream, 0)
        fitted[stream] = Clips({clip: clips[clip].part(clip, 0, first - fewer)})
        held[stream] = Clips({name: clips[clip].part(name, first, n_frames - fewer)})
    return fitted, held
