"""The one error that a user can mend."""


class UserError(ValueError):
    """What is wrong, where, and what to do, in one line.

    Raised for bad input and impossible settings. The command line prints it and exits with
    status 2; every other exception is a failure of ours.
    """
