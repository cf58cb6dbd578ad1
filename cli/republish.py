"""Publish outcomes again: `make republish FLOW=…` for one flow, `make republish SINCE=… UNTIL=…` for a span of time.

The bus's policy lets only the relay and the sweeper publish as finch.connect. So this tool marks rows as not published,
and the relay or the sweeper publishes the same event with the same `event_id`. Each step can be repeated.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from cli.cloudformation import DeployedError, add_stack_arguments, exit_code_of, outputs_of
from finch_connect.adapters.aws import code_of
from finch_connect.adapters.items import DUE_PARTITION, FLOW_KEY, flow_key, flow_of, value
from finch_connect.domain.flow import SETTLED, Flow, epoch_ms, from_epoch_ms

AT_MOST = 100
"""A larger number of outcomes must be confirmed, because consumers receive each one again."""

_PAGE_ROWS = 1000
_NEEDS = "cloudformation:DescribeStacks, and dynamodb:GetItem, Scan and UpdateItem on the table"

type Progress = Callable[[str], None]
"""Reports progress to the person who waits."""


class RepublishError(DeployedError):
    """The request cannot be carried out, and nothing was changed. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """The settled rows of one stack, accessed with the operator's credentials."""

    dynamodb: Any
    table_name: str
    page_rows: int = _PAGE_ROWS

    def one(self, flow_id: str) -> Flow:
        """Return a settled flow. Raises RepublishError when there is no row or no outcome."""
        answer = self.dynamodb.get_item(TableName=self.table_name, Key=flow_key(flow_id), ConsistentRead=True)
        if "Item" not in answer:
            raise RepublishError(
                f"There is no flow {flow_id} in {self.table_name}. Rows are deleted a month after their link ends."
            )
        flow = flow_of(answer["Item"])
        if flow.status not in SETTLED:
            raise RepublishError(f"{flow_id} is {flow.status}, so it has no outcome to publish yet.")
        return flow

    def settled(self, since: datetime, until: datetime, progress: Progress) -> Sequence[Flow]:
        """Return the flows settled from `since` to just before `until`, oldest first. Reads the whole table."""
        return sorted(self._settled(since, until, progress), key=lambda flow: flow.settled_at or 0)

    def republish(self, flow: Flow) -> bool:
        """Mark an outcome as not published. Return False, and change nothing, if the row no longer has this outcome."""
        try:
            self.dynamodb.update_item(
                TableName=self.table_name,
                Key=flow_key(flow.flow_id),
                UpdateExpression="SET due = :due, due_at = :now REMOVE published_at, expires",
                ConditionExpression="#status = :was AND state_hash = :state_hash AND settled_at = :settled_at",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":due": {"S": DUE_PARTITION},
                    ":now": value("due_at", time.time_ns() // 1_000_000),
                    ":was": value("status", flow.status),
                    ":state_hash": value("state_hash", flow.state_hash),
                    ":settled_at": value("settled_at", flow.settled_at),
                },
            )
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _settled(self, since: datetime, until: datetime, progress: Progress) -> Iterator[Flow]:
        statuses = {f":{status}": {"S": str(status)} for status in sorted(SETTLED)}
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.table_name,
            FilterExpression=(
                "begins_with(id, :flow) AND settled_at >= :since AND settled_at < :until "
                f"AND #status IN ({', '.join(statuses)})"
            ),
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":flow": {"S": FLOW_KEY},
                ":since": value("settled_at", epoch_ms(since)),
                ":until": value("settled_at", epoch_ms(until)),
                **statuses,
            },
            PaginationConfig={"PageSize": self.page_rows},
        )
        read = found = 0
        for page in pages:
            read, found = read + page["ScannedCount"], found + len(page["Items"])
            progress(f"{read} rows read, {found} of them settled in this span")
            for item in page["Items"]:
                try:
                    yield flow_of(item)
                except (KeyError, ValueError, TypeError):  # not a valid flow row: the relay cannot publish it either
                    progress(f"{item['id']['S']} cannot be read and is skipped\n")


def moment(text: str) -> datetime:
    """Parse a time that has a zone, and return it in UTC. Raises RepublishError for anything else."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise RepublishError(f"{text} is not a time. Write it like 2026-01-01T10:00Z.") from None
    if read.tzinfo is None:
        raise RepublishError(f"{text} has no time zone. Write {text}Z for UTC, or {text}+01:00.")
    return read.astimezone(UTC)


def _wanted(given: argparse.Namespace, outbox: Outbox) -> Sequence[Flow]:
    if given.flow:
        return [outbox.one(given.flow)]
    since, until = moment(given.since), moment(given.until) if given.until else datetime.now(UTC)
    if since >= until:
        raise RepublishError(
            f"The span must end after it begins, but it is {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC."
        )
    flows = outbox.settled(since, until, lambda how_far: print(f"\r{how_far}", end="", file=sys.stderr, flush=True))
    print(file=sys.stderr)
    if len(flows) > given.at_most:
        raise RepublishError(
            f"{len(flows)} flows were settled in this span, more than {given.at_most}. Your consumers would receive "
            f"each outcome again. Nothing was changed. Choose a shorter span, or add AT_MOST={len(flows)} to confirm."
        )
    return flows


def _republish(given: argparse.Namespace) -> None:
    session = boto3.Session(region_name=given.region)
    outbox = Outbox(session.client("dynamodb"), outputs_of(session, given.stack)["TableName"])
    count = 0
    for flow in _wanted(given, outbox):
        if outbox.republish(flow):
            count += 1
            print(_line(flow))
        else:
            print(f"{flow.flow_id}  skipped: it has changed meanwhile. Its next outcome is published automatically.")
    print(f"{count} to be published again, by the relay within seconds or by the sweeper within minutes.")


def _line(flow: Flow) -> str:
    when = from_epoch_ms(flow.settled_at or 0).strftime("%Y-%m-%d %H:%M:%S")
    return f"{flow.flow_id}  {when}  {flow.status:11}  {flow.customer_id}  {flow.event_id}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Mark outcomes to be published again, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cli.republish", description="Publish outcomes again.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--flow", metavar="FLOW_ID", help="the flow whose outcome to publish")
    which.add_argument("--since", metavar="TIME", help="all flows settled from this time on, such as 2026-01-01T10:00Z")
    parser.add_argument("--until", metavar="TIME", help="to just before this time (default: now)")
    parser.add_argument(
        "--at-most",
        type=int,
        default=AT_MOST,
        metavar="NUMBER",
        help=f"the most outcomes to publish (default: {AT_MOST})",
    )
    add_stack_arguments(parser)
    given = parser.parse_args(arguments)
    if given.until and not given.since:
        parser.error("--until needs --since")
    return exit_code_of(lambda: _republish(given), given.stack, _NEEDS)


if __name__ == "__main__":
    sys.exit(main())
