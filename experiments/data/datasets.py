"""Data sets by name: where they come from, and their content, verified before it is used.

A data set is read from a local copy that the user names by `--data`, or else is downloaded once
into the cache of the user. To add one, add an entry to `DATA_SETS`.
"""

import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from common import files
from common.progress import progress_bar
from experiments.data.data_files import OPEN, DataFile, DataSet, verified
from model.errors import InputError
from pipeline.corpora.download import DownloadError, download

PITCHES = range(21, 109)
"""MIDI notes of the keys of a piano."""

_OVERHEAD = 1 << 12
"""Bytes by which a packed file may be larger than its content."""

# The page of the authors, http://yann.lecun.com/exdb/mnist/, refers to mirrors; this is the one
# that TensorFlow uses.
_MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_JSB_URL = (
    "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/"
    "9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/"
)
_TANAKA_URL = (
    "https://raw.githubusercontent.com/odashi/small_parallel_enja/"
    "bc6f160498e5f97a286ff679173e7f6ba9321d9f/"
)

DATA_SETS: dict[str, DataSet] = {
    "mnist": DataSet(
        files=(
            DataFile(
                "train-images-idx3-ubyte",
                f"{_MNIST_URL}train-images-idx3-ubyte.gz",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            DataFile(
                "train-labels-idx1-ubyte",
                f"{_MNIST_URL}train-labels-idx1-ubyte.gz",
                60_008,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            DataFile(
                "t10k-images-idx3-ubyte",
                f"{_MNIST_URL}t10k-images-idx3-ubyte.gz",
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            DataFile(
                "t10k-labels-idx1-ubyte",
                f"{_MNIST_URL}t10k-labels-idx1-ubyte.gz",
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        license="CC-BY-SA-3.0",
        origin="Y. LeCun, C. Cortes, C. J. C. Burges",
    ),
    "fsdd": DataSet(
        files=(
            DataFile(
                "recordings.tar",
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/"
                "v1.0.10.tar.gz",
                21_128_848,
                "e0fb762c9bab2821a71965f6a9ac29ac25698541430c8a8b7c54ea3e49cc7afe",
                members=".wav",
            ),
        ),
        license="CC-BY-SA-4.0",
        origin="Z. Jackson and others, https://github.com/Jakobovski/free-spoken-digit-dataset",
    ),
    "jsb": DataSet(
        files=(
            DataFile(
                "jsb-chorales-quarter.json",
                f"{_JSB_URL}jsb-chorales-quarter.json",
                407_200,
                "2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91",
            ),
        ),
        license="public domain",
        origin="J. S. Bach; split of Boulanger-Lewandowski, Bengio, Vincent, arXiv 1206.6392",
    ),
    "bible": DataSet(
        files=(
            DataFile(
                "en-web.tsv",
                "",
                5_413_192,
                "63adcb04f7b43dcf52909657b6cb48df8b6107a5ff99de9bec0aa6f340f6eace",
            ),
        ),
        license="public domain",
        origin="World English Bible, a verse per line: book, chapter, verse and text between tabs",
    ),
    "tanaka-ja-en": DataSet(
        files=(
            DataFile(
                "train.ja",
                f"{_TANAKA_URL}train.ja",
                2_784_447,
                "fc81a1434349ec98a449d7ae9cd2530057f689637684ecfed3501ea6a8a07ecc",
                pieces=5,
            ),
            DataFile(
                "train.en",
                f"{_TANAKA_URL}train.en",
                1_701_356,
                "148b05dcd28638fe20ee84f2b1127001c80982be352007dda241fb759adadc76",
                pieces=5,
            ),
            DataFile(
                "dev.ja",
                f"{_TANAKA_URL}dev.ja",
                27_781,
                "cd534f56b8639dc130f86a365e5ec0aa70042000bdd740a622fbbf8b6be4acca",
            ),
            DataFile(
                "dev.en",
                f"{_TANAKA_URL}dev.en",
                17_054,
                "04a2673449770657fd5e3b963cb856be3130923212b6db8ac7eaeef18f06c041",
            ),
            DataFile(
                "test.ja",
                f"{_TANAKA_URL}test.ja",
                27_793,
                "d37dc460a81b064e4106c8913eb11fa300da05cf3f58a7a5bbfec7e20947ddef",
            ),
            DataFile(
                "test.en",
                f"{_TANAKA_URL}test.en",
                17_301,
                "45edb380749ec2b49cca7618fc5a7595fc9f791180672ba466b90c873a4aa8bf",
            ),
        ),
        license="CC-BY-2.0",
        origin="Tanaka corpus, by the French licence; selected and split into words by Y. Oda, "
        "https://github.com/odashi/small_parallel_enja",
    ),
}


def require(names: Iterable[str], folder: str | None = None) -> None:
    """Checks that data sets are there and undamaged, and downloads those that may be downloaded.

    Args:
      names: Names of data sets; without a folder those that are read from one alone are left out.
      folder: Local copy, as for `read`.

    Raises:
      InputError: As `read`.
    """
    for name in names:
        if folder or all(file.url for file in DATA_SETS[name].files):
            read(name, folder)


def read(name: str, folder: str | None = None) -> dict[str, bytes]:
    """Returns the files of a data set, unpacked.

    Args:
      name: Name of the data set, in `DATA_SETS`.
      folder: Folder of a local copy, in which its files lie themselves or in a folder with the name
        of the data set, packed by gzip or xz or not. Default: the cache of the user, into which
        missing files are downloaded.

    Returns:
      The content of each file, by its name; of an archive that of its members, by theirs.

    Raises:
      InputError: If a file is missing and cannot be downloaded, is damaged, or is another version.
    """
    contents = {}
    for file in DATA_SETS[name].files:
        paths = _in_folder(name, file, folder) if folder else _in_cache(name, file)
        contents.update(verified(paths, file))
    return contents


def _in_folder(name: str, file: DataFile, folder: str) -> list[pathlib.Path]:
    """Returns the path of a file of a local copy, or those of its pieces."""
    for place in (pathlib.Path(folder, name), pathlib.Path(folder)):
        for endings in (("",), file.endings):
            for suffix in OPEN:
                paths = [place / f"{file.name}{ending}{suffix}" for ending in endings]
                if all(path.is_file() for path in paths):
                    return paths
    otherwise = ", or leave --data out to download it" if file.url else ""
    raise InputError(
        f"{folder} holds no {file.name} of {name}, packed (.gz, .xz) or not; name a folder with it "
        f"by --data{otherwise}"
    )


def cache_folder() -> pathlib.Path:
    """Returns the folder of downloads: `grid-lstm/datasets` in $XDG_CACHE_HOME or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root, "grid-lstm", "datasets")


def _in_cache(name: str, file: DataFile) -> list[pathlib.Path]:
    """Returns the paths of a downloaded file; it is downloaded and verified if it is missing."""
    if not file.url:
        raise InputError(
            f"{file.name} of {name} is not published as a file of its own; name a folder with it "
            "by --data"
        )
    place = cache_folder() / name
    paths = [place / f"{os.path.basename(file.url)}{ending}" for ending in file.endings]
    if all(path.is_file() for path in paths):
        return paths
    place.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=place) as folder,
        progress_bar(f"{name}: {file.name}", "bytes") as progress,
    ):
        fetched = []
        for ending in file.endings:
            url = f"{file.url}{ending}"
            try:
                found = download(url, folder, file.size + _OVERHEAD, progress)
            except DownloadError as error:
                raise InputError(
                    f"{error.problem}; name a folder with {file.name} of {name} by --data, or "
                    "check the network"
                ) from error
            fetched.append(pathlib.Path(found.path))
        verified(fetched, file, f"give a folder with {file.name} of {name} by --data")
        for source, path in zip(fetched, paths, strict=True):
            files.rename(str(source), str(path))
    return paths


class LabelledImages(NamedTuple):
    """Images and their classes.

    Attributes:
      images: Pixels `[images, height, width]`, uint8.
      labels: Classes `[images]`, uint8.
    """

    images: np.ndarray
    labels: np.ndarray


def mnist(folder: str | None = None) -> tuple[LabelledImages, LabelledImages]:
    """Returns the 60,000 images of MNIST to train on and the 10,000 to test on.

    Args:
      folder: Local copy; see `read`.
    """
    content = read("mnist", folder)
    train, test = (
        LabelledImages(
            idx_array(content[f"{part}-images-idx3-ubyte"]),
            idx_array(content[f"{part}-labels-idx1-ubyte"]),
        )
        for part in ("train", "t10k")
    )
    return train, test


def idx_array(content: bytes) -> np.ndarray:
    """Returns an array of bytes in the IDX format of MNIST.

    The format is two zero bytes, 8 for bytes, the number of dimensions, each dimension as a
    big-endian integer of 4 bytes, and the elements in C order.

    Args:
      content: Content of the file, verified.
    """
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def chorales(folder: str | None = None) -> Mapping[str, list[np.ndarray]]:
    """Returns Bach's chorales by part, "train", "valid" and "test".

    Args:
      folder: Local copy; see `read`.

    Returns:
      Piano rolls `[steps, 88]`, boolean, one per piece; a step is a quarter note.
    """
    parts: dict[str, Any] = json.loads(read("jsb", folder)["jsb-chorales-quarter.json"])
    return {part: [_piano_roll(piece) for piece in pieces] for part, pieces in parts.items()}


def _piano_roll(piece: list[list[int]]) -> np.ndarray:
    roll = np.zeros([len(piece), len(PITCHES)], bool)
    for step, pitches in enumerate(piece):
        roll[step, [pitch - PITCHES.start for pitch in pitches]] = True
    return roll


class Recording(NamedTuple):
    """A recording of a spoken digit.

    Attributes:
      digit: The digit, 0 to 9.
      speaker: Name of the speaker.
      number: Number of the recording among those of the digit and the speaker, from 0. The official
        test split are those below 5.
      wav: The file: 8,000 samples per second of 16 bits, one channel.
    """

    digit: int
    speaker: str
    number: int
    wav: bytes


def spoken_digits(folder: str | None = None) -> list[Recording]:
    """Returns the 3,000 recordings of the Free Spoken Digit Dataset, by file name.

    Args:
      folder: Local copy; see `read`.
    """
    recordings = []
    for name, wav in sorted(read("fsdd", folder).items()):
        digit, speaker, index = name.removesuffix(".wav").split("_")
        recordings.append(Recording(int(digit), speaker, int(index), wav))
    return recordings
