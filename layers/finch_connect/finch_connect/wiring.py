"""The composition root: the only module that knows both the ports and the adapters.

Each function calls one of these once, at import. Clients are made here and nowhere else. What a function may never need
is imported and made when it is needed: `connect` needs an HTTP client (12 ms of CPU) in session mode only, and the
callback needs a client for the fallback (5 ms) only while the vault is away (docs/performance.md).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from finch_connect.adapters import aws
from finch_connect.adapters.bus import EventBridgeBus
from finch_connect.adapters.dead_letters import DeadLetterQueue
from finch_connect.adapters.fallback import ParameterFallback
from finch_connect.adapters.items import read_stream_record
from finch_connect.adapters.keys import SecretsManagerClientSecrets, SecretsManagerLinkKeys
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.adapters.vault import SecretsManagerVault
from finch_connect.config import Config
from finch_connect.domain.flow import ConnectMode
from finch_connect.flow.deadline import RequestDeadline
from finch_connect.flow.ports import EVENTS_AT_ONCE, CallbackPorts, ConnectPorts, RelayPorts, Submit, SweeperPorts

if TYPE_CHECKING:
    from finch_connect.adapters.finch import FinchApi


def connect_ports(config: Config) -> ConnectPorts:
    """Wire `GET /connect`."""
    deadline = RequestDeadline(time.monotonic)
    client = aws.clients(deadline, config.call_timeout)
    secrets_manager = client("secretsmanager")
    return ConnectPorts(
        flows=DynamoFlowTable(client("dynamodb"), config.table_name),
        keys=_link_keys(secrets_manager, config),
        client_secrets=_client_secrets(secrets_manager, config),
        sessions=_finch(config) if config.connect_mode is ConnectMode.SESSION else None,
        clock=_now,
        random_bytes=secrets.token_bytes,
        deadline=deadline,
    )


def callback_ports(config: Config) -> CallbackPorts:
    """Wire `GET /callback`."""
    deadline = RequestDeadline(time.monotonic)
    client = aws.clients(deadline, config.call_timeout)
    secrets_manager = client("secretsmanager")
    table = DynamoFlowTable(client("dynamodb"), config.table_name)
    return CallbackPorts(
        flows=table,
        connections=table,
        vault=SecretsManagerVault(secrets_manager, config.stage, config.kms_key_id),
        fallback=_fallback(client, config),
        keys=_link_keys(secrets_manager, config),
        client_secrets=_client_secrets(secrets_manager, config),
        finch=_finch(config),
        clock=_now,
        random_bytes=secrets.token_bytes,
        deadline=deadline,
        submit=_submit(2),
    )


def relay_ports(config: Config) -> RelayPorts:
    """Wire the relay."""
    deadline = RequestDeadline(time.monotonic)
    client = aws.clients(deadline, config.call_timeout)
    table = DynamoFlowTable(client("dynamodb"), config.table_name)
    return RelayPorts(
        flows=table,
        connections=table,
        bus=EventBridgeBus(client("events"), config.bus_name),
        dead_letters=DeadLetterQueue(lambda: client("sqs"), config.dead_letter_queue_url),
        clock=_now,
        read_stream_record=read_stream_record,
        submit=_submit(EVENTS_AT_ONCE),
        deadline=deadline,
    )


def sweeper_ports(config: Config) -> SweeperPorts:
    """Wire the sweeper."""
    deadline = RequestDeadline(time.monotonic)
    client = aws.clients(deadline, config.call_timeout)
    table = DynamoFlowTable(client("dynamodb"), config.table_name)
    return SweeperPorts(
        flows=table,
        connections=table,
        vault=SecretsManagerVault(client("secretsmanager"), config.stage, config.kms_key_id),
        fallback=_fallback(client, config),
        bus=EventBridgeBus(client("events"), config.bus_name),
        clock=_now,
        submit=_submit(EVENTS_AT_ONCE),
        deadline=deadline,
    )


def _submit(workers: int) -> Submit:
    return ThreadPoolExecutor(max_workers=workers, thread_name_prefix="call").submit


def _finch(config: Config) -> FinchApi:
    from finch_connect.adapters.finch import FinchApi  # noqa: PLC0415  # it imports urllib3 and TLS

    return FinchApi(config.finch_api_url, config.finch_client_id, config.finch_api_version)


def _fallback(client: Callable[[str], Any], config: Config) -> ParameterFallback:
    return ParameterFallback(lambda: client("ssm"), config.names.fallback_prefix, config.kms_key_id)


def _link_keys(client: Any, config: Config) -> SecretsManagerLinkKeys:
    return SecretsManagerLinkKeys(client, config.link_key_secret_arn, time.time)


def _client_secrets(client: Any, config: Config) -> SecretsManagerClientSecrets:
    return SecretsManagerClientSecrets(client, config.client_credentials_secret_arn, time.time)


def _now() -> datetime:
    return datetime.now(UTC)
