"""What can happen to a run through nobody's fault."""


class ServerLost(ConnectionError):
    """A model server does not answer any more. What was played is kept; the same command continues."""
