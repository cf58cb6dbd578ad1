"""Search the logs: `make look AT=token-lost` runs the queries under that heading of docs/operations.md.

`make look FLOW=<flow_id>` shows one flow: its row, and what each function logged about it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import boto3

from cli.cloudformation import DeployedError, add_stack_arguments, exit_code_of, resources_of
from cli.logs_insights import run_query
from finch_connect.adapters.items import flow_key

RUNBOOK = Path(__file__).parents[1] / "docs" / "operations.md"
FLOW_HEADING = "where-one-flow-stands"
FLOW_PLACEHOLDER = "<flow_id>"
"""The placeholder for the flow id in the query under FLOW_HEADING."""

_NEEDS = (
    "cloudformation:DescribeStackResources, logs:StartQuery, logs:GetQueryResults and dynamodb:GetItem on the table"
)


class InvalidLookupError(DeployedError):
    """The heading or the flow id is not valid. The text says what is."""


@dataclass(frozen=True, slots=True)
class Query:
    """One Logs Insights query of the runbook. Its first line names the log groups by their logical ids."""

    groups: tuple[str, ...]
    text: str


def queries(runbook: str) -> Mapping[str, Sequence[Query]]:
    """Return the runbook's queries by the anchor of their heading."""
    found: dict[str, list[Query]] = {}
    for section in re.split(r"^##+ ", runbook, flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```sql\n# (.+)\n((?:.+\n)+)```$", section, re.MULTILINE)
        found[anchor_of(section.partition("\n")[0])] = [Query(tuple(groups.split()), text) for groups, text in blocks]
    return {anchor: listed for anchor, listed in found.items() if listed}


def anchor_of(heading: str) -> str:
    """Return a heading's anchor as GitHub builds it.

    >>> anchor_of("Finch's client secret")
    'finchs-client-secret'
    """
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def _show(query: Query, text: str, resources: Mapping[str, str], session: boto3.Session, hours: float) -> None:
    print(f"\n# {' '.join(query.groups)}, the last {hours:g} h\n{text}")
    rows = run_query(session.client("logs"), [resources[group] for group in query.groups], text, hours)
    for row in rows:
        print("  ".join(f"{name}={value}" if name[0] != "@" else value for name, value in row.items()))
    print(f"{len(rows)} found." if rows else "Nothing found.")


def _show_row(flow_id: str, table_name: str, session: boto3.Session) -> None:
    """Print a flow's row. It holds hashes and ids only."""
    found = session.client("dynamodb").get_item(TableName=table_name, Key=flow_key(flow_id), ConsistentRead=True)
    if "Item" not in found:
        print(f"{flow_id} has no row. Nobody opened its link, or the link ended more than a month ago.")
    for name, content in sorted(found.get("Item", {}).items()):
        print(f"{name:24}{next(iter(content.values()))}")


def _look(given: argparse.Namespace) -> None:
    known = queries(RUNBOOK.read_text())
    wanted = FLOW_HEADING if given.flow else given.at
    if wanted not in known:
        raise InvalidLookupError(
            f"docs/operations.md has no query under {wanted}. Use one of: {', '.join(sorted(known))}."
        )
    session = boto3.Session(region_name=given.region)
    resources = resources_of(session, given.stack)
    if given.flow:
        if not re.fullmatch(r"[A-Za-z0-9_-]{22}", given.flow):
            raise InvalidLookupError(
                f"{given.flow} is not a flow id. A flow id has 22 characters: letters, digits, - and _."
            )
        _show_row(given.flow, resources["FlowTable"], session)
    for query in known[wanted]:
        _show(query, query.text.replace(FLOW_PLACEHOLDER, given.flow or ""), resources, session, given.hours)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cli.look", description="Search the logs.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--at", metavar="HEADING", help="a heading of docs/operations.md, as alarms name it")
    which.add_argument("--flow", metavar="FLOW_ID", help="the id of a flow: show its row and its log lines")
    parser.add_argument("--hours", type=float, default=24, help="how far back (default: 24)")
    add_stack_arguments(parser)
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _look(given), given.stack, _NEEDS)


if __name__ == "__main__":
    sys.exit(main())
