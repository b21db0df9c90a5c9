"""Gettext's compiled catalogs become pairs of sentences, as the standard library reads them."""

import contextlib
import gettext
import io
import struct

import pytest
from seeds import generator

from model.errors import InputError
from pipeline.corpora import discovery
from pipeline.corpora.discovery import Rules
from pipeline.corpora.gettext_catalogs import tab_separated
from pipeline.corpora.unpacking import unpack

HEADER = b"Content-Type: text/plain; charset=%s\nPlural-Forms: nplurals=2; plural=(n != 1);\n"


def compiled(messages, charset="utf-8", order="<", declared=None):
    """A catalog of texts and their translations, as `msgfmt` writes it."""
    header = (HEADER % (declared or charset).encode()).decode()
    pairs = sorted({"": header, **messages}.items())
    pairs = [[text.encode(charset) for text in pair] for pair in pairs]
    number = len(pairs)
    place, tables, texts = 28 + 16 * number, [], b""
    for side in range(2):
        for pair in pairs:
            tables += [len(pair[side]), place + len(texts)]
            texts += pair[side] + b"\0"
    head = [0x950412DE, 0, number, 28, 28 + 8 * number, 0, place]
    return struct.pack(f"{order}{len(head) + len(tables)}I", *head, *tables) + texts


def pairs_of(content):
    text = tab_separated(io.BytesIO(content), "fr.mo").read().decode()
    return [tuple(line.split("\t")) for line in text.split("\n")[:-1]]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-15"])
def test_messages_are_those_of_the_standard_library(charset, order):
    rng = generator()

    def words():
        return " ".join(rng.choice(["é", "fin", "a", "œuf", "%s"], rng.integers(1, 6)))

    messages = {f"{words()} {number}": words() for number in range(100)}
    content = compiled(messages, charset, order)
    peer = gettext.GNUTranslations(io.BytesIO(content))
    pairs = pairs_of(content)
    assert len(pairs) == 100
    assert all(peer.gettext(message) == translation for message, translation in pairs)


def test_a_message_is_one_line():
    content = compiled({"menu\4Open\tthe\n file\n": "Ouvrir\r\nle fichier", "untranslated": " "})
    assert pairs_of(content) == [("Open the file", "Ouvrir le fichier")]


def test_singular_and_plural_are_two_pairs():
    content = compiled({"%d file\0%d files": "%d soubor\0%d soubory\0%d souborů"})
    assert pairs_of(content) == [("%d file", "%d soubor"), ("%d files", "%d souborů")]


def test_a_catalog_is_found_by_its_content(tmp_path):
    path = tmp_path / "fr"
    path.write_bytes(compiled({"yes": "oui"}))
    (source,) = discovery.find(str(path), Rules()).sources
    (text,) = unpack(source, str(tmp_path)).sources
    with open(text.path, "rb") as file:
        assert file.read() == b"yes\toui\n"


@pytest.mark.parametrize(
    "damage,message",
    [
        (lambda content: content[:40], "tables of messages lie outside"),
        (lambda content: content[:-5], "messages lie outside"),
        (lambda content: content[:12] + b"\xff\xff\xff\x7f" + content[16:], "tables of messages"),
        (lambda content: content.replace(b"oui", b"\xff\xff\xff"), "can't decode byte 0xff"),
    ],
)
def test_a_damaged_catalog_is_named(tmp_path, damage, message):
    path = tmp_path / "fr.mo"
    path.write_bytes(damage(compiled({"yes": "oui"})))
    (source,) = discovery.find(str(path), Rules()).sources
    with pytest.raises(InputError, match=rf"fr\.mo is truncated or .*{message}"):
        unpack(source, str(tmp_path))


def test_an_unknown_encoding_is_named():
    content = compiled({"yes": "oui"}, declared="utf-9")
    with pytest.raises(InputError, match=r"^fr\.mo is in the encoding utf-9, which is unknown"):
        tab_separated(io.BytesIO(content), "fr.mo")


def test_the_placeholder_of_new_catalogs_stands_for_utf_8():
    assert pairs_of(compiled({"yes": "où"}, declared="CHARSET")) == [("yes", "où")]


def test_tables_that_overlap_are_refused():
    """Each entry of the two tables takes 16 bytes of the file, so their number is bounded."""
    content = struct.pack("<7I", 0x950412DE, 0, 10_000, 28, 28, 0, 28) + bytes(80_000)
    with pytest.raises(ValueError, match="lie outside"):
        tab_separated(io.BytesIO(content), "fr.mo")


def test_messages_that_overlap_are_refused():
    """A thousand messages that are all the whole file would be a thousand times as long."""
    content = bytearray(compiled({str(number): "x" for number in range(1000)}))
    for entry in range(2 * 1001):
        struct.pack_into("<2I", content, 28 + 8 * entry, len(content) - 100, 50)
    with pytest.raises(ValueError, match="lie outside"):
        tab_separated(io.BytesIO(bytes(content)), "fr.mo")


def test_random_damage_is_an_error_or_no_text():
    """Whatever is in the file, nothing but a ValueError comes of it."""
    rng, content = generator(), compiled({str(n): f"text {n}" for n in range(20)})
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(4, len(content), rng.integers(1, 8)):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(ValueError, InputError):
            tab_separated(io.BytesIO(bytes(damaged)), "fr.mo")
