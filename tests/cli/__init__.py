"""What an operator relies on: the commands, alarms, runbook, metrics, and the logs they refer to."""
