"""Rows 17 to 25: Finch's redirects and answers, genuine and forged."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable
from urllib.parse import parse_qsl, quote, urlencode

import pytest

from cli.quarantine import quarantine_ports
from finch_connect.domain.errors import DecisionRefusedError
from finch_connect.domain.names import Names
from finch_connect.flow.ports import QuarantinePorts
from finch_connect.flow.quarantine import discard, quarantined, release
from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.attacks.conftest import Untouched, headers_of, nothing_happens, refused
from tests.canary import Visitor
from tests.conftest import Customer, Inbox, query_of, secret_content, secret_versions


def changed(callback: str, *, remove: str = "", **query: str) -> str:
    """Return a callback URL with parameters replaced or added, and without `remove`."""
    address, _, _ = callback.partition("?")
    others = {name: value for name, value in query_of(callback).items() if name != remove}
    return f"{address}?{urlencode({**others, **query})}"


def test_17_a_callback_without_code_and_error_fails_the_flow_and_the_link_works_again(
    customer: Customer, inbox: Inbox, finch: Simulator
) -> None:
    """State and cookie are right, so the callback belongs to the flow, but there is nothing to exchange."""
    assert customer.receipt(customer.come_back(changed(customer.approved(), remove="code")))["status"] == "failed"
    (event,) = inbox.wait_for(customer)
    assert (event["detail-type"], event["detail"]["reason"]) == ("Connection Failed", "code_missing")
    assert finch.calls_to("/auth/token") == []
    assert customer.connect()["status"] == "connected"


def names_of(stack: RunningStack) -> Names:
    """Return the names of the stack's secrets."""
    return Names("session" if "finch-connect-session" in stack.outputs["BusName"] else "local")


def quarantine_of(stack: RunningStack) -> QuarantinePorts:
    """Return what an operator decides with, on the deployed stack."""
    clients = stack.client("dynamodb"), stack.client("secretsmanager")
    return quarantine_ports(*clients, stack.outputs["TableName"], names_of(stack), None)


@pytest.fixture
def injected(a_customer: Callable[..., Customer], inbox: Inbox) -> tuple[Customer, Customer, str]:
    """Connect a victim, then let an attacker bring the victim's next code with the attacker's own state.

    Returns the victim, the attacker, and the ARN of the victim's secret.
    """
    victim, attacker = a_customer(), a_customer(username="largeco")
    victim.connect()
    (event,) = inbox.wait_for(victim)
    stolen = query_of(dataclasses.replace(victim, link_id="another link", browser=Visitor()).approved())["code"]
    callback = changed(attacker.approved(), code=stolen)
    receipt = attacker.receipt(attacker.come_back(callback))
    assert receipt["status"] == "quarantined"
    assert "connection_id" not in receipt
    return victim, attacker, event["detail"]["secret_arn"]


def test_18_an_injected_code_is_quarantined_and_the_victims_secret_is_untouched(
    injected: tuple[Customer, Customer, str], inbox: Inbox, finch: Simulator
) -> None:
    """Finch has no PKCE, so the echoed customer or the connection's owner reveals the injection.

    Nothing is disconnected, because that could be the attacker's aim.
    """
    victim, attacker, secret_arn = injected
    (event,) = inbox.wait_for(attacker)
    assert event["detail-type"] == "Connection Quarantined"
    assert event["detail"]["reason"] in {"owner_mismatch", "customer_mismatch"}
    assert f"/quarantine/{attacker.flow_id}" in event["detail"]["secret_arn"]
    assert secret_versions(victim.stack, secret_arn) == 1
    assert secret_content(victim.stack, secret_arn)["customer_id"] == victim.customer_id
    assert finch.calls_to("/disconnect") == []
    assert len(inbox.of(attacker)) == 1


def test_18_an_echo_of_another_customer_is_quarantined_and_not_stored(
    customer: Customer, inbox: Inbox, finch: Simulator
) -> None:
    """If Finch names another customer than the link, the token does not become the connection's secret."""
    finch.faults.add(Fault("answer", answer={"customer_id": "somebody else"}))
    assert customer.connect()["status"] == "quarantined"
    (event,) = inbox.wait_for(customer)
    assert (event["detail-type"], event["detail"]["reason"]) == ("Connection Quarantined", "customer_mismatch")
    listed = customer.stack.client("secretsmanager").list_secrets()["SecretList"]
    assert not [one for one in listed if one["Name"].endswith(f"connections/{event['detail']['connection_id']}")]


