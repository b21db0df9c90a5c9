"""Recordings by Beam: records, splits, statistics and batches, against NumPy on the same files."""

import io
import tarfile
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from recordings import wav_of
from seeds import generator
from spoken_tones import LETTERS, RATE, write_corpus

from model.errors import InputError
from model.speech.ctc import NO_LABEL
from model.speech.log_mel import log_mel_spectrogram
from pipeline.corpora.corpus import resolve_mixture
from pipeline.corpora.discovery import Rules
from pipeline.data import recording_statistics
from pipeline.data.recording_batches import RecordedSplit, steps_per_epoch
from pipeline.data.recordings import first_recordings
from pipeline.data.spectrograms import log_mel_of
from pipeline.settings import DataConfig, RecognitionConfig
from pipeline.stages import label_schema_gen, recording_example_gen, recording_statistics_gen

CONFIG = RecognitionConfig(sample_rate=RATE)
DATA = DataConfig(split_by="hash", train_fraction=0.8, shards=3)


def examples_of(store, path, data=DATA, config=CONFIG):
    mixture = resolve_mixture([str(path)], rules=Rules(allow_binary=True))
    return recording_example_gen.run(store, mixture, config, data)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoken") / "tones"
    return folder, write_corpus(folder, generator(), 60)


def test_each_recording_is_in_one_split_as_it_is(private_store, corpus):
    folder, texts = corpus
    examples = examples_of(private_store, folder)
    train, evaluation = (
        {one.source: one for one in first_recordings(examples.path, split, 100)}
        for split in ("train", "eval")
    )
    assert train.keys() | evaluation.keys() == texts.keys() and not train.keys() & evaluation.keys()
    assert 36 < len(train) < 58
    for name, one in (train | evaluation).items():
        assert one.transcript == texts[name] and one.audio == (folder / name).read_bytes()


def test_an_archive_holds_the_same_recordings(private_store, corpus, tmp_path):
    folder, texts = corpus
    with tarfile.open(tmp_path / "tones.tar.xz", "w:xz") as archive:
        archive.add(folder, "all")
    examples = examples_of(private_store, tmp_path / "tones.tar.xz")
    found = [
        one for split in ("train", "eval") for one in first_recordings(examples.path, split, 100)
    ]
    names = {one.source.removeprefix("tones.tar.xz/all/"): one.transcript for one in found}
    assert names == texts


def test_transcripts_may_name_the_splits(private_store, corpus, tmp_path):
    folder, texts = corpus
    lines = [
        f"{name}\t{text}\t{'eval' if name < '010' else 'train'}" for name, text in texts.items()
    ]
    (tmp_path / "splits.tsv").write_text("\n".join(lines))
    mixture = resolve_mixture(
        [str(folder)], rules=Rules(allow_binary=True), transcripts=str(tmp_path / "splits.tsv")
    )
    examples = recording_example_gen.run(private_store, mixture, CONFIG, DATA)
    evaluated = {one.source for one in first_recordings(examples.path, "eval", 100)}
    assert evaluated == {f"{number:03}.wav" for number in range(10)}


