"""The settings that only some tasks have; `settings` has those of all."""

import dataclasses
from typing import Literal

from model.config import require_integer, require_one_of, require_range
from model.errors import InputError
from serving.limits import DEFAULT_GRPC_REQUEST_BYTES, MAX_RECORDING_SECONDS, MAX_SEARCH_WIDTH

RecognitionNet = Literal["time_depth_grid", "time_frequency_grid", "stacked_lstm"]
"""The names of the nets that label frames, those of `model.speech.nets`."""

MAX_RECORDING_BYTES = DEFAULT_GRPC_REQUEST_BYTES - (1 << 20)
"""Largest size of a recording, which is the content of a request."""

MIN_BANDS = 8
"""Smallest number of mel bands, that of a block of the grid over time and frequency."""


@dataclasses.dataclass(frozen=True)
class TranslationConfig:
    """The vocabularies, the grids and the search of a model that translates.

    Its width and dropout are those of the section `[model]`.

    Attributes:
      least_count: Smallest number of occurrences in the training split of a word that the model
        knows. Default 2.
      max_words: Largest number of words of a sentence, and of a translation; longer pairs are left
        out. Default 50.
      grids: Number of grids that lie on each other and read the source forward and backward in
        turns. Default 2, as in the paper.
      beam_width: Number of hypotheses of the search. Default 4.
      length_power: Power of the length that the scores of hypotheses are divided by. Default 0.6.
      evaluated_pairs: Number of pairs of the eval split that are translated for BLEU. Default 1000.
    """

    least_count: int = 2
    max_words: int = 50
    grids: int = 2
    beam_width: int = 4
    length_power: float = 0.6
    evaluated_pairs: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "length_power", float(self.length_power))
        require_integer("least_count", self.least_count, 1)
        require_range("max_words", self.max_words, 1, 513)
        require_range("grids", self.grids, 1, 17)
        require_range("beam_width", self.beam_width, 1, 129)
        require_integer("evaluated_pairs", self.evaluated_pairs, 1)
        if not 0 <= self.length_power <= 1:
            raise InputError(f"length_power is {self.length_power}; it must be from 0 to 1")


@dataclasses.dataclass(frozen=True)
class RecognitionConfig:
    """The recordings, the spectrogram, the net and the search of a model that recognizes speech.

    Its width, its number of layers and its dropout are those of the section `[model]`; the dropout
    is that of the inputs of all layers, and before the output.

    Attributes:
      net: Net over the spectrogram: "time_depth_grid" (the default), a grid over time and depth,
        "time_frequency_grid", a grid over time and frequency below LSTMs over time, or
        "stacked_lstm", LSTMs over time. The first and the last recognize streams, too.
      sample_rate: Number of samples per second of all recordings. Default 16,000.
      max_seconds: Largest duration of a recording, in seconds. Default 30.
      window_ms: Length of a frame of the spectrogram, in milliseconds. Default 25.
      step_ms: Distance of the beginnings of two frames, in milliseconds. Default 10.
      bands: Number of mel bands. Default 40.
      noise: Standard deviation of the noise on the standardized spectrogram in training. Default
        0.3.
      search_width: Width of the beam search of the served model; 0 for the text of the likeliest
        path. Default 16.
      evaluated_recordings: Number of recordings of the eval split that are recognized for the
        error rates. Default 1000.
    """

    net: RecognitionNet = "time_depth_grid"
    sample_rate: int = 16_000
    max_seconds: float = 30.0
    window_ms: float = 25.0
    step_ms: float = 10.0
    bands: int = 40
    noise: float = 0.3
    search_width: int = 16
    evaluated_recordings: int = 1000

    def __post_init__(self) -> None:
        for name in ("max_seconds", "window_ms", "step_ms", "noise"):  # a preset may have 1 for 1.0
            object.__setattr__(self, name, float(getattr(self, name)))
        require_one_of("net", self.net, RecognitionNet)
        require_integer("sample_rate", self.sample_rate, 1)
        require_range("sample_rate", self.sample_rate, 1000, 192_001)
        require_range("bands", self.bands, MIN_BANDS, 257)
        require_range("window_ms", self.window_ms, 1, 1001)
        require_range("step_ms", self.step_ms, 1, 1001)
        require_range("max_seconds", self.max_seconds, 1, MAX_RECORDING_SECONDS + 1)
        size = 2 * self.sample_rate * self.max_seconds
        if size > MAX_RECORDING_BYTES:
            raise InputError(
                f"sample_rate is {self.sample_rate} and max_seconds {self.max_seconds:g}, which "
                f"are {size:,.0f} bytes; a request to a server has {MAX_RECORDING_BYTES:,} at "
                "most, so lower one of them"
            )
        require_range("noise", self.noise, 0, 100)
        require_range("search_width", self.search_width, 0, MAX_SEARCH_WIDTH + 1)
        require_integer("evaluated_recordings", self.evaluated_recordings, 1)
