"""Load on the local stack: many people at once, with and without faults, and every flow accounted for at the end."""
