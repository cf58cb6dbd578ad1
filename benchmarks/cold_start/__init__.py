"""Cold start and warm path, as ratios to peers that do the same work in the usual way. Never packaged."""
