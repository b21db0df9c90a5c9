"""Sampling and scoring against plain Python."""

import dataclasses
import re
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from conftest import needs_integer_products
from seeds import generator

from model.errors import InputError
from model.execution.plan import PLAIN
from model.language_model import sampling
from model.language_model.character_model import CharacterModel
from model.language_model.config import Architecture, ModelConfig
from model.language_model.drawing import sampler, uniform_numbers
from model.language_model.forward import CharacterState
from model.language_model.frozen import freeze
from model.language_model.inspection import inspect
from model.language_model.losses import character_losses
from model.language_model.sampling import (
    MAX_STOP,
    embed,
    generate,
    initial_state,
    read,
    score,
)
from model.text.code_points import TextVocabulary
from model.text.vocabulary import PADDING

TEXTS = ["", "abba", "a"]


@pytest.fixture(scope="module", params=["bytes", "unicode"])
def character_unit(request):
    """What a character is."""
    return request.param


ARCHITECTURES = [
    one if one in ("grid", "stacked") else pytest.param(one, marks=pytest.mark.slow)
    for one in get_args(Architecture)
]


@pytest.fixture(params=ARCHITECTURES, scope="module")
def model(request):
    return CharacterModel(ModelConfig(architecture=request.param, layers=2, units=8), 3)


@pytest.fixture
def vocabulary():
    return TextVocabulary.of("bytes", b"abc")


def choices(batch, temperature=1.0, top_k=0, top_p=1.0):
    return {
        "temperature": tf.fill([batch], float(temperature)),
        "top_k": tf.fill([batch], top_k),
        "top_p": tf.fill([batch], float(top_p)),
    }


def seeds(batch, seed=0):
    return seed + tf.range(batch, dtype=tf.int64)


def generate_text(model, vocabulary, prompts, lengths, seed=0, **arguments):
    generated = generate(
        model,
        vocabulary.encode(tf.constant(prompts)),
        tf.constant(lengths),
        **choices(len(prompts), **arguments),
        seed=seeds(len(prompts), seed),
    )
    return vocabulary.decode(generated.ids).numpy(), generated


def test_a_row_does_not_depend_on_the_rest_of_the_batch(model, vocabulary):
    together, generated = generate_text(model, vocabulary, TEXTS, [5, 9, 0], seed=3)
    assert [len(text) for text in together] == [5, 9, 0]
    alone, _ = generate_text(model, vocabulary, TEXTS[1:2], [9], seed=4)
    assert alone[0] == together[1]
    np.testing.assert_array_equal(generated.log_probabilities[0, 5:], 0)