def test_18_an_operator_discards_an_injected_token(
    injected: tuple[Customer, Customer, str], inbox: Inbox, finch: Simulator
) -> None:
    """The attacker's flow fails, the victim's secret stays as it was, and Finch disconnects nothing."""
    victim, attacker, secret_arn = injected
    inbox.wait_for(attacker)
    ports, names = quarantine_of(victim.stack), names_of(victim.stack)
    assert [flow.flow_id for flow in quarantined(ports) if flow.flow_id == attacker.flow_id]
    discard(attacker.flow_id, ports)
    failed = inbox.wait_for(attacker, 2)[-1]
    assert (failed["detail-type"], failed["detail"]["reason"]) == ("Connection Failed", "discarded")
    assert "secret_arn" not in failed["detail"]
    assert attacker.flow_id not in {flow.flow_id for flow in quarantined(ports)}
    assert secret_versions(victim.stack, secret_arn) == 1
    assert finch.calls_to("/disconnect") == []
    with pytest.raises(DecisionRefusedError, match="not_quarantined"):
        release(attacker.flow_id, ports, names)


def test_18_an_operator_releases_an_accountants_second_customer(
    injected: tuple[Customer, Customer, str], inbox: Inbox
) -> None:
    """One person may have two customers. The operator must name the customer who loses the connection."""
    victim, attacker, secret_arn = injected
    inbox.wait_for(attacker)
    ports, names = quarantine_of(victim.stack), names_of(victim.stack)
    with pytest.raises(DecisionRefusedError, match="owner_mismatch"):
        release(attacker.flow_id, ports, names)
    assert attacker.status() == "quarantined"
    assert secret_versions(victim.stack, secret_arn) == 1
    release(attacker.flow_id, ports, names, transfer_from=victim.customer_id)
    _, transferred, event = inbox.distinct(attacker, 3)
    assert transferred["detail-type"] == "Connection Transferred"
    assert transferred["detail"]["from_customer_id"] == victim.customer_id
    assert event["detail-type"] == "Connection Established"
    assert event["detail"]["secret_arn"] == secret_arn
    assert secret_content(victim.stack, secret_arn)["customer_id"] == attacker.customer_id
    assert attacker.flow_id not in {flow.flow_id for flow in quarantined(ports)}


def test_19_a_code_under_a_second_flow_fails_and_the_first_connection_is_untouched(
    a_customer: Callable[..., Customer], inbox: Inbox, finch: Simulator
) -> None:
    """Finch refuses a used code, so the second flow fails."""
    first, second = a_customer(), a_customer(username="largeco")
    callback = first.approved()
    receipt = first.receipt(first.come_back(callback))
    (established,) = inbox.wait_for(first)
    again = changed(second.approved(), code=query_of(callback)["code"])
    assert second.receipt(second.come_back(again))["status"] == "failed"
    (failed,) = inbox.wait_for(second)
    assert (failed["detail-type"], failed["detail"]["reason"]) == ("Connection Failed", "invalid_grant")
    secret_arn = established["detail"]["secret_arn"]
    assert secret_versions(first.stack, secret_arn) == 1
    assert secret_content(first.stack, secret_arn)["connection_id"] == receipt["connection_id"]
    assert [call.status for call in finch.calls_to("/auth/token")] == [200, 400]


