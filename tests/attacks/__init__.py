"""One test or more for each numbered attack, against the deployed stack."""
