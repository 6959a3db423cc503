"""Errors that end in one line instead of a traceback."""


class InputError(Exception):
    """What the user gave cannot be used; the message is one sentence that says what is wrong and what to do.

    The command line prints it and ends with exit code 2.
    """


class TrainingError(Exception):
    """Training cannot continue, or was stopped; the message is one sentence that says why and what to do.

    The command line prints it and ends with exit code 1.
    """
