"""The frames that a model sees at once, and which of them it scores."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """The frames that a model sees at once.

    Attributes:
        length: frames in a window.
        target: position in the window of the frame that is scored.
        apart: windows do not overlap and score all of their frames; the last one ends with the clip.
    """

    length: int
    target: int
    apart: bool = False

    def scored(self, n_frames: int) -> range:
        """Frames of a clip that get a score (spec 1.2); without ``apart`` windows start at every frame.

        >>> len(Window(5, 4).scored(180)), len(Window(16, 8).scored(180)), len(Window(16, 8, apart=True).scored(180))
        (176, 165, 180)
        """
        if self.apart:
            return range(n_frames if n_frames >= self.length else 0)
        return range(self.target, n_frames - self.length + self.target + 1)

    def starts(self, n_frames: int) -> range | list[int]:
        """First frames of the windows of a clip.

        >>> list(Window(5, 4).starts(7)), Window(16, 8, apart=True).starts(40)
        ([0, 1, 2], [0, 16, 24])
        """
        last = n_frames - self.length
        if not self.apart or last < 0:
            return range(last + 1)
        return sorted({*range(0, last + 1, self.length), last})

    def place(self, frame: int, n_frames: int) -> tuple[int, int]:
        """Start of the window that scores a frame, and the frame's position in it.

        >>> Window(5, 4).place(9, 40), Window(16, 8, apart=True).place(37, 40), Window(16, 8, apart=True).place(20, 40)
        ((5, 4), (24, 13), (16, 4))
        """
        if not self.apart:
            return frame - self.target, self.target
        start = frame - frame % self.length
        start = start if start + self.length <= n_frames else n_frames - self.length
        return start, frame - start
