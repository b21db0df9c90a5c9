"""What a file holds, told by its first bytes and not by its name."""

import re
import tarfile
from typing import Literal, NamedTuple

import filetype

SAMPLE = 8192
"""Bytes of the beginning of a file that its type is told by."""
CONTROL_SHARE = 0.05
"""Share of control characters, tabs and line ends aside, above which bytes are no text."""
UTF_16_SHARE = 0.3
"""Share of NULs at even or at odd positions above which bytes are UTF-16."""

_CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")


class FileType(NamedTuple):
    """The type of a file.

    Attributes:
      name: Name of the type, as in messages.
      role: How the file is read: "text" as it is, "packed" once unpacked to one text, "archive" as
        its members, and "other" not at all.
      remedy: What a user can do with a file that is not read.
    """

    name: str
    role: Literal["text", "packed", "archive", "other"]
    remedy: str = ""


TEXT = FileType("text", "text")
GZIP = FileType("gzip", "packed")
BZIP2 = FileType("bzip2", "packed")
XZ = FileType("xz", "packed")
ZSTD = FileType("zstd", "packed")
GETTEXT = FileType("gettext catalog", "packed")
ZIP = FileType("zip", "archive")
TAR = FileType("tar", "archive")

_UNPACK = "unpack it first"
_CONVERT = "convert it to text first"
_SIGNATURES = (
    (rb"\x1f\x8b\x08", GZIP),
    (rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)", BZIP2),
    (rb"\xfd7zXZ\0", XZ),
    (rb"\x28\xb5\x2f\xfd", ZSTD),
    (rb"\xde\x12\x04\x95|\x95\x04\x12\xde", GETTEXT),
    (rb"PK(\x03\x04|\x05\x06)", ZIP),
    (rb"7z\xbc\xaf\x27\x1c", FileType("7-Zip archive", "other", _UNPACK)),
    (rb"Rar!\x1a\x07", FileType("RAR archive", "other", _UNPACK)),
    (rb"\x04\x22\x4d\x18", FileType("LZ4 file", "other", _UNPACK)),
    (rb"LZIP\x01", FileType("lzip file", "other", _UNPACK)),
    (rb"\x1f[\x9d\xa0]", FileType("compress (.Z) file", "other", _UNPACK)),
    (rb"%PDF-[0-9]", FileType("PDF document", "other", f"{_CONVERT}, as with pdftotext")),
)
_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
# What a zip file is whose first member begins so.
_DOCUMENTS = (
    (b"[Content_Types].xml", "Office document"),
    (b"_rels/.rels", "Office document"),
    (b"mimetypeapplication/epub+zip", "EPUB book"),
    (b"mimetypeapplication/vnd.oasis.opendocument", "OpenDocument file"),
)
_ZIP_HEADER = 30  # bytes of the header of a member, before its name and content


def type_of(sample: bytes) -> FileType:
    """Returns the type of the file that begins with these bytes.

    Text is what has no NUL (git's rule), is not UTF-16 or UTF-32, and has few control characters;
    it may be in any encoding that agrees with ASCII.

    Args:
      sample: The first `SAMPLE` bytes of the file, or all if it is shorter.
    """
    for signature, found in _SIGNATURES:
        if re.match(signature, sample):
            return _document(sample) or found if found is ZIP else found
    if _is_tar(sample):
        return TAR
    if encoding := _wide_encoding(sample):
        remedy = f"convert it with `iconv -f {encoding} -t UTF-8`"
        return FileType(f"{encoding} text", "other", remedy)
    if b"\0" not in sample and len(_CONTROLS.findall(sample)) <= CONTROL_SHARE * len(sample):
        return TEXT
    known = filetype.guess(sample)
    return FileType(known.mime if known else "binary data", "other", _CONVERT)


def _is_tar(sample: bytes) -> bool:
    """Returns whether bytes begin with a member's header, whose checksum is right."""
    try:
        tarfile.TarInfo.frombuf(sample[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _document(sample: bytes) -> FileType | None:
    """Returns the type of a document that is stored as a zip file; None for a plain zip file."""
    for name, document in _DOCUMENTS:
        if sample.startswith(name, _ZIP_HEADER):
            return FileType(document, "other", _CONVERT)
    return None


def _wide_encoding(sample: bytes) -> str:
    """Returns the encoding of text whose code units have 2 or 4 bytes; empty for other bytes."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return encoding
    pairs = len(sample) // 2
    even, odd = sample[: 2 * pairs : 2].count(0), sample[1 : 2 * pairs : 2].count(0)
    if pairs > 1 and max(even, odd) > UTF_16_SHARE * pairs and not min(even, odd):
        return "UTF-16LE" if odd else "UTF-16BE"
    return ""
