"""The inputs of the `generate` signature, one row per input.

The signatures and their defaults, the checks in the graph, the clients, the command line and the
playground page all derive from this table. It needs neither TensorFlow nor the model.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from serving.limits import MAX_ALTERNATIVES, MAX_LENGTH, MAX_STOP

SMALLEST = 2.0**-126
"""Smallest number above 0 that is the same on every processor, of float32; less may count as 0."""

DType = Literal["string", "int32", "int64", "float32"]


class Bound(NamedTuple):
    """Range of the values of a numeric input.

    A value that is not finite is out of every range.

    Attributes:
      message: End of the error message, which begins with the name of the input and the value.
      minimum: Smallest valid value; None for no minimum.
      maximum: Largest valid value; None for no maximum.
    """

    message: str
    minimum: float | None = None
    maximum: float | None = None


class FormField(NamedTuple):
    """Field of the playground's form for one input.

    Attributes:
      label: Text beside the field.
      type: Type of the HTML input: "range" for a slider, or "text", which integers have, too.
      attributes: Attributes of the HTML input by name, such as "min", "max", "step" and "value".
      names: Texts shown in place of certain values, such as "all" for "0".
    """

    label: str
    type: Literal["range", "text"]
    attributes: Mapping[str, str | int | float]
    names: Mapping[str, str] = {}


class GenerateInput(NamedTuple):
    """One input of the `generate` signature.

    Attributes:
      name: Name of the input in the signature.
      dtype: Name of the dtype of its tensor.
      help: One sentence that describes the input.
      default: Value of the input where a request omits it; a tuple is one row of numbers; None for
        a required input.
      rank: Rank of the tensor, whose first dimension is the batch. Default 1.
      bounds: Ranges that every value must lie in, checked in this order.
      max_characters: Largest number of characters of a string; None for inputs of numbers.
      in_sampling_params: Whether the input is a field of `SamplingParams`. Default False.
      option_default: Default of the option of `python -m serving sample`; None for no option.
      field: Field of the playground's form; None for none.
    """

    name: str
    dtype: DType
    help: str
    default: Any = None
    rank: int = 1
    bounds: tuple[Bound, ...] = ()
    max_characters: int | None = None
    in_sampling_params: bool = False
    option_default: Any = None
    field: FormField | None = None


GENERATE_INPUTS: tuple[GenerateInput, ...] = (
    GenerateInput(
        name="prompt",
        dtype="string",
        help="Text to continue; an empty one starts from nothing.",
        max_characters=MAX_LENGTH,
        option_default="",
    ),
    GenerateInput(
        name="length",
        dtype="int32",
        help="Number of characters to generate.",
        default=100,
        bounds=(
            Bound("must not be negative", minimum=0),
            Bound(f"is over the limit of {MAX_LENGTH} characters", maximum=MAX_LENGTH),
        ),
        option_default=500,
        field=FormField(
            label="Length",
            type="range",
            attributes={"min": 10, "max": 2000, "step": 10, "value": 400},
        ),
    ),
    GenerateInput(
        name="temperature",
        dtype="float32",
        help="Divisor of the logits; 0 takes the likeliest character.",
        default=1.0,
        bounds=(Bound("must not be negative, and a number", minimum=0),),
        in_sampling_params=True,
        option_default=0.8,
        field=FormField(
            label="Temperature",
            type="range",
            attributes={"min": 0, "max": 2, "step": 0.05, "value": 0.8},
        ),
    ),
    GenerateInput(
        name="top_k",
        dtype="int32",
        help="Number of likeliest characters to draw from; 0 for all.",
        default=0,
        bounds=(Bound("must not be negative", minimum=0),),
        in_sampling_params=True,
        option_default=0,
        field=FormField(
            label="Top-k",
            type="range",
            attributes={"min": 0, "max": 50, "step": 1, "value": 0},
            names={"0": "all"},
        ),
    ),
    GenerateInput(
        name="top_p",
        dtype="float32",
        help="Probability mass of the likeliest characters to draw from.",
        default=1.0,
        bounds=(
            Bound("must be above 0, from 1.2e-38 on, and at most 1", minimum=SMALLEST, maximum=1),
        ),
        in_sampling_params=True,
        option_default=1.0,
        field=FormField(
            label="Top-p",
            type="range",
            attributes={"min": 0.05, "max": 1, "step": 0.05, "value": 1},
        ),
    ),
    GenerateInput(
        name="seed",
        dtype="int64",
        help="Seed of the random numbers; the same seed gives the same text.",
        default=0,
        in_sampling_params=True,
        option_default=0,
        field=FormField(
            label="Seed",
            type="text",  # a field of type "number" hides what is no number from the page
            attributes={"inputmode": "numeric", "value": 1},
        ),
    ),
    GenerateInput(
        name="stop",
        dtype="string",
        help="String that ends the text; an empty string for none.",
        default="",
        max_characters=MAX_STOP,
        in_sampling_params=True,
        option_default="",
        field=FormField(label="Stop at", type="text", attributes={"maxlength": MAX_STOP}),
    ),
    GenerateInput(
        name="alternatives",
        dtype="int32",
        help="Number of likeliest characters to report at each position.",
        default=0,
        bounds=(
            Bound(f"must be from 0 to {MAX_ALTERNATIVES}", minimum=0, maximum=MAX_ALTERNATIVES),
        ),
        in_sampling_params=True,
    ),
    GenerateInput(
        name="state",
        dtype="float32",
        help="State that an earlier piece of the text returned; without numbers for a new text.",
        default=(),
        rank=2,
    ),
)

DEFAULTS: Mapping[str, Any] = {
    one.name: one.default for one in GENERATE_INPUTS if one.default is not None
}
"""Values of the inputs that a request may omit, by name."""


class SmallerSignature(NamedTuple):
    """A signature that is `generate` with fewer inputs and outputs.

    Attributes:
      inputs: Names of its inputs; the others have their defaults.
      outputs: Names of its outputs.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


SMALLER_SIGNATURES: Mapping[str, SmallerSignature] = {
    "serving_default": SmallerSignature(
        inputs=("prompt", "length", "temperature", "top_k", "top_p", "seed"),
        outputs=("text", "log_probabilities", "state"),
    ),
    # A stock server wants every input of a signature over REST; these are what people send.
    "complete": SmallerSignature(
        inputs=("prompt", "length", "temperature", "seed"),
        outputs=("text", "characters"),
    ),
}
"""The smaller signatures by name."""

SAMPLING_INPUTS: tuple[GenerateInput, ...] = tuple(
    one for one in GENERATE_INPUTS if one.in_sampling_params
)
"""The inputs that are fields of `SamplingParams`, in the order of its fields."""
