"""The demo app, its consumer and what `make demo` prints."""
