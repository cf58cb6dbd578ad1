"""Takes each control away in turn and asks which row of the attacks notices."""
