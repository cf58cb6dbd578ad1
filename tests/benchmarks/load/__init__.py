"""Load: the accounting, the people, and a short run of `make load` itself."""