@pytest.mark.parametrize(
    ("answer", "claims", "reason"),
    [
        ({"client_type": "martian"}, {}, "client_type_mismatch"),
        ({"provider_id": "bamboo_hr"}, {"payroll_provider": "gusto"}, "provider_mismatch"),
        ({"products": ["company", "ssn"]}, {}, "products_mismatch"),
        ({"products": ["company", "directory"]}, {"products": ["company"]}, "products_mismatch"),
        ({"connection_id": "../../config/link-key"}, {}, "connection_unknown"),
        ({"connection_id": "x" * 200}, {}, "connection_unknown"),
    ],
)
def test_20_an_answer_that_does_not_fit_the_request_is_quarantined(
    customer: Customer, inbox: Inbox, finch: Simulator, answer: dict[str, object], claims: dict[str, str], reason: str
) -> None:
    """The token is quarantined until an operator decides."""
    finch.faults.add(Fault("answer", answer=answer))
    receipt = customer.receipt(customer.come_back(customer.approved(**claims)))
    assert receipt["status"] == "quarantined"
    (event,) = inbox.wait_for(customer)
    assert (event["detail-type"], event["detail"]["reason"]) == ("Connection Quarantined", reason)
    assert f"/quarantine/{customer.flow_id}" in event["detail"]["secret_arn"]
    assert secret_versions(customer.stack, event["detail"]["secret_arn"]) == 1
    assert len(inbox.of(customer)) == 1


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        ("access_denied", "denied", "access_denied"),
        ("server_error", "failed", "server_error"),
        ("<script>alert(1)</script>", "failed", "unknown_error"),
        ("x" * 4000, "failed", "unknown_error"),
    ],
    ids=["denied", "server_error", "markup", "4 KB"],
)
def test_21_an_error_settles_the_flow_with_a_reason_from_the_allow_list(
    customer: Customer, inbox: Inbox, finch: Simulator, error: str, status: str, reason: str
) -> None:
    """The event never repeats the text of the redirect, only a known reason."""
    callback = changed(customer.approved(), remove="code", error=error, error_description="<b>now</b>")
    assert customer.receipt(customer.come_back(callback))["status"] == status
    (event,) = inbox.wait_for(customer)
    assert (event["detail-type"], event["detail"]["reason"]) == (f"Connection {status.title()}", reason)
    assert finch.calls_to("/auth/token") == []


def test_21_an_error_wins_over_a_code(customer: Customer, inbox: Inbox, finch: Simulator) -> None:
    """The flow is denied, and the code is not exchanged."""
    callback = changed(customer.approved(), error="access_denied")
    assert customer.receipt(customer.come_back(callback))["status"] == "denied"
    assert len(inbox.wait_for(customer)) == 1
    assert finch.calls_to("/auth/token") == []


def test_21_an_error_without_a_state_is_refused_and_changes_nothing(customer: Customer, untouched: Untouched) -> None:
    """Anyone can make such a URL, so it belongs to no flow."""
    customer.start()
    with untouched():
        assert refused(Visitor().get(f"{customer.stack.public_url}/callback?error=access_denied"))
    assert customer.status() == "started"


@pytest.mark.parametrize("name", ["code", "state"])
@pytest.mark.parametrize("second", ["the same", "another", "empty"])
def test_22_a_repeated_parameter_is_refused(customer: Customer, untouched: Untouched, name: str, second: str) -> None:
    """API Gateway joins repeated values with a comma, so the function reads the raw query."""
    callback = customer.approved()
    value = {"the same": query_of(callback).get(name, "x"), "another": "A" * 36, "empty": ""}[second]
    first = "" if name in query_of(callback) else f"&{name}=x"
    with untouched():
        assert refused(customer.come_back(f"{callback}{first}&{name}={quote(value)}"))
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"


UNREAD = "utm_source=a&utm_source=b&utm_term=%ff&=&%00=%0d%0a"


def test_22_parameters_that_nobody_reads_may_be_anything(customer: Customer, finch: Simulator) -> None:
    """Mail tools and trackers add their own to every address, some of them twice."""
    started = customer.browser.get(f"{customer.link()}&{UNREAD}")
    assert started.location is not None
    page = customer.come_back(f"{customer.approve(started.location)}&{UNREAD}")
    assert customer.receipt(page)["status"] == "connected"
    assert page.location is not None
    assert "utm" not in started.location + page.location


def test_22_a_blank_parameter_is_absent(customer: Customer) -> None:
    """A server that sends `error=` with a code reports no error (RFC 6749 section 3.1)."""
    page = customer.come_back(f"{customer.approved()}&error=&error_description=&iss=%20")
    assert customer.receipt(page)["status"] == "connected"


def test_22_a_repeated_link_is_refused(customer: Customer, untouched: Untouched) -> None:
    """Another reader might verify the other one, also if its name is escaped."""
    with untouched():
        for second in ("link=", "link=x", "%6Cink=x"):
            assert refused(customer.browser.get(f"{customer.link()}&{second}"))


