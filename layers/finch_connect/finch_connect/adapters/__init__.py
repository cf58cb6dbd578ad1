"""One file per outside system. Each implements a port and raises `ServiceUnavailableError` when it does not answer."""
