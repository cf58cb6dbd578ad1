"""Tests of the load test: the accounting, the simulated people, the report, and a short run."""
