"""Checksums of files: known values, pieces, and those of earlier versions."""

import hashlib
import json
import subprocess

from common import checksums
from pipeline.data.records import Shard, index_text, read_index

EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"""BLAKE3 of nothing, from its published test vectors."""


def test_checksums_match_the_published_algorithms(tmp_path):
    path = tmp_path / "file"
    path.touch()
    assert checksums.of_file(str(path)) == f"blake3:{EMPTY}"
    path.write_bytes(bytes(range(256)) * 9000)
    known = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    assert checksums.of_file(str(path), "sha256") == f"sha256:{known.stdout.split()[0]}"


def test_a_checksum_does_not_depend_on_the_pieces(tmp_path):
    content = bytes(range(256)) * 9000
    path = tmp_path / "file"
    path.write_bytes(content)
    pieces = checksums.Hash()
    for start in range(0, len(content), 77_777):
        pieces.update(content[start : start + 77_777])
    assert pieces.checksum == checksums.of_file(str(path))


def test_a_file_is_compared_with_its_checksum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"as it was")
    earlier = f"sha256:{hashlib.sha256(b'as it was').hexdigest()}"
    written = checksums.of_file(str(path))
    assert checksums.matches(str(path), earlier) and checksums.matches(str(path), written)
    path.write_bytes(b"as it is")
    assert not checksums.matches(str(path), earlier) and not checksums.matches(str(path), written)
    assert not checksums.matches(str(path), "crc0:1")


def test_an_index_of_an_earlier_version_is_read(tmp_path):
    shard = Shard("data_tfrecord-0", 1, 2, 2, 0, ("a", 0), ("a", 2), "sha256:0f")
    (entry,) = json.loads(index_text([shard]))
    entry["sha256"] = entry.pop("checksum").removeprefix("sha256:")
    index = tmp_path / "Split-train" / "index.json"
    index.parent.mkdir()
    index.write_text(json.dumps([entry]))
    assert read_index(str(tmp_path), "train") == [shard]
