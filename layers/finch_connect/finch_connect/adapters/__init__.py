"""One file for each outside system. Implements the ports, and imports domain, flow and config, but never web."""
