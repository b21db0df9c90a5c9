"""The page on which to try models: its files, and its form, which derives from a table."""

import os
from typing import Any

from serving.generate_inputs import GENERATE_INPUTS
from serving.limits import MAX_INSPECTED

PATH = "/playground"
"""Path of the page on a server."""

DIRECTORY = os.path.join(os.path.dirname(__file__), "playground")
"""Directory of its files."""

FORM: dict[str, Any] = {
    "fields": [
        {
            "name": row.name,
            "dtype": row.dtype,
            "sampling": row.in_sampling_params,
            **row.field._asdict(),
        }
        for row in GENERATE_INPUTS
        if row.field
    ],
    "max_inspected": MAX_INSPECTED,
}
"""Fields of the form, and the number of characters that the page may inspect."""
