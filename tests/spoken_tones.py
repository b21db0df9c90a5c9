"""A corpus of recordings: tones that stand for letters, with transcripts beside them."""

import pathlib

import numpy as np
from recordings import wav_of

LETTERS = "abc"
RATE = 8_000


def write_corpus(folder: pathlib.Path, random: np.random.Generator, count: int) -> dict[str, str]:
    """Writes recordings of one to three letters, and `transcripts.tsv`; returns these by name."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {}
    for number in range(count):
        text = "".join(random.choice(list(LETTERS), size=random.integers(1, 4)))
        parts = [np.zeros(400)]
        for letter in text:
            time = np.arange(1_600) / RATE
            pitch = 400 * 2 ** LETTERS.index(letter)
            parts += [0.5 * np.sin(2 * np.pi * pitch * time), np.zeros(800)]
        samples = np.concatenate(parts)
        texts[f"{number:03}.wav"] = text
        (folder / f"{number:03}.wav").write_bytes(
            wav_of(samples + 0.01 * random.normal(size=len(samples)), RATE)
        )
    lines = (f"{name}\t{text}\n" for name, text in texts.items())
    (folder / "transcripts.tsv").write_text("".join(lines))
    return texts
