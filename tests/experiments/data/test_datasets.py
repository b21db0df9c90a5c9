"""Data sets: local copies and downloads, which are verified, and one line for what is missing."""

import functools
import gzip
import hashlib
import http.server
import io
import json
import lzma
import tarfile
import threading

import numpy as np
import pytest
from commands import run_module
from seeds import generator

from experiments.data import datasets
from experiments.data.data_files import DataFile, DataSet, members_sha256
from experiments.tasks import fitting
from experiments.tasks.finite_tasks import DigitImages, DigitVectors
from experiments.tasks.fitting import FitConfig
from experiments.tasks.nets import Net
from model.errors import InputError
from pipeline.store.artifacts import Store

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def idx(array):
    """The bytes of an array in the IDX format."""
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def data_set(contents, url="https://example.invalid/"):
    """A data set of files with these contents, whose addresses end in `.gz`."""
    files = [
        DataFile(name, f"{url}{name}.gz", len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    ]
    return DataSet(tuple(files), license="CC0-1.0", origin="the tests")


@pytest.fixture
def images(monkeypatch):
    """Random images with the names and the format of MNIST, by part."""
    random = generator()
    parts, contents = {}, {}
    for part, count in (("train", 30), ("t10k", 20)):
        pixels = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = random.integers(0, 10, count).astype(np.uint8)
        parts[part] = pixels, labels
        contents[f"{part}-images-idx3-ubyte"] = idx(pixels)
        contents[f"{part}-labels-idx1-ubyte"] = idx(labels)
    monkeypatch.setitem(datasets.DATA_SETS, "mnist", data_set(contents))
    return parts, contents


def write(folder, contents, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_bytes(PACK[suffix](content))
    return str(folder)


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("nested", [False, True], ids=["in the folder", "in a folder of its name"])
def test_a_local_copy_is_read_packed_or_not(tmp_path, images, suffix, nested):
    parts, contents = images
    write(tmp_path / "mnist" if nested else tmp_path, contents, suffix)
    for found, expected in zip(datasets.mnist(str(tmp_path)), parts.values(), strict=True):
        np.testing.assert_array_equal(found.images, expected[0])
        np.testing.assert_array_equal(found.labels, expected[1])


def test_tasks_read_the_folder_that_they_are_given(tmp_path, images):
    (train, _), (tested, labels) = images[0].values()
    folder = write(tmp_path, images[1], ".gz")
    vectors = DigitVectors("mnist").in_folder(folder)
    held_out = vectors.held_out()
    np.testing.assert_allclose(held_out.inputs, tested.reshape(20, 784) / 255, rtol=1e-6)
    np.testing.assert_array_equal(held_out.labels, labels)
    drawn = vectors.draw(np.array([1, 2], np.int32), 100).inputs.numpy()
    known = {(image / np.float32(255)).tobytes() for image in train.reshape(30, 784)}
    assert {row.tobytes() for row in drawn} <= known
    patches = DigitImages("mnist", 7).in_folder(folder).held_out().inputs
    assert patches.shape == (20, 4, 4, 49)
    np.testing.assert_allclose(patches[3, 1, 2], tested[3, 7:14, 14:21].ravel() / 255, rtol=1e-6)


def test_a_fit_is_the_same_whichever_folder_the_data_are_in(tmp_path, images):
    store, config = Store(str(tmp_path / "root")), FitConfig(examples=64, test_every=64)
    task, net = DigitVectors("mnist"), Net("highway", 1, 4)
    folders = [write(tmp_path / name, images[1]) for name in "ab"]
    with store.writing():
        first, second = (fitting.run(store, task.in_folder(f), net, config) for f in folders)
    assert first.path == second.path


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda packed: packed[:-20], r"t10k-labels\S+\.gz is damaged"),
        (lambda packed: b"no gzip file", r"t10k-labels\S+\.gz is damaged"),
        (lambda packed: packed[:30] + b"\xff" * 9 + packed[39:], "is damaged"),
        (lambda packed: gzip.compress(b"short"), "unpacks to 5 bytes with SHA-256 .* expected 28"),
        (lambda packed: gzip.compress(bytes(10**7)), "unpacks to more than 28 bytes"),
        (
            lambda packed: gzip.compress(gzip.decompress(packed)[:-1] + b"\xff"),
            "unpacks to 28 bytes with SHA-256 .* expected 28 .* another version",
        ),
    ],
)
def test_a_file_that_is_not_the_published_one_is_refused(tmp_path, images, change, problem):
    folder = write(tmp_path, images[1], ".gz")
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=problem) as caught:
        datasets.require(["mnist"], folder)
    assert "\n" not in str(caught.value)
    assert "; replace it by https://example.invalid/t10k-labels-idx1-ubyte.gz" in str(caught.value)


