"""What a configuration may say of contexts."""

import pytest

from model.contexts.registry import (
    CONTEXTS,
    MAX_SIZE,
    STEP_BY_STEP,
    check_vocabulary,
    parse_context,
)
from model.errors import InputError
from model.language_model.config import ModelConfig
from model.text.vocabulary import Vocabulary


def test_a_context_has_a_size():
    assert parse_context("output") == ("output", 0)
    assert parse_context("word:64") == ("word", 64)


@pytest.mark.parametrize(
    ("contexts", "told"),
    [
        (("words",), "'words', which is no context; did you mean word?"),
        (("word:0",), "size '0'; it must be a number from 1"),
        (("word:-3",), "size '-3'"),
        (("word:",), "size ''"),
        ((f"word:{MAX_SIZE + 1}",), f"from 1 to {MAX_SIZE}"),
        (("word:" + "9" * 5000,), "it must be a number"),
        (("word:0000040960000",), "it must be a number from 1"),
        (("word", "sentence_input"), "'word' and 'sentence_input', with which a model is trained"),
        (("document", "word:4"), "'word' and 'document'"),
        (("sentence_attention:257",), "from 1 to 256"),
        (("ngrams:1",), "size '1'; it must be a number from 2 to 8, as in ngrams:8"),
        (("ngrams:9",), "from 2 to 8"),
        (("sentence_input:8",), "the size '8', and it has none; leave it out"),
        (("word:8", "word:9"), "names 'word' 2 times"),
    ],
)
def test_mistakes_are_told_in_a_line(contexts, told):
    with pytest.raises(InputError) as error:
        ModelConfig(contexts=contexts)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_words_need_separators():
    check_vocabulary(("word", "output"), Vocabulary.of("bytes", b"ab\n"))
    check_vocabulary(("output",), Vocabulary.of("bytes", b"ab"))
    check_vocabulary(("word",), Vocabulary.of("unicode", map(ord, "a\u3000")))
    with pytest.raises(InputError, match=r"no space or newline.*leave out the context word"):
        # 0xA0 is a space in Unicode, and a part of a character in UTF-8.
        check_vocabulary(("word",), Vocabulary.of("bytes", b"ab\xa0"))


def test_contexts_that_observe_the_core_are_known_by_their_names():
    for name, find in CONTEXTS.items():
        assert find().observes_core == name.startswith(STEP_BY_STEP), name


def test_keys_of_pairs_must_fit_into_31_bits():
    check_vocabulary(("output",), Vocabulary.of("unicode", range(46_339)))
    with pytest.raises(InputError, match=r"46,340 distinct characters, .* use bytes, or leave"):
        check_vocabulary(("output",), Vocabulary.of("unicode", range(46_340)))


def test_what_is_given_from_outside_is_no_context_of_a_text_alone():
    with pytest.raises(InputError, match="'latent', which a text alone does not give; leave it"):
        check_vocabulary(("latent:8",), Vocabulary.of("bytes", b"ab\n"))