def test_texts_of_no_length_are_read_only(model, vocabulary):
    texts, generated = generate_text(model, vocabulary, TEXTS, [0, 0, 0])
    assert list(texts) == [b"", b"", b""] and generated.alternatives.shape == (3, 0, 0)
    read_only = read(model, vocabulary.encode(tf.constant(TEXTS)), initial_state(model, 3))
    for found, expected in zip(
        tf.nest.flatten(generated.state), tf.nest.flatten(read_only), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_log_probabilities_of_generated_text_are_its_score(model, vocabulary):
    texts, generated = generate_text(model, vocabulary, [""], [12])
    bits, scores = score(model, vocabulary.encode(tf.constant(texts)))
    np.testing.assert_allclose(generated.log_probabilities, scores, rtol=1e-5)
    np.testing.assert_allclose(bits[0], -np.mean(scores) / np.log(2), rtol=1e-5)


def test_temperature_zero_takes_the_likeliest(model, vocabulary):
    first, _ = generate_text(model, vocabulary, ["ab"], [6], temperature=0, seed=1)
    second, _ = generate_text(model, vocabulary, ["ab"], [6], temperature=0, seed=2)
    assert first == second


def test_random_numbers_are_uniform_and_independent_of_the_cut():
    seeds = tf.constant([0, 1, 2, -1, 2**40], tf.int64)
    whole = uniform_numbers(seeds, tf.zeros([5], tf.int32), 40_000).numpy()
    assert whole.min() >= 0 and whole.max() < 1
    counts = np.stack([np.histogram(row, 50, (0, 1))[0] for row in whole])
    # Chi squared with 49 degrees of freedom is above 100 once in 10^5 times.
    assert (((counts - 800) ** 2 / 800).sum(axis=1) < 100).all()
    assert np.abs(np.corrcoef(whole) - np.eye(5)).max() < 0.03
    assert np.abs([np.corrcoef(row[1:], row[:-1])[0, 1] for row in whole]).max() < 0.03
    part = uniform_numbers(seeds, tf.constant([7, 0, 39_000, 5, 9]), 100).numpy()
    for row, first in enumerate((7, 0, 39_000, 5, 9)):
        np.testing.assert_array_equal(part[row], whole[row, first : first + 100])


def test_draws_follow_the_distribution():
    probabilities = np.array([0.5, 0.1, 0.4])
    draws = 20_000
    logits = tf.tile(tf.constant(np.log(probabilities)[None], tf.float32), [draws, 1])
    uniform = tf.constant(generator().random(draws), tf.float32)

    def frequencies(**arguments):
        ids = sampler(**choices(draws, **arguments), size=3)(logits, uniform)
        return np.bincount(ids, minlength=3) / draws

    np.testing.assert_allclose(frequencies(), probabilities, atol=0.02)
    np.testing.assert_allclose(frequencies(top_k=2), [5 / 9, 0, 4 / 9], atol=0.02)
    np.testing.assert_allclose(frequencies(top_p=0.45), [1, 0, 0])
    np.testing.assert_allclose(frequencies(top_p=0.6), [5 / 9, 0, 4 / 9], atol=0.02)
    squared = probabilities**2 / np.sum(probabilities**2)
    np.testing.assert_allclose(frequencies(temperature=0.5), squared, atol=0.02)


def test_how_a_row_is_drawn_does_not_depend_on_the_others():
    rows, size = 200, 7
    rng = generator()
    mixed = (
        tf.constant(rng.choice([0.0, 0.5, 1.0], rows), tf.float32),
        tf.constant(rng.choice([0, 2, size], rows), tf.int32),
        tf.constant(rng.choice([0.6, 1.0], rows), tf.float32),
    )
    logits = tf.constant(rng.normal(size=(rows, size)), tf.float32)
    uniform = tf.constant(rng.random(rows), tf.float32)
    together = sampler(*mixed, size)(logits, uniform)
    for row in range(rows):
        alone = slice(row, row + 1)
        draw = sampler(*(part[alone] for part in mixed), size)
        assert draw(logits[alone], uniform[alone])[0] == together[row]


PRECISIONS = pytest.mark.parametrize(
    "precision,bound",
    [
        ("float32", 1e-5),
        ("bfloat16", 2e-2),
        pytest.param("int8", 6e-2, marks=needs_integer_products),
    ],
)


def largest(values):
    return np.abs(values).max()


def root_mean_square(values):
    return np.sqrt(np.mean(np.square(values)))


def assert_steps_equal_the_whole_sequence(config, precision, bound, vocabulary=11):
    """Returns the frozen model that took the steps."""
    quantized = precision == "int8"
    # Hidden vectors of a new net are small, and integers have steps of 1/127. Where a step tips a
    # gate, that is the largest error by far, so that only the mean of all has a bound.
    size, scale = (root_mean_square, 1.0) if quantized else (largest, 0.0)
    config = dataclasses.replace(config, layers=3, units=20, init_scale=scale)
    model = CharacterModel(config, vocabulary, PLAIN)
    for gain in (one for one in model.weights if one.name.endswith("gain")):
        gain.assign(generator().uniform(0.5, 1.5, gain.shape))
    for up in (one for one in model.weights if one.name.endswith("up_kernel")):
        up.assign(generator().normal(size=up.shape))
    ids = tf.constant(generator().integers(0, vocabulary, (4, 7)), tf.int32)
    expected, after = model(ids, model.initial_state(4))
    frozen = freeze(model, precision)
    step, state, logits = tf.function(frozen.decode_step()), frozen.initial_state(4), []
    for position in range(7):
        scores, made = step(state)
        state = CharacterState(ids[:, position], *made.state)
        logits.append(scores)
    for found, wanted in ((tf.stack(logits), expected), (state.hidden, after.hidden)):
        assert size(found - wanted) < bound * size(wanted)
    return frozen


@pytest.mark.parametrize("precision,bound", [("float32", 1e-5), ("bfloat16", 0.02)])
@pytest.mark.parametrize("architecture", ["residual_lstm", "highway_lstm", "rhn"])
def test_steps_of_other_nets_equal_the_whole_sequence(architecture, precision, bound):
    config = ModelConfig(architecture=architecture)
    for vocabulary, kept in ((11, 1), (500, 0)):
        net = assert_steps_equal_the_whole_sequence(config, precision, bound, vocabulary)
        assert len(net.packed.table) == kept


@pytest.mark.parametrize("tied", ["none", "all"])
@PRECISIONS
def test_steps_of_normalised_grids_equal_the_whole_sequence(tied, precision, bound):
    config = ModelConfig(tied=tied, layer_normalization=True)
    # Rounding errors grow where gates with a small deviation are normalised.
    bound = 2 * bound if precision == "int8" else bound
    assert_steps_equal_the_whole_sequence(config, precision, bound)


@pytest.mark.parametrize("tied", ["none", "all"])
@pytest.mark.parametrize("precision,bound", [("float32", 1e-5), ("bfloat16", 0.02)])
def test_steps_of_mogrified_grids_equal_the_whole_sequence(tied, precision, bound):
    config = ModelConfig(tied=tied, mogrifier_rounds=3, mogrifier_rank=4)
    assert_steps_equal_the_whole_sequence(config, precision, bound)


def test_mogrified_grids_refuse_integers():
    """Their gates lie between 0 and 2."""
    model = CharacterModel(ModelConfig(units=8, mogrifier_rounds=2), 5)
    assert not model.core.is_bounded
    with pytest.raises(InputError, match="within 1 of 0"):
        freeze(model, "int8")


@pytest.mark.parametrize("tied", ["none", "depth", "all"])
@pytest.mark.parametrize("depth_priority", [True, False])
@PRECISIONS
def test_steps_equal_the_whole_sequence(tied, depth_priority, precision, bound):
    config = ModelConfig(tied=tied, depth_priority=depth_priority)
    assert_steps_equal_the_whole_sequence(config, precision, bound)


@PRECISIONS
def test_steps_of_a_stacked_net_equal_the_whole_sequence(precision, bound):
    assert_steps_equal_the_whole_sequence(ModelConfig("stacked"), precision, bound)


@pytest.mark.parametrize("config", [ModelConfig(tied="all"), ModelConfig("stacked")])
@PRECISIONS
def test_the_product_table_is_made_for_small_vocabularies_only(config, precision, bound):
    for vocabulary, kept in ((11, 1), (500, 0)):
        net = assert_steps_equal_the_whole_sequence(config, precision, bound, vocabulary)
        assert len(net.packed.table) == kept


def test_nets_whose_vectors_are_not_bounded_refuse_integers(model):
    """Trainings export 8-bit integers where the core says that its vectors are bounded."""
    assert model.core.is_bounded == (model.config.architecture not in ("rhn", "residual_lstm"))
    if not model.core.is_bounded:
        with pytest.raises(InputError, match="within 1 of 0"):
            freeze(model, "int8")


@needs_integer_products
@pytest.mark.parametrize(
    "config", [ModelConfig(units=20, tied="all"), ModelConfig("stacked", units=20)]
)
def test_a_quantized_net_scores_as_it_samples(config):
    model = CharacterModel(config, 3)
    model = freeze(model, "int8")
    ids = tf.constant([[0, 1, 2, 0], [2, 1, PADDING, PADDING], [PADDING] * 4])
    step = tf.function(model.decode_step())
    state = model.initial_state(3)
    after = [state]
    for position in range(4):
        scores, made = step(state)
        state = CharacterState(tf.maximum(ids[:, position], 0), *made.state)
        after.append(state)
    reading = tf.function(lambda ids: read(model, ids, initial_state(model, 3)))(ids).characters
    for row, length in enumerate((4, 2, 0)):
        assert reading.previous[row] == after[length].previous[row]
        for part, expected in zip(reading[1:3], after[length][1:3], strict=True):
            np.testing.assert_allclose(part[:, row], expected[:, row], atol=1e-6)
    logits, _ = tf.function(model)(tf.maximum(ids, 0), model.initial_state(3))
    np.testing.assert_allclose(logits[-1], scores, atol=1e-6)


def test_texts_of_different_lengths_are_read_at_once(model):
    lengths = [5, 0, 1, 3]
    ids = tf.constant(generator().integers(0, 3, (4, 5)), tf.int32)
    padded = tf.where(tf.sequence_mask(lengths, 5), ids, PADDING)
    together = read(model, padded, initial_state(model, 4)).characters
    for row, length in enumerate(lengths):
        alone = model.initial_state(1)
        if length:
            _, alone = model(ids[row : row + 1, :length], alone)
        assert int(together.previous[row]) == int(alone.previous[0])
        for part, expected in zip(together[1:3], alone[1:3], strict=True):
            np.testing.assert_allclose(part[:, row], expected[:, 0], atol=1e-6)


def generate_pieces(model, prompt, lengths, stop=None, seed=0, **arguments):
    state, pieces = None, []
    for length in lengths:
        piece = generate(
            model,
            prompt,
            tf.constant(length),
            **choices(len(length), **arguments),
            seed=seeds(len(length), seed),
            stop=stop,
            alternatives=2,
            state=state,
        )
        state, prompt = piece.state, tf.fill([len(length), 1], PADDING)
        pieces.append(piece)
    return pieces


@pytest.mark.parametrize("seed", [0, -5, 2**40])
def test_a_text_generated_in_pieces_equals_one_generated_at_once(model, seed):
    prompt = tf.constant([[0, 1, 2], [PADDING] * 3, [2, PADDING, PADDING]])
    (whole,) = generate_pieces(model, prompt, [[12, 9, 0]], seed=seed)
    pieces = generate_pieces(model, prompt, [[4, 2, 0], [1, 0, 0], [7, 7, 0]], seed=seed)
    for row in range(3):
        for field in ("ids", "log_probabilities", "alternatives"):
            joined = np.concatenate(
                [getattr(one, field)[row][: int(one.lengths[row])] for one in pieces]
            )
            expected = getattr(whole, field)[row][: int(whole.lengths[row])]
            np.testing.assert_allclose(joined, expected, atol=1e-6)


def test_a_stop_string_ends_a_text_wherever_it_is_cut(model):
    prompt = tf.fill([1, 1], PADDING)
    (whole,) = generate_pieces(model, prompt, [[400]], seed=1)
    ids = whole.ids.numpy()[0].tolist()
    wanted = ids[40:43]
    end = next(at for at in range(3, 400) if ids[at - 3 : at] == wanted)
    stop = tf.constant([[PADDING] * (MAX_STOP - 3) + wanted])
    (stopped,) = generate_pieces(model, prompt, [[400]], stop, seed=1)
    assert stopped.ids.numpy()[0].tolist() == ids[:end] and bool(stopped.stopped[0])
    pieces = generate_pieces(model, prompt, [[1]] * end, stop, seed=1)
    assert [int(piece.ids[0, 0]) for piece in pieces] == ids[:end]
    assert [bool(piece.stopped[0]) for piece in pieces] == [False] * (end - 1) + [True]


def test_alternatives_are_the_likeliest_characters(model):
    prompt = tf.constant([[0, 1]])
    (generated,) = generate_pieces(model, prompt, [[6]], temperature=0.5)
    read_ids = tf.concat([prompt, generated.ids], axis=1)
    logits, _ = model(read_ids, model.initial_state(1))
    expected = tf.math.top_k(tf.nn.log_softmax(logits[2:, 0]), 2)
    np.testing.assert_array_equal(generated.alternatives[0], expected.indices)
    np.testing.assert_allclose(
        generated.alternative_log_probabilities[0], expected.values, rtol=1e-4
    )


def test_inspection_shows_what_the_net_remembers(model):
    ids = tf.constant([[0, 1, 2, 1], [2, 0, PADDING, PADDING]])
    found = inspect(model, ids)
    state = read(model, ids, initial_state(model, 2)).characters
    _, after = model.decode_step()(state)
    for row, length in enumerate((4, 2)):
        memory = found.memories[row, length - 1, -model.state_layers :]
        np.testing.assert_allclose(memory, after.state.memory[:, row], rtol=1e-4, atol=1e-6)
        assert not np.any(found.memories[row, length:])
    if model.config.architecture == "rhn":
        assert_gates_make_micro_layers(found)
    elif model.config.architecture == "highway_lstm":
        assert_gates_make_memories_of_layers(found)
    else:
        assert_gates_make_memories(found)
    gates = found.gates[0][..., :3, :].numpy()
    low, high = (gates < 0.1).mean(axis=(0, 4)), (gates > 0.9).mean(axis=(0, 4))
    np.testing.assert_allclose(found.saturation[0], np.stack([low, high], -1), rtol=1e-5)


def assert_gates_make_micro_layers(found):
    """Of the first text, from one micro-layer to the next: s' = t * h + (1 - t) * s."""
    transform, candidate = np.moveaxis(found.gates[0, :, :, 0], 2, 0)
    memories = found.memories[0].numpy()
    before = np.stack([np.pad(memories[:-1, -1], ((1, 0), (0, 0))), memories[:, 0]], axis=1)
    made = transform * candidate + (1 - transform) * before
    np.testing.assert_allclose(memories, made, rtol=1e-4, atol=1e-6)


def assert_gates_make_memories_of_layers(found):
    """Of the first text: m' = d * m_below + f * m + i * g, without a layer below the first."""
    i, f, _, g, d = np.moveaxis(found.gates[0, 1:, :, 0], 2, 0)
    memories = found.memories[0].numpy()
    below = np.stack([np.zeros_like(memories[1:, 0]), memories[1:, 0]], axis=1)
    made = d * below + f * memories[:-1] + i * g
    np.testing.assert_allclose(memories[1:], made, rtol=1e-4, atol=1e-6)


@needs_integer_products
def test_inspection_of_a_quantized_net_shows_its_gates():
    model = CharacterModel(ModelConfig(layers=2, units=20, tied="all"), 3)
    model = freeze(model, "int8")
    ids = tf.constant([[0, 1, 2, 1]])
    assert_gates_make_memories(tf.function(lambda: inspect(model, ids))())


def assert_gates_make_memories(found):
    """Of the first text, along time: m' = f * m + i * g."""
    i, f, _, g = np.moveaxis(found.gates[0, 1:, :, 0], 2, 0)
    made = f * found.memories[0, :-1] + i * g
    np.testing.assert_allclose(found.memories[0, 1:], made, rtol=1e-4, atol=1e-6)


def test_inspection_selects_a_layer_and_a_unit(model):
    ids = tf.constant([[0, 1, 2, 1], [2, 0, PADDING, PADDING]])
    whole = inspect(model, ids)
    one = inspect(model, ids, 1, 5)
    np.testing.assert_allclose(one.memories, whole.memories[:, :, 1:2, 5:6], rtol=1e-6)
    np.testing.assert_allclose(one.gates, whole.gates[:, :, 1:2, ..., 5:6], rtol=1e-6)
    gates = one.gates[0, :, 0, :, :3, 0].numpy()
    shares = np.stack([(gates < 0.1).mean(axis=0), (gates > 0.9).mean(axis=0)], -1)
    np.testing.assert_allclose(one.saturation[0, 0], shares, rtol=1e-5)


def test_an_embedding_is_the_hidden_state_after_the_text(model):
    ids = tf.constant([[0, 1, 2], [2, PADDING, PADDING]])
    state = read(model, ids, initial_state(model, 2)).characters
    _, after = model.decode_step()(state)
    expected = np.moveaxis(after.state.hidden.numpy(), 1, 0).reshape(2, -1)
    np.testing.assert_allclose(embed(model, ids), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "character_unit,text", [("bytes", b"\x00 \\n\n\t\xff'"), ("unicode", "aé\n'𝄞\\")]
)
def test_vocabulary_file_round_trip(character_unit, text):
    symbols = text if character_unit == "bytes" else map(ord, text)
    vocabulary = TextVocabulary.of(character_unit, symbols)
    assert TextVocabulary.from_text(vocabulary.to_text(), "vocabulary.txt") == vocabulary
    encoded = vocabulary.encode(tf.constant([text, text[:1]]))
    assert encoded[1].numpy().tolist()[1:] == [PADDING] * (len(text) - 1)
    expected = text if character_unit == "bytes" else text.encode()
    assert vocabulary.decode(encoded).numpy()[0] == expected
    np.testing.assert_array_equal(vocabulary.encode_scalar(tf.constant(text)), encoded[0])


def test_a_file_that_is_no_vocabulary_is_refused():
    with pytest.raises(InputError, match=r"vocabulary\.txt"):
        TextVocabulary.from_text("hello\n", "vocabulary.txt")


@pytest.mark.parametrize(
    "character_unit,text,name",
    [("bytes", "ab~", "0x7E"), ("unicode", "abé", "é (U+00E9)"), ("unicode", "😀", "😀 (U+1F600)")],
)
def test_an_unknown_character_is_named(character_unit, text, name):
    vocabulary = TextVocabulary.of(character_unit, b"ab")
    said = vocabulary.unknown_character(tf.constant([text, "a"])).numpy().decode()
    assert f"the vocabulary lacks the character {name};" in said
    with pytest.raises(InputError, match=re.escape(said)):
        vocabulary.require_known(text)
    vocabulary.require_known("abba")


def test_the_initial_state_has_no_character_before_it():
    """An embedding that training hardly ever moves must not push the net where it never was."""
    model = CharacterModel(ModelConfig(layers=1, units=4), 5)
    np.testing.assert_array_equal(model.embedding[-1], 0)
    assert np.abs(model.embedding[:-1]).min() > 0


@pytest.mark.slow
def test_long_texts_are_read_in_windows(model, vocabulary):
    size = sampling.WINDOW
    ids = generator().integers(0, vocabulary.size, [3, 2 * size + 7]).astype(np.int32)
    ids[1, size + 3 :] = PADDING
    ids[2] = PADDING
    bits, scores = score(model, tf.constant(ids))
    logits, _ = model(tf.maximum(ids, 0), model.initial_state(3))
    losses, _ = character_losses(logits, tf.constant(ids))
    np.testing.assert_allclose(scores, -tf.transpose(losses), rtol=1e-4, atol=1e-4)
    assert scores.shape == ids.shape and float(bits[2]) == 0
    whole = sampling.read(model, tf.constant(ids), sampling.initial_state(model, 3)).characters
    _, expected = model(tf.maximum(ids, 0), model.initial_state(3), keep=tf.constant(ids >= 0))
    for found, wanted in zip(whole, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