HOSTILE = {
    "markup": "<script>alert('reflected')</script>",
    "attribute": "\" onmouseover='reflected()' x=\"",
    "CRLF": "x\r\nSet-Cookie: reflected=1\r\nX-Reflected: 1",
    "bidi": "\u202ereflected\u2066",
    "NUL": "reflected\x00",
    "8 KB": "reflected" * 900,
    "template": "${reflected} {{reflected}} %{reflected}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("route", ["/connect", "/callback", "/callback/result"])
def test_23_no_input_is_reflected(static_stack: RunningStack, finch: Simulator, route: str, text: str) -> None:
    """No parameter, header or cookie of the request reaches the body or a header of the answer."""
    url = f"{static_stack.public_url}{route}"
    names = ("link", "code", "state", "error", "error_description", "iss", "finch_receipt", "form_nonce", "anything")
    headers = {"User-Agent": "reflected<b>", "Referer": "https://reflected.example.com/<b>", "X-Reflected": "reflected"}
    with nothing_happens(static_stack, finch):
        for name in names:
            page = Visitor().get(f"{url}?{name}={quote(text)}", headers)
            assert refused(page)
            assert "eflected" not in page.text + repr(headers_of(page))
        tampered = Visitor()
        for cookie in (f"__Host-fc-{'A' * 22}", f"__Host-fcf-{'A' * 22}", "other"):
            tampered.set_cookie(url, cookie, quote(text)[:3000])
        assert refused(tampered.get(f"{url}?code=x&state={'A' * 22}.{'B' * 43}", headers))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_23_a_hostile_customer_name_is_escaped_or_refused(customer: Customer, text: str) -> None:
    """The customer's name is the only text of a link that a page shows (the confirm page)."""
    page = customer.browser.get(customer.link(customer_name=text, confirm=True))
    if any(unfit in text for unfit in "\r\n\x00\u202e") or len(text) > 255:
        assert refused(page)
        return
    assert page.status == 200
    assert f"<strong>{html.escape(text)}</strong>" in page.text
    assert "<script" not in page.text
    assert "eflected" not in repr(headers_of(page))


def test_24_another_issuer_is_refused(customer: Customer, untouched: Untouched, finch: Simulator) -> None:
    """The answer of another authorization server is refused (mix-up, RFC 9207)."""
    callback = customer.approved()
    with untouched():
        for issuer in ("https://evil.example.com", finch.url + "/", finch.url + ".evil.example.com"):
            assert refused(customer.come_back(changed(callback, iss=issuer)))
    assert customer.receipt(customer.come_back(changed(callback, iss=finch.url)))["status"] == "connected"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE"])
def test_25_no_other_method_consumes_a_callback(customer: Customer, untouched: Untouched, method: str) -> None:
    """API Gateway routes only GET to the callback."""
    callback = customer.approved()
    with untouched():
        assert customer.browser.request(method, callback).status in {403, 404, 405}
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
def test_25_no_other_method_starts_a_flow(customer: Customer, untouched: Untouched, method: str) -> None:
    """Scanners send HEAD and browsers send OPTIONS; both leave the link usable."""
    with untouched():
        assert customer.browser.request(method, customer.link()).status in {403, 404, 405}
    assert customer.connect()["status"] == "connected"


PRELOADS = [
    {"Sec-Purpose": "prefetch"},
    {"Sec-Purpose": "prefetch;prerender"},
    {"Sec-Purpose": "prefetch;anonymous-client-ip"},
    {"Purpose": "prefetch"},
    {"X-Moz": "prefetch"},
    {"X-Purpose": "preview"},
]


@pytest.mark.parametrize("headers", PRELOADS, ids=str)
def test_25_a_preload_gets_503_and_the_person_still_connects(
    customer: Customer, untouched: Untouched, headers: dict[str, str]
) -> None:
    """A preload of the link or of the callback neither starts nor finishes a flow."""
    with untouched():
        page = customer.browser.get(customer.link(), headers)
        assert (page.status, page.set_cookies) == (503, ())
    callback = customer.approved()
    with untouched():
        assert customer.come_back(callback, **headers).status == 503
    assert customer.receipt(customer.come_back(callback))["status"] == "connected"


def test_23_the_return_url_gains_only_the_receipt(customer: Customer) -> None:
    """The receipt needs no encoding, because a JWT is URL-safe."""
    page = customer.come_back(customer.approved(return_url=f"{customer.stack.public_url}/connected?a=%3Cb%3E&c=1"))
    assert page.location is not None
    assert [name for name, _ in parse_qsl(page.location.partition("?")[2])] == ["a", "c", "finch_receipt"]