@pytest.fixture
def mirror(tmp_path, monkeypatch, images):
    """A web server with the images, which the cache is filled from, and the paths asked for."""
    write(tmp_path / "web", images[1], ".gz")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(tmp_path / "web"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setitem(datasets.DATA_SETS, "mnist", data_set(images[1], url))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path / "web", asked
    server.shutdown()
    server.server_close()


def cached():
    """The names of the files in the cache."""
    return sorted(path.name for path in datasets.cache_folder().rglob("*") if path.is_file())


def test_a_data_set_is_downloaded_once(mirror, images):
    _, asked = mirror
    for _ in range(2):
        assert datasets.read("mnist") == images[1]
        assert len(asked) == 4
    assert cached() == sorted(f"{name}.gz" for name in images[1])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.unlink(), r"ubyte\.gz cannot be downloaded \(HTTP status 404\); name a"),
        (
            lambda path: path.write_bytes(bytes(10**6)),
            "has more than the .* bytes that are allowed; .* --data",
        ),
        (lambda path: path.write_bytes(gzip.compress(b"other")), "unpacks to 5 bytes"),
    ],
    ids=["missing", "too large", "another version"],
)
def test_a_download_that_fails_leaves_nothing(mirror, change, problem):
    folder, _ = mirror
    change(folder / "train-images-idx3-ubyte.gz")
    with pytest.raises(InputError, match=problem):
        datasets.require(["mnist"])
    assert not cached()


@pytest.fixture
def pieces(monkeypatch):
    """A data set of one text that is published in three pieces, and the pieces by name."""
    contents = {f"text.{piece:03}": generator().bytes(100) for piece in range(3)}
    whole = b"".join(contents.values())

    def register(url="https://example.invalid/"):
        digest = hashlib.sha256(whole).hexdigest()
        files = (DataFile("text", f"{url}text", len(whole), digest, pieces=3),)
        found = DataSet(files, license="CC0-1.0", origin="the tests")
        monkeypatch.setitem(datasets.DATA_SETS, "pieces", found)

    register()
    return register, contents, {"text": whole}


@pytest.mark.parametrize("suffix", PACK)
def test_a_file_in_pieces_may_be_whole_in_a_local_copy(tmp_path, pieces, suffix):
    _, contents, whole = pieces
    for number, copy in enumerate((contents, whole)):
        folder = write(tmp_path / str(number), copy, suffix)
        assert datasets.read("pieces", folder) == whole


def test_pieces_of_another_version_are_refused(tmp_path, pieces):
    _, contents, _ = pieces
    folder = write(tmp_path, {**contents, "text.001": bytes(10**6)})
    with pytest.raises(InputError, match=r"more than 300 bytes .* by https://.*/text\.000"):
        datasets.read("pieces", folder)
    (tmp_path / "text.002").unlink()
    with pytest.raises(InputError, match="holds no text of pieces"):
        datasets.read("pieces", folder)


def test_pieces_are_downloaded_once(mirror, pieces):
    (web, asked), (register, contents, whole) = mirror, pieces
    write(web, contents)
    register(datasets.DATA_SETS["mnist"].files[0].url.rpartition("/")[0] + "/")
    for _ in range(2):
        assert datasets.read("pieces") == whole
        assert len(asked) == 3
    assert cached() == sorted(contents)


def test_chorales_are_piano_rolls_of_quarters(tmp_path, monkeypatch):
    pieces = {"train": [[[60, 64], [], [21, 108]]], "valid": [], "test": [[[70]]]}
    contents = {"jsb-chorales-quarter.json": json.dumps(pieces).encode()}
    monkeypatch.setitem(datasets.DATA_SETS, "jsb", data_set(contents))
    found = datasets.chorales(write(tmp_path, contents, ".xz"))
    assert list(found) == ["train", "valid", "test"] and not found["valid"]
    (roll,) = found["train"]
    assert roll.shape == (3, 88)
    assert [list(np.flatnonzero(step)) for step in roll] == [[39, 43], [], [0, 87]]


