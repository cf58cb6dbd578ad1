"""Cold start and warm path, as ratios to peers that do the same work written the usual way. Never packaged."""
