"""The exception that stands for a mistake of the user."""


class InputError(ValueError):
    """An argument, option or file of the user cannot be used.

    The message is one line that names the problem and the remedy. Command lines print it after
    `error: ` and exit with status 2; any other exception is a fault of the program.
    """