def tar(contents, folder="recordings/", mode="w"):
    """A tar archive with these contents, in a folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, errors="surrogateescape") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def recordings(monkeypatch):
    """Files with the names of the Free Spoken Digit Dataset."""
    random = generator()
    contents = {
        f"{digit}_{speaker}_{index}.wav": random.bytes(200)
        for digit in (0, 7)
        for speaker in ("george", "lucas")
        for index in (0, 11)
    }
    size, digest = sum(map(len, contents.values())), members_sha256(contents)
    url = "https://example.invalid/v1.tar.gz"
    files = (DataFile("recordings.tar", url, size, digest, members=".wav"),)
    monkeypatch.setitem(datasets.DATA_SETS, "fsdd", DataSet(files, "CC0-1.0", "the tests"))
    return contents


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("folder", ["recordings/", "free-spoken-digit-dataset-1.0/recordings/"])
def test_an_archive_is_known_by_its_members(tmp_path, recordings, suffix, folder):
    """Whatever else it holds, and in whatever order."""
    shuffled = dict(reversed([*recordings.items(), ("README.md", b"read me")]))
    write(tmp_path, {"recordings.tar": tar(shuffled, folder)}, suffix)
    found = datasets.spoken_digits(str(tmp_path))
    assert [(f"{r.digit}_{r.speaker}_{r.number}.wav", r.wav) for r in found] == sorted(
        recordings.items()
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda contents: {**contents, "1_george_0.wav": b"one more"}, "unpacks to more than"),
        (
            lambda contents: dict([*contents.items()][1:]),
            "unpacks to 1,400 bytes .* expected 1,600",
        ),
        (
            lambda contents: {name[:-5] + "9.wav": c for name, c in contents.items()},
            "damaged or another version",
        ),
        (
            lambda contents: {**contents, "bomb": bytes(10**7)},
            "unpacks to more than 4,197,504 bytes",
        ),
        (
            lambda contents: {f"{number}.txt": b"" for number in range(9_000)},
            "unpacks to more than 4,197,504 bytes",
        ),
        (lambda contents: {**contents, "other/0_george_0.wav": b""}, "two files 0_george_0.wav"),
        (lambda contents: {**contents, "\udce9.wav": b"Latin-1"}, "damaged or another version"),
    ],
    ids=["one more", "one less", "renamed", "large", "many", "twice", "Latin-1"],
)
def test_an_archive_with_other_members_is_refused(tmp_path, recordings, change, problem):
    write(tmp_path, {"recordings.tar": tar(change(recordings))}, ".xz")
    with pytest.raises(InputError, match=problem) as caught:
        datasets.require(["fsdd"], str(tmp_path))
    assert "\n" not in str(caught.value) and "; replace it by https://" in str(caught.value)


@pytest.mark.parametrize("content", [b"no archive at all", b""])
def test_what_is_no_archive_is_refused(tmp_path, recordings, content):
    write(tmp_path, {"recordings.tar": content})
    with pytest.raises(InputError, match=r"recordings\.tar is damaged"):
        datasets.require(["fsdd"], str(tmp_path))


@pytest.mark.parametrize("command", [["run", "images"], ["point", "images", "seed=0"]], ids=str)
def test_a_folder_without_the_data_set_is_refused_before_the_work(tmp_path, command):
    finished = run_module(
        *("experiments", *command, "--scale", "full"),
        *("--data", tmp_path, "--root", tmp_path / "root"),
    )
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert "holds no train-images-idx3-ubyte of mnist" in line and "--data" in line
    assert not list((tmp_path / "root").rglob("Fitting*"))


def test_registered_data_sets_state_what_is_needed_to_verify_them():
    for name, found in datasets.DATA_SETS.items():
        assert found.license and found.origin, name
        for file in found.files:
            # A file without a published address is read from --data alone.
            assert not file.url or file.url.startswith("https://")
            assert file.size > 0
            assert len(bytes.fromhex(file.sha256)) == 32
