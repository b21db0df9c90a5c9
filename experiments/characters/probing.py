"""Probes an exported model: cells that track a feature, gates that saturate, and its errors.

Karpathy, Johnson, Fei-Fei, "Visualizing and Understanding Recurrent Networks", arXiv 1506.02078,
sections 4.2 and 4.4.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from experiments.characters.language_models import WARM_UP, Export
from experiments.characters.text_features import FEATURES
from experiments.framework.experiment import Row, Tables

SHOWN = 400
"""Number of characters that a cell is drawn over."""
GATES = ("input", "forget", "output")
DIMENSIONS = ("time", "depth")
CONFIDENT = 0.5
"""Probability of the actual character below which a prediction is an error."""
KINDS = ("new line", "indentation", "first letter of a word", "rest of a word", "other")


def probe(saved_model: str, text: bytes, pieces: int) -> Tables:
    """Reads pieces of a text with an exported model of bytes, and correlates its cells.

    Args:
      saved_model: Directory of the export.
      text: The text.
      pieces: Number of pieces to cut from it, evenly spread.

    Returns:
      The tables `cells` (the cell that tracks each feature best), `drawn` (its value at each
      character of a piece), `gates` (share of saturated values by layer, dimension and gate) and
      `errors` (number of errors by kind of character).
    """
    export = Export.load(saved_model)
    cut = export.pieces(text, pieces)
    memories, saturation = [], []
    for piece in cut:  # one at a time, as all gates of all pieces take gigabytes
        outputs = export.signatures["inspect"](
            text=tf.constant([piece]), layer=tf.constant([-1]), unit=tf.constant([-1])
        )
        memories.append(np.tanh(outputs["memories"].numpy()[0]))  # as in h' = o tanh(m)
        saturation.append(outputs["saturation"].numpy()[0])
    cells = np.concatenate(memories)  # [characters, layers, units]
    tables: Tables = {"cells": [], "drawn": []}
    for name, feature in FEATURES.items():
        values = [feature(piece) for piece in cut]
        best = strongest(cells, np.concatenate(values))
        if best is None:
            continue
        layer, unit, correlation = best
        row = {"feature": name, "layer": layer + 1, "unit": unit}
        tables["cells"].append({**row, "correlation": round(correlation, 4)})
        # The piece over whose beginning the feature varies the most.
        shown = int(np.argmax([piece_values[:SHOWN].std() for piece_values in values]))
        drawn = zip(cut[shown][:SHOWN], memories[shown][:, layer, unit], strict=False)
        for position, (code, value) in enumerate(drawn):
            row = {"feature": name, "position": position, "character": chr(code)}
            tables["drawn"].append({**row, "value": round(float(value), 3)})
    tables["gates"] = list(_gates(np.mean(saturation, axis=0)))
    tables["errors"] = list(_errors(export, cut))
    return tables


def strongest(cells: np.ndarray, values: np.ndarray) -> tuple[int, int, float] | None:
    """Finds the cell that tracks a feature best.

    Args:
      cells: Values of the cells `[characters, layers, units]`.
      values: Values of the feature `[characters]`.

    Returns:
      The layer and the unit of the cell, and its Pearson correlation, which is the largest in
      magnitude; None for a constant feature.
    """
    deviations = values - values.mean()
    if not deviations.any():
        return None
    flat = cells.reshape(len(cells), -1).astype(np.float64)
    flat = flat - flat.mean(axis=0)
    scale = np.sqrt((flat**2).sum(axis=0) * (deviations**2).sum())
    correlations = np.divide(deviations @ flat, scale, out=np.zeros(flat.shape[1]), where=scale > 0)
    best = int(np.abs(correlations).argmax())
    layer, unit = np.unravel_index(best, cells.shape[1:])
    return int(layer), int(unit), float(correlations[best])


def _gates(saturation: np.ndarray) -> Iterator[Row]:
    """Yields the rows of saturated shares `[layers, dimensions, gates, sides]`."""
    for layer, dimension, gate in np.ndindex(saturation.shape[:3]):
        low, high = saturation[layer, dimension, gate]
        yield {
            "layer": layer + 1,
            "dimension": DIMENSIONS[dimension],
            "gate": GATES[gate],
            "left": round(float(low), 4),
            "right": round(float(high), 4),
        }


def _errors(export: Export, cut: Sequence[bytes]) -> Iterator[Row]:
    """Yields the number of characters of each kind, and of those that are errors."""
    probabilities = np.exp(export.score(cut)[:, WARM_UP:]).ravel()
    kinds = np.concatenate([character_kinds(piece)[WARM_UP:] for piece in cut])
    wrong = probabilities < CONFIDENT
    for kind in KINDS:
        of_kind = kinds == KINDS.index(kind)
        yield {"kind": kind, "count": int(of_kind.sum()), "errors": int((wrong & of_kind).sum())}


def character_kinds(text: bytes) -> np.ndarray:
    """Returns the index of each character's kind in `KINDS`, which the text before it decides.

    Args:
      text: ASCII text.
    """
    kinds, before, blank = [], "\n", True
    for code in text:
        character = chr(code)
        if before == "\n":
            kind = 0
        elif blank and character == " ":
            kind = 1
        elif _in_word(character):
            kind = 3 if _in_word(before) else 2
        else:
            kind = 4
        blank = character == "\n" or (blank and character == " ")
        kinds.append(kind)
        before = character
    return np.array(kinds)


def _in_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")
