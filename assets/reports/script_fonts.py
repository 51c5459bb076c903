"""Fonts for scripts that Inter and DejaVu lack: which of them a text needs, and their files.

They are kept compressed, as WOFF; `fonts/manifest.json` says where they come from. An HTML file takes them so, and
Typst takes them unpacked.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "fonts"
_HEADER, _ENTRY = struct.Struct(">4s4sLH30x"), struct.Struct(">4sLLLL")


@dataclass(frozen=True)
class ScriptFont:
    """A font by its family's name: its weights, each with its file, and characters that it may draw."""

    family: str
    files: tuple[tuple[int, str], ...]
    blocks: re.Pattern[str]

    def unpacked(self) -> dict[str, bytes]:
        """The files as TrueType, by name."""
        return {f"{Path(name).stem}.ttf": unpacked((FOLDER / name).read_bytes()) for _, name in self.files}


SCRIPT_FONTS = (
    ScriptFont(
        "Noto Sans Devanagari",
        ((400, "NotoSansDevanagari-Regular.woff"), (600, "NotoSansDevanagari-SemiBold.woff")),
        re.compile("[\u0900-\u097f\u1cd0-\u1cff\ua8e0-\ua8ff]"),
    ),
    ScriptFont(
        "Droid Sans Fallback",  # Chinese, Japanese and Korean
        ((400, "DroidSansFallback.woff"),),
        re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef]"),
    ),
)


def needed(text: str) -> list[ScriptFont]:
    """The fonts for the scripts of a text beside the usual ones."""
    return [font for font in SCRIPT_FONTS if font.blocks.search(text)]


def unpacked(woff: bytes) -> bytes:
    """The font of a WOFF 1.0 file as TrueType or OpenType (https://www.w3.org/TR/WOFF/)."""
    _, flavor, _, count = _HEADER.unpack_from(woff)
    power = count.bit_length() - 1
    directory = struct.pack(">4sHHHH", flavor, count, 16 << power, power, 16 * count - (16 << power))
    tables, offset = b"", len(directory) + 16 * count
    for i in range(count):
        tag, start, length, original, checksum = _ENTRY.unpack_from(woff, _HEADER.size + _ENTRY.size * i)
        table = woff[start : start + length]
        table = zlib.decompress(table) if length < original else table
        directory += struct.pack(">4sLLL", tag, checksum, offset + len(tables), original)
        tables += table + bytes(-original % 4)
    return directory + tables