def test_statistics_are_those_of_numpy(private_store, corpus):
    folder, _ = corpus
    examples = examples_of(private_store, folder)
    artifact = recording_statistics_gen.run(private_store, examples, CONFIG)
    found = recording_statistics.read(artifact.path, "train")
    train = list(first_recordings(examples.path, "train", 100))
    assert found.characters == Counter("".join(one.transcript for one in train))
    samples = [tf.audio.decode_wav(one.audio).audio[:, 0] for one in train]
    frames = np.concatenate([log_mel_spectrogram(one, log_mel_of(CONFIG)) for one in samples])
    np.testing.assert_allclose(found.mean, frames.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(found.scale, frames.std(axis=0, dtype=np.float64), rtol=1e-4)
    assert found.periods == Counter(len(one) * 2 // RATE for one in samples)
    assert found.seconds == pytest.approx(sum(map(len, samples)) / RATE, abs=0.1)
    schema = label_schema_gen.run(private_store, artifact)
    assert label_schema_gen.read_labels(schema.path) == LETTERS


def test_batches_hold_each_recording_once_and_whole(private_store, corpus):
    folder, _ = corpus
    examples = examples_of(private_store, folder)
    train = list(first_recordings(examples.path, "train", 100))
    split = RecordedSplit(examples.path, "train", "ab", RATE)
    passes = [
        list(split.training_batches(8, 1, epoch, mean_bytes=4_000).as_numpy_iterator())
        for epoch in (0, 0, 1)
    ]
    artifact = recording_statistics_gen.run(private_store, examples, CONFIG)
    periods = recording_statistics.read(artifact.path, "train").periods
    for batches in passes:
        assert len(batches) == steps_per_epoch(periods, 8)
        rows = []
        for samples, lengths, labels in batches:
            assert len({length * 2 // RATE for length in lengths}) == 1
            for row, length, ids in zip(samples, lengths, labels, strict=True):
                assert not row[length:].any()
                text = "".join("ab"[label] for label in ids if label != NO_LABEL)
                rows.append((wav_of(row[:length], RATE), text))
        # The letter that is no label is left out.
        assert Counter(rows) == Counter(
            (one.audio, one.transcript.replace("c", "")) for one in train
        )
    first, again, other = ([lengths.tolist() for _, lengths, _ in one] for one in passes)
    assert first == again and first != other


@pytest.mark.parametrize(
    "content,message",
    [
        (b"RIFF", r"bad.wav is truncated: it ends at byte 4"),
        (b"no sound at all", r"bad.wav is no WAV file: RIFF is not at byte 0"),
        (wav_of(np.zeros(800), 16_000), r"bad.wav has 16000 samples per second \(byte 24\)"),
        (wav_of(np.zeros([900, 2])), r"bad.wav has 2 channels \(byte 22\), not one"),
        (wav_of(np.zeros(100)), r"bad.wav has 100 samples at byte 44; record at least 200"),
        (bytes(600_000), r"bad.wav has 600,000 bytes, a recording of 30 seconds"),
    ],
)
def test_a_bad_recording_is_named(private_store, tmp_path, content, message):
    write_corpus(tmp_path / "tones", generator(), 4)
    (tmp_path / "tones" / "bad.wav").write_bytes(content)
    with (tmp_path / "tones" / "transcripts.tsv").open("a") as file:
        file.write("bad.wav\ta\n")
    with pytest.raises(InputError, match=message):
        examples_of(private_store, tmp_path / "tones")
    assert private_store.paths("ExampleGen") == []


def test_a_transcript_that_does_not_fit_is_named(private_store, tmp_path):
    write_corpus(tmp_path / "tones", generator(), 12)
    transcripts = tmp_path / "tones" / "transcripts.tsv"
    lines = transcripts.read_text().splitlines()
    transcripts.write_text("\n".join([lines[0] + "a" * 200, *lines[1:]]))
    examples = examples_of(private_store, tmp_path / "tones")
    with pytest.raises(InputError, match=r"000.wav has \d+ frames, and the 20\d characters of its"):
        recording_statistics_gen.run(private_store, examples, CONFIG)


def test_a_silent_band_is_only_centred(private_store, tmp_path):
    """The deviation of what is constant is rounding."""
    (tmp_path / "silence").mkdir()
    lines = []
    for number in range(6):
        (tmp_path / "silence" / f"{number}.wav").write_bytes(wav_of(np.zeros(20_000), RATE))
        lines.append(f"{number}.wav\ta\n")
    (tmp_path / "silence" / "transcripts.tsv").write_text("".join(lines))
    data = DataConfig(split_by="document", train_fraction=0.5)
    examples = examples_of(private_store, tmp_path / "silence", data)
    artifact = recording_statistics_gen.run(private_store, examples, CONFIG)
    assert (recording_statistics.read(artifact.path, "train").scale == 1).all()


@pytest.mark.parametrize("content", [b"", b"a.wav\ta\n"])
def test_transcripts_are_one_file(private_store, tmp_path, content):
    write_corpus(tmp_path / "tones", generator(), 4)
    with tarfile.open(tmp_path / "texts.tar", "w") as archive:
        for name in ("1.tsv", "2.tsv"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    mixture = resolve_mixture(
        [str(tmp_path / "tones")],
        rules=Rules(allow_binary=True),
        transcripts=str(tmp_path / "texts.tar"),
    )
    with pytest.raises(InputError, match=r"holds (2 files; name the one|no text)"):
        recording_example_gen.run(private_store, mixture, CONFIG, DATA)


def test_a_split_without_recordings_is_refused(private_store, tmp_path):
    write_corpus(tmp_path / "tones", generator(), 1)
    with pytest.raises(InputError, match="split has none of the 1 recordings; give more of them"):
        examples_of(private_store, tmp_path / "tones")
