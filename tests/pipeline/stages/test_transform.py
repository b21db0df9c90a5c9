"""Transform: the same text for any number of shards, and the same graph in serving."""

import itertools
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from conftest import inputs, text_of
from seeds import generator

from model.errors import InputError
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.text.code_points import NormalizedTextVocabulary, TextVocabulary
from model.text.normalization import TextNormalization
from pipeline.corpora import corpus
from pipeline.data import text_transform
from pipeline.data.records import read_index
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, transform
from serving.graph.export import export

LETTERS = [
    *"aAeEσΣßİ\0\U0010ffff",
    "\u0301",
    "\u0308",
    "\u0323",
    "가",
    "\u1100",
    "\u1161",
    "\u11a8",
    "1",
]


def random_text(characters, blanks):
    """Returns letters that compose and change with their neighbours, and a share of blanks."""
    rng = generator()
    letters = rng.choice(LETTERS, characters)
    letters[rng.random(characters) < blanks] = " "
    letters[rng.random(characters) < blanks / 9] = "\n"
    return "".join(letters)


def at_once(text, data):
    graph = TextNormalization(data.normalize, data.lowercase)
    return graph(tf.constant([text])).numpy()[0]


@pytest.mark.parametrize("blanks", [0.2, 0.0001, 0.0])
@pytest.mark.parametrize("shards", [1, 7])
def test_pieces_are_transformed_like_the_whole_text(private_store, tmp_path, blanks, shards):
    folder = tmp_path / "texts"
    folder.mkdir()
    texts = [random_text(60_000, blanks).encode() for _ in range(3)]
    for number, content in enumerate(texts):
        (folder / f"{number}.txt").write_bytes(content)
    data = DataConfig(
        split_by="document", train_fraction=0.6, shards=shards, normalize=True, lowercase=True
    )
    examples = example_gen.run(private_store, corpus.resolve(str(folder)), data)
    transformed = transform.run(private_store, examples, data)
    assert text_of(transformed, "train") == b"".join(at_once(t, data) for t in texts[:2])
    assert text_of(transformed, "eval") == at_once(texts[2], data)
    assert transform.Properties.read(transformed).corpus == "texts"
    shards = [shard for shard in read_index(transformed.path, "train") if shard.records]
    for before, after in itertools.pairwise(shards):
        assert before.last in (after.first, ("0.txt", len(texts[0])))
    assert shards[-1].last == ("1.txt", len(texts[1]))


def test_composition_matches_unicodedata(private_store, tmp_path):
    content = random_text(50_000, 0.1)
    (tmp_path / "text.txt").write_text(content, newline="")
    data = DataConfig(split_by="position", normalize=True)
    examples = example_gen.run(private_store, corpus.resolve(str(tmp_path / "text.txt")), data)
    transformed = transform.run(private_store, examples, data)
    for split in ("train", "eval"):
        expected = unicodedata.normalize("NFC", text_of(examples, split).decode())
        assert text_of(transformed, split).decode() == expected


def test_examples_pass_through_without_transformations(private_store, corpus_file):
    examples = example_gen.run(private_store, corpus.resolve(str(corpus_file)))
    assert transform.run(private_store, examples, DataConfig()) == examples
    assert text_transform.load(examples.path) is None


def test_the_position_of_invalid_utf8_is_named(private_store, tmp_path):
    (tmp_path / "text.txt").write_bytes(b"word " * 20_000 + b"\xff" + b" word" * 20_000)
    data = DataConfig(normalize=True)
    examples = example_gen.run(private_store, corpus.resolve(str(tmp_path / "text.txt")), data)
    with pytest.raises(InputError, match=r"text\.txt, byte 100000; fix .* --normalize"):
        transform.run(private_store, examples, data)


@pytest.mark.slow
def test_the_graph_is_in_the_served_model(private_store, tmp_path):
    (tmp_path / "text.txt").write_text("die Größe der Äpfel " * 500)
    data = DataConfig(normalize=True, lowercase=True)
    examples = example_gen.run(private_store, corpus.resolve(str(tmp_path / "text.txt")), data)
    transformed = transform.run(private_store, examples, data)
    symbols = sorted(set(text_of(transformed, "train").decode()))
    assert "Ä" not in symbols and "ä" in symbols
    vocabulary = NormalizedTextVocabulary(
        "unicode", tuple(map(ord, symbols)), text_transform.load(transformed.path)
    )
    model = CharacterModel(ModelConfig(layers=1, units=8), vocabulary.size)
    export(model, vocabulary, str(tmp_path / "1"))
    export(model, TextVocabulary("unicode", vocabulary.code_points), str(tmp_path / "2"))
    served, plain = (tf.saved_model.load(str(tmp_path / version)) for version in "12")
    as_typed = "GRÖSSE DER A\u0308PFEL".replace("SS", "ß")
    for signature, output in (("score", "log_probabilities"), ("embed", "embedding")):
        typed = served.signatures[signature](text=tf.constant([as_typed]))[output]
        read = plain.signatures[signature](text=tf.constant(["größe der äpfel"]))[output]
        np.testing.assert_array_equal(typed, read)
    texts = []
    for loaded, prompt in ((served, as_typed), (plain, "größe der äpfel")):
        given = inputs([prompt])
        del given["alternatives"]
        given = {name: tf.constant(value) for name, value in given.items()}
        texts.append(loaded.signatures["serving_default"](**given)["text"].numpy()[0])
    assert texts[0] == texts[1] and len(texts[0].decode()) == 8
    with pytest.raises(tf.errors.InvalidArgumentError, match="lacks the character"):
        plain.signatures["score"](text=tf.constant([as_typed]))
