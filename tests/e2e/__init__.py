"""Everything a user can see over HTTP, against the deployed template."""
