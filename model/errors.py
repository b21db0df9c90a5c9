"""The one exception that stands for a mistake of the user's."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that names the problem and the remedy. Command lines print it after
    `error: ` and exit with status 2; everything else that is raised is a fault of the program.
    """
