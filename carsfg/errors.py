"""The one error that is the user's to mend."""


class InputError(Exception):
    """What the user gave cannot be used; the message is one sentence that says what is wrong and what to do.

    The command line prints it as one line and ends with exit code 2, without a traceback.
    """
