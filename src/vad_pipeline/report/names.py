"""Names of clips and kinds as figures can show them: they may be whatever a file or a label may be called."""

from functools import cache

import matplotlib
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

# after matplotlib's own font, whichever of these a machine has
FURTHER = (
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "Yu Gothic",
    "Hiragino Sans",
    "Arial Unicode MS",
)
FONTS = ["DejaVu Sans", *(name for name in FURTHER if name in {font.name for font in fontManager.ttflist})]
matplotlib.rcParams["font.family"] = FONTS  # texts take it over when they are made, some of them with their axes


def shown(name: str) -> str:
    """A name for a matplotlib text: never read as mathematics, and with escapes for what no font here can draw.

    >>> shown("gate_$1$")
    'gate_\\\\$1\\\\$'
    >>> shown("a\\nb")
    'a\\\\x0ab'
    """
    drawn = "".join(character if _drawable(character) else _escaped(character) for character in name)
    return drawn.replace("$", r"\$")


def _drawable(character: str) -> bool:
    return character.isprintable() and (character.isascii() or ord(character) in _glyphs())


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@cache
def _glyphs() -> frozenset[int]:
    """What the fonts of figures can draw."""
    charmaps = (get_font(findfont(FontProperties(family=name))).get_charmap() for name in FONTS)
    return frozenset(code for charmap in charmaps for code in charmap)
