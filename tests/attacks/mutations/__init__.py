"""Remove each control in turn and report which attack or fault test fails."""
