"""The local engine: the local API gateway behaves as AWS's does, and the built layer is complete."""
