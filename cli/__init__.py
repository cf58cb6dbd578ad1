"""The operator's and the developer's tools for a deployed stack."""
