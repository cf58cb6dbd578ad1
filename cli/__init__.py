"""Command-line tools for operators and developers of a deployed stack."""
