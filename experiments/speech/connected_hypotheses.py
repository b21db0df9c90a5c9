"""What was said and what was recognized: a row per utterance, from which errors can be recomputed.

In `hypotheses.csv` the columns are `utterance`, its number; `speaker`; `said`, its digits, and
`said_at`, the beginning of each recording in seconds; `greedy` and `beam`, the digits by the
likeliest path and by beam search; `beam_at`, the times of the latter; and `log_probability`, ln p
of them. Times are separated by spaces. The digit error rate is the sum of the edit distances of
`said` and `beam`, divided by the number of digits of `said`.
"""

import csv
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from experiments.framework.experiment import Row
from experiments.speech.connected_data import NOTHING, Utterances
from model.speech.ctc import Transcript
from model.speech.recognizer import Recognizer

SHOWN = 0
"""Number of the test utterance that the report shows."""

BAND = "band_{}"
"""Column of a band in the table of the spectrogram."""


def edit_distances(found: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Returns the number of insertions, deletions and substitutions of each utterance.

    >>> edit_distances(np.array([[1, 3, -1], [4, 4, 5]]), np.array([[1, 2, 3], [4, 5, -1]]))
    array([1., 1.], dtype=float32)

    Args:
      found: Digits that were recognized, `[utterances, most]`, padded with `NOTHING`.
      said: Digits that were said, `[utterances, most]`, padded likewise.
    """
    pair = [_sparse(found), _sparse(said)]
    return tf.edit_distance(*pair, normalize=False).numpy()


def _sparse(digits: np.ndarray) -> tf.SparseTensor:
    places = np.argwhere(digits != NOTHING)
    values = digits[digits != NOTHING].astype(np.int64)
    return tf.SparseTensor(places, values, digits.shape)


def hypotheses_of(
    recognizer: Recognizer, part: Utterances, greedy: Transcript, beam: Transcript
) -> list[Row]:
    """Returns a row per utterance, as this module describes them.

    Args:
      recognizer: The recognizer.
      part: The utterances.
      greedy: What was recognized by the likeliest path.
      beam: What was recognized by beam search.
    """
    texts = (recognizer.text(one).numpy() for one in (part.digits, greedy.labels, beam.labels))
    times = recognizer.seconds(beam.frames).numpy()
    rows = []
    for number, (said, by_path, by_beam) in enumerate(zip(*texts, strict=True)):
        rows.append(
            {
                "utterance": number,
                "speaker": part.speakers[number],
                "said": said.decode(),
                "said_at": _listed(part.begins[number]),
                "greedy": by_path.decode(),
                "beam": by_beam.decode(),
                "beam_at": _listed(times[number]),
                "log_probability": f"{beam.log_probability.numpy()[number]:.4f}",
            }
        )
    return rows


def _listed(seconds: Sequence[float]) -> str:
    return " ".join(f"{one:.3f}" for one in seconds if one != NOTHING)


def write_rows(path: str, rows: Sequence[Row]) -> None:
    """Writes rows as CSV.

    Args:
      path: Path of the file.
      rows: Rows of equal columns, one at least.
    """
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: str) -> list[Row]:
    """Returns the rows of a file that `write_rows` wrote; all values are strings.

    Args:
      path: Path of the file.
    """
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def spectrogram_rows(part: Utterances, number: int) -> list[Row]:
    """Returns the spectrogram of an utterance, a row per frame and a column per band.

    Args:
      part: The utterances.
      number: Number of the utterance.
    """
    frames = part.spectrograms[number, : part.frames[number]]
    return [
        {"utterance": number, "frame": at}
        | {BAND.format(band): round(float(value), 2) for band, value in enumerate(frame)}
        for at, frame in enumerate(frames)
    ]
