"""Stop strings across pieces, and characters, against what Python's strings say."""

import doctest

import pytest
from seeds import generator

from serving.gateway import characters
from serving.gateway.characters import encode, from_tokens, shown, split, to_tokens
from serving.gateway.choices import Choice, Delta
from serving.gateway.stops import StopFilter, Token


def drawn(letters, size):
    return "".join(generator().choice(list(letters), size))


def up_to_stop(text, stops):
    """The text before the first stop string that is complete, of those the longest; and whether."""
    for end in range(1, len(text) + 1):
        complete = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(complete)], end
    return text, len(text)


@pytest.mark.parametrize("unit", ["bytes", "unicode"])
def test_stop_strings_are_found_wherever_pieces_end(unit):
    for _ in range(300):
        text = drawn("aé", generator().integers(0, 30)).encode()
        stops = [
            drawn("aé", generator().integers(1, 7)).encode()
            for _ in range(generator().integers(0, 5))
        ]
        tokens = [Token(one, 0.0) for one in split(text, unit)]
        stop_filter, released = StopFilter(stops), []
        while tokens:
            size = int(generator().integers(1, 6))
            released += stop_filter.feed(tokens[:size])
            tokens = tokens[size:]
        released += stop_filter.finish()
        expected, end = up_to_stop(text, stops)
        assert b"".join(token.character for token in released) == expected
        assert stop_filter.has_stopped == (expected != text)
        assert stop_filter.read == len(split(text[:end], unit))


def test_nothing_waits_that_no_stop_string_begins_with():
    stop_filter = StopFilter([b"aab"])
    released = [
        b"".join(token.character for token in stop_filter.feed([Token(bytes([one]), 0.0)]))
        for one in b"xaaacaa"
    ]
    assert released == [b"x", b"", b"", b"a", b"aac", b"", b""]


def test_offsets_and_text_are_those_of_the_decoded_bytes():
    for _ in range(200):
        text = generator().choice(list(b"a\xc3\xa9\xe2\x82\xac"), 20).astype("uint8").tobytes()
        choice = Choice(b"", "bytes", [], 1)
        tokens = [Token(one, -1.0) for one in split(text, "bytes")]
        cut = int(generator().integers(0, 21))
        delta = Delta.join([choice.add(tokens[:cut]), choice.add(tokens[cut:]), choice.finish()])
        assert delta.text == text.decode("utf-8", "replace")
        offsets = list(delta.offsets)
        assert offsets == sorted(offsets) and len(offsets) == 20
        for token, offset in zip(tokens, offsets, strict=True):
            if token.character == b"a":
                assert delta.text[offset] == "a"


@pytest.mark.parametrize("unit", ["bytes", "unicode"])
def test_tokens_and_texts_are_each_others_inverse(unit):
    text = encode("aé€😀\n\0")
    assert from_tokens(to_tokens(text, unit), unit) == text
    assert b"".join(split(text, unit)) == text
    assert len(split(text, unit)) == (6 if unit == "unicode" else 12)
    for wrong in (-1, 2**21, 10**30):
        with pytest.raises(ValueError, match="is no token"):
            from_tokens([wrong], unit)
    with pytest.raises(ValueError, match="the character at 1 is a lone surrogate"):
        encode("a\udc80")
    assert shown(b"\xe2\x82") == "bytes:\\xe2\\x82"


def test_examples_of_the_docstrings_are_true():
    assert doctest.testmod(characters).failed == 0
