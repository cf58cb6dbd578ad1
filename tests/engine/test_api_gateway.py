"""SAM CLI's local API server passes a function the same event as API Gateway.

The local API gateway uses internals of SAM CLI, so these tests fail when a new version changes them.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from samcli.lib.utils.stream_writer import StreamWriter

from local.browser import Browser
from local.engine.api_gateway import ApiGateway, DeployedFunctions
from local.engine.deploy import REFUSED_BY_EMULATOR, build, for_emulator
from local.engine.stack import LocalStack
from local.engine.supervised import EngineError
from tests.template import load_template

ANSWER = {
    "statusCode": 303,
    "headers": {"Location": "https://app.example.com/", "X-Test": "1"},
    "cookies": ["a=1; Path=/", "b=2; Path=/; Secure"],
    "body": "",
}


class Lambda:
    """A fake of the emulator's Lambda client. It records each event and returns ANSWER, or an error if `fails`."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.fails = False

    def invoke(self, **call: Any) -> dict[str, Any]:
        self.events.append((call["FunctionName"], json.loads(call["Payload"])))
        answer = {"Payload": io.BytesIO(json.dumps(ANSWER).encode())}
        return {**answer, "FunctionError": "Unhandled"} if self.fails else answer


class SlowLambda(Lambda):
    """Takes 50 ms per call, and records the largest number of calls that ran at once."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[int] = []
        self.most = 0

    def invoke(self, **call: Any) -> dict[str, Any]:
        self.running.append(1)
        self.most = max(self.most, len(self.running))
        time.sleep(0.05)
        self.running.pop()
        return super().invoke(**call)


@pytest.fixture(scope="module")
def functions() -> Lambda:
    """The Lambda client that the API gateway uses."""
    return Lambda()


@pytest.fixture(scope="module")
def api_gateway(functions: Lambda) -> Iterator[ApiGateway]:
    """An API gateway that serves the built template's routes."""
    with ApiGateway(0) as running:
        names = {f"{name}Aliaslive": f"physical-{name}" for name in ("ConnectFunction", "CallbackFunction")}
        running.serve_api(build(), DeployedFunctions(functions, names))
        yield running


@pytest.fixture
def event(api_gateway: ApiGateway, functions: Lambda) -> Any:
    """Return a function that sends a request and returns the event that the Lambda function got."""
    functions.events.clear()
    functions.fails = False

    def send(method: str, path: str, **options: Any) -> dict[str, Any]:
        requests.request(method, api_gateway.url + path, allow_redirects=False, timeout=10, **options)
        ((_, got),) = functions.events
        return got

    return send


@pytest.mark.parametrize(("at_once", "most"), [(2, 2), (None, 8)])
def test_no_more_functions_run_at_once_than_at_once_allows(at_once: int | None, most: int) -> None:
    """Further calls wait. Without a limit none does."""
    slow = SlowLambda()
    deployed = DeployedFunctions(slow, {"FAliaslive": "physical-f"}, at_once)
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda _: deployed.invoke("F", "{}", stdout=StreamWriter(io.StringIO())), range(8)))
    assert (len(slow.events), slow.most) == (8, most)


def test_the_api_gateway_serves_the_templates_routes(api_gateway: ApiGateway, functions: Lambda) -> None:
    """Each route invokes its function."""
    functions.events.clear()
    for method, path in [("GET", "/connect"), ("POST", "/connect"), ("GET", "/callback"), ("GET", "/callback/result")]:
        requests.request(method, api_gateway.url + path, allow_redirects=False, timeout=10)
    assert [name for name, _ in functions.events] == ["physical-ConnectFunction"] * 2 + [
        "physical-CallbackFunction"
    ] * 2


