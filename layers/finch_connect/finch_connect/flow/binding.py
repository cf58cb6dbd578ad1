"""The callback's first step: bind the request to the browser that started the flow, by its cookie and its state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from finch_connect.config import Config
from finch_connect.domain.errors import CallbackRefusedError
from finch_connect.domain.flow import ConnectMode, Flow, Status, epoch_ms
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import digest, flow_id_in, has_tag_of, state_of
from finch_connect.flow.ports import CallbackPorts

_CODE = re.compile(r"[!-~]{1,512}")
_MOST_COOKIES_WITHOUT_STATE = 8
_REPEATED_MS = 3_600_000
"""How long after a state's lifetime a browser may still repeat a callback."""


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """What arrived at the redirect URI. `cookies` are this browser's flow cookies by flow id."""

    state: Secret | None
    code: Secret | None
    error: str | None
    cookies: Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that this browser started: it holds the cookie from which the state was made.

    `row` is the flow's row if the callback had no state, else None. `made_here` is None if the cached link keys do not
    show whether this stack made the cookie.
    """

    flow_id: str
    cookie: Secret
    state_hash: str
    made_here: bool | None
    row: Flow | None = None


def bind(request: CallbackRequest, ports: CallbackPorts, config: Config) -> Attempt:
    """Return the attempt that this browser started. Raises CallbackRefusedError if there is none."""
    if request.code is not None and not _CODE.fullmatch(request.code.reveal()):
        raise CallbackRefusedError("code_malformed")
    if request.state is None:
        if config.connect_mode is ConnectMode.SESSION and config.stateless_callbacks:
            return _bind_without_state(request, ports, config)
        raise CallbackRefusedError("state_missing")
    flow_id = flow_id_in(request.state.reveal())
    if flow_id is None:
        raise CallbackRefusedError("state_malformed")
    cookie = request.cookies.get(flow_id)
    if cookie is None:
        raise CallbackRefusedError("cookie_missing", flow_id=flow_id)
    if state_of(cookie, flow_id) != request.state:
        raise CallbackRefusedError("cookie_wrong", flow_id=flow_id)
    made_here = _made_here(cookie, flow_id, ports, config)
    if made_here is False:
        raise CallbackRefusedError("cookie_made_up", flow_id=flow_id)
    return Attempt(flow_id, cookie, digest(request.state), made_here)


def _made_here(cookie: Secret, flow_id: str, ports: CallbackPorts, config: Config) -> bool | None:
    """Return whether this stack made the cookie, as far as the cached link keys show. It costs no call.

    None means that a key may be missing from the cache. The table decides then, so a rotation never refuses a genuine
    cookie.
    """
    cached = ports.keys.cached()
    if any(has_tag_of(cookie, flow_id, known.key) for known in cached.keys):
        return True
    oldest = epoch_ms(ports.clock()) - config.state_lifetime * 1000 - _REPEATED_MS  # no older cookie comes back
    return False if cached.complete_since is not None and cached.complete_since <= oldest else None


def _bind_without_state(request: CallbackRequest, ports: CallbackPorts, config: Config) -> Attempt:
    """Return this browser's one live attempt. Nobody has verified that Finch echoes a state in session mode.

    Any page can lead the browser here, so nothing may change before Finch's answer names this flow's customer.
    """
    if len(request.cookies) > _MOST_COOKIES_WITHOUT_STATE:
        raise CallbackRefusedError("state_missing")
    now = epoch_ms(ports.clock())
    live: list[Attempt] = []
    for flow_id, cookie in request.cookies.items():
        made_here = _made_here(cookie, flow_id, ports, config)
        if made_here is False:
            continue
        row, state_hash = ports.flows.get(flow_id), digest(state_of(cookie, flow_id))
        if row is not None and row.state_hash == state_hash and row.mode is ConnectMode.SESSION:
            repeated = request.code is not None and row.code_hash == digest(request.code)
            if repeated or (row.status is Status.STARTED and row.deadline > now):
                live.append(Attempt(flow_id, cookie, state_hash, made_here, row))
    if len(live) != 1:
        raise CallbackRefusedError("state_missing")
    return live[0]
