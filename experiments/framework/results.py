"""Writes and reads the results of an experiment.

results.json      all measurements, with commit, machine and time
<table>.csv       one table of measurements, with a row per observation
"""

import csv
import dataclasses
import json
import pathlib

from experiments.framework.experiment import Tables
from experiments.framework.scale import Scale
from model.errors import InputError

RESULTS = "results.json"
FORMAT = 1
"""Version of the format of results.json."""


@dataclasses.dataclass(frozen=True)
class Results:
    """The measurements of one experiment at one scale.

    Attributes:
      experiment: Name of the experiment.
      scale: Scale of the experiment.
      commit: Commit of the code that measured.
      machine: Description of the machine.
      finished: Time of the last measurement, ISO 8601 in UTC.
      seconds: Sum of the seconds that the points took when they were measured.
      tables: Measurements.
      format: Version of the format.
    """

    experiment: str
    scale: Scale
    commit: str
    machine: str
    finished: str
    seconds: float
    tables: Tables
    format: int = FORMAT


def write(results: Results, folder: pathlib.Path) -> None:
    """Writes results.json and a CSV file per table.

    Args:
      results: Results to write.
      folder: Folder of the files, which is created where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in results.tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    text = json.dumps(dataclasses.asdict(results), indent=None, separators=(",", ":"))
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")


def read(folder: pathlib.Path) -> Results:
    """Reads the results in a folder.

    Args:
      folder: Folder of the files.

    Raises:
      InputError: If there are none, or they are damaged or of another version.
    """
    path = folder / RESULTS
    again = f"run `python -m experiments run {folder.name} --scale {folder.parent.name}`"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        file_format = content.get("format")
        if file_format == FORMAT:
            return Results(**content)
    except FileNotFoundError as error:
        raise InputError(f"there are no results at {path}; {again}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged; {again}") from error
    raise InputError(
        f"{path} is of another version of this project (format {file_format}); {again}"
    )
