"""Help of commands with many options: in sections, with the value in force beside each option."""

from collections.abc import Callable, Mapping
from typing import Any

import click

OTHER = "Options"
"""Section of the options that belong to no other."""


class SectionedOption(click.Option):
    """An option in a section of the help.

    Attributes:
      section: Title of the section.
    """

    def __init__(self, *arguments: Any, section: str = OTHER, **options: Any):
        """Creates the option; arguments other than the section are those of `click.Option`."""
        super().__init__(*arguments, **options)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help has its options in sections.

    Attributes:
      values_in_force: Function of the parameters that were given before `--help`, which returns
        texts that are shown beside options, by the names of these; None (the default) for none.
    """

    values_in_force: Callable[[Mapping[str, Any]], Mapping[str, str]] | None = None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, a section after the other; those of no section come last."""
        beside = self.values_in_force(ctx.params) if self.values_in_force else {}
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None or not record[1]:  # of an argument the usage says as much
                continue
            declaration, text = record
            if shown := beside.get(parameter.name or ""):
                text = f"{text} [{shown}]"
            section = getattr(parameter, "section", OTHER)
            sections.setdefault(section, []).append((declaration, text))
        last = sections.pop(OTHER, [])
        for title, records in (*sections.items(), (OTHER, last)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
