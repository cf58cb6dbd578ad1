"""The stack on a laptop: engine, Finch simulator and demo app. Never packaged."""