def test_the_payload_is_format_2(event: Any) -> None:
    """Version, route, raw query and domain name are those of API Gateway."""
    got = event("GET", "/callback?code=a%20b&state=x%2By")
    assert (got["version"], got["routeKey"], got["rawPath"]) == ("2.0", "GET /callback", "/callback")
    assert got["rawQueryString"] == "code=a%20b&state=x%2By"
    assert got["requestContext"]["domainName"] == "localhost"
    assert got["requestContext"]["http"]["method"] == "GET"


def test_duplicates_are_seen_in_the_raw_query(event: Any) -> None:
    """`queryStringParameters` joins them with commas, as API Gateway does."""
    got = event("GET", "/callback?state=a&state=b")
    assert got["rawQueryString"] == "state=a&state=b"
    assert got["queryStringParameters"]["state"] == "a,b"


def test_cookies_are_an_array(event: Any) -> None:
    """Each cookie is one entry."""
    assert event("GET", "/callback", headers={"Cookie": "a=1; b=2"})["cookies"] == ["a=1", "b=2"]


def test_a_form_is_the_events_body(event: Any) -> None:
    """The body is base64 or plain text, according to `isBase64Encoded`."""
    got = event("POST", "/connect", data={"link": "a b", "form_nonce": "x"})
    body = base64.b64decode(got["body"]).decode() if got["isBase64Encoded"] else got["body"]
    assert body == "link=a+b&form_nonce=x"


def test_each_cookie_of_a_response_is_a_header(api_gateway: ApiGateway, functions: Lambda) -> None:
    """Two cookies become two Set-Cookie headers, and the redirect is not rewritten."""
    functions.fails = False
    page = Browser().get(f"{api_gateway.url}/connect")
    assert (page.status, page.location, page.headers["X-Test"]) == (303, "https://app.example.com/", "1")
    assert page.set_cookies == ("a=1; Path=/", "b=2; Path=/; Secure")


def test_a_failed_function_returns_500(api_gateway: ApiGateway, functions: Lambda) -> None:
    """The body is API Gateway's and not the function's."""
    functions.fails = True
    answer = requests.get(f"{api_gateway.url}/connect", timeout=10)
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"})


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "/connect"), ("OPTIONS", "/connect"), ("POST", "/callback"), ("HEAD", "/callback"), ("GET", "/other")],
)
def test_an_unknown_route_invokes_nothing(api_gateway: ApiGateway, functions: Lambda, method: str, path: str) -> None:
    """The answer is 404, also for HEAD and OPTIONS, which Flask would add by itself."""
    functions.events.clear()
    assert requests.request(method, api_gateway.url + path, timeout=10).status_code == 404
    assert functions.events == []


def test_the_api_gateway_listens_on_this_machine_only(api_gateway: ApiGateway) -> None:
    """Its address is 127.0.0.1."""
    assert api_gateway.address[0] == "127.0.0.1"


def test_a_taken_port_is_reported(api_gateway: ApiGateway, local_stack: LocalStack) -> None:
    """The error names the port and suggests another."""
    with pytest.raises(EngineError, match=f"Port {api_gateway.port} is taken.*PORT={api_gateway.port + 1}"):
        local_stack.deploy(client_secret="x", parameters=lambda _: {}, port=api_gateway.port)


def test_only_resources_that_the_emulator_refuses_are_left_out() -> None:
    """Otherwise, the template deployed here has the same resources as the one deployed to AWS."""
    whole = load_template(build())["Resources"]
    deployed = load_template(for_emulator(build()))["Resources"]
    assert {whole[name]["Type"] for name in whole.keys() - deployed.keys()} == set(REFUSED_BY_EMULATOR)
    assert deployed.keys() <= whole.keys()
    changed = {name for name in deployed if deployed[name] != whole[name]}
    assert changed == {"TurnedAwayAlarm"}, "the only alarm that calculates, which the emulator cannot"
    metric = deployed["TurnedAwayAlarm"]["Properties"]
    assert (metric["Namespace"], metric["MetricName"], metric["Statistic"]) == ("AWS/ApiGateway", "5xx", "Sum")
