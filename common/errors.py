"""The errors that a command line reports in one line."""


class UserError(Exception):
    """An error that the user can fix, for modules that do not import `model.errors.InputError`.

    The message is one line that names the problem and the remedy. Clients of a server raise
    subclasses of it, as they import nothing of the model.
    """
