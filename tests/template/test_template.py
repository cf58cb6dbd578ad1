"""The template matches the design. These tests also cover what the emulator ignores."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate

from finch_connect.adapters.items import DUE_PARTITION
from finch_connect.config import Config, read
from finch_connect.domain.connection import LEASE_MS
from finch_connect.domain.errors import ConfigurationError
from finch_connect.domain.flow import CLAIM_GRACE_MS, RESTARTABLE, SETTLED
from finch_connect.flow.deadline import ANSWER_SECONDS
from local.engine.api_gateway import ALIAS
from tests.template import ROOT, load_template
from tests.template.expand import REGION, expanded

TEMPLATE = load_template()
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
TEXT = (ROOT / "template.yaml").read_text()
FUNCTIONS = {name: body for name, body in RESOURCES.items() if body["Type"] == "AWS::Serverless::Function"}
LINK_KEY, CLIENT_CREDENTIALS = {"Fn::GetAtt": ["LinkKey", "Id"]}, {"Fn::GetAtt": ["ClientCredentials", "Id"]}
ROLES = {name: body for name, body in RESOURCES.items() if body["Type"] == "AWS::IAM::Role"}


def properties(name: str) -> dict[str, Any]:
    return dict(RESOURCES[name]["Properties"])


def statements(role: str) -> list[dict[str, Any]]:
    """Return a role's statements, including those under a condition."""
    found: list[dict[str, Any]] = []
    for policy in RESOURCES[role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            found.append(statement["Fn::If"][1] if "Fn::If" in statement else statement)
    return found


def actions(role: str) -> set[str]:
    listed = [statement["Action"] for statement in statements(role)]
    return {action for entry in listed for action in ([entry] if isinstance(entry, str) else entry)}


def test_the_routes_match_the_contract() -> None:
    """A browser can request exactly what `contracts/openapi.yaml` has."""
    contract = yaml.safe_load((ROOT / "contracts/openapi.yaml").read_text())["paths"]
    promised = {(method.upper(), path) for path, methods in contract.items() for method in methods}
    events = [event["Properties"] for body in FUNCTIONS.values() for event in body["Properties"]["Events"].values()]
    routed = {(event["Method"], event["Path"]) for event in events if "Path" in event}
    assert routed == promised


def test_the_contract_is_valid_openapi() -> None:
    """Client generators and fuzzers can read it, as version 3.1."""
    validate(yaml.safe_load((ROOT / "contracts/openapi.yaml").read_text()))


def test_only_connect_and_callback_are_public() -> None:
    """Relay and sweeper are not reachable from outside."""
    public = {
        name
        for name, body in FUNCTIONS.items()
        if any(event["Type"] == "HttpApi" for event in body["Properties"]["Events"].values())
    }
    assert public == {"ConnectFunction", "CallbackFunction"}
    assert FUNCTIONS.keys() == {"ConnectFunction", "CallbackFunction", "RelayFunction", "SweeperFunction"}


def test_the_callback_has_a_separate_throttle() -> None:
    """A flood of opened links must not stop people from finishing."""
    api = properties("HttpApi")
    assert api["DefaultRouteSettings"]["ThrottlingRateLimit"] == {"Ref": "ConnectRateLimit"}
    assert api["RouteSettings"]["GET /callback"]["ThrottlingRateLimit"] == {"Ref": "CallbackRateLimit"}


def test_the_access_log_holds_neither_path_nor_query() -> None:
    """Path and query contain the code, the state and the link."""
    line = json.loads(properties("HttpApi")["AccessLogSettings"]["Format"])
    assert "$context.routeKey" in line.values()
    assert not any(re.search(r"path|query|requestOverride|\.uri", value, re.IGNORECASE) for value in line.values())


def test_the_table_expires_streams_encrypts_and_can_be_restored() -> None:
    """TTL only removes old rows. The stream is how the relay gets outcomes."""
    table = properties("FlowTable")
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert (RESOURCES["FlowTable"]["DeletionPolicy"], RESOURCES["FlowTable"]["UpdateReplacePolicy"]) == (
        "Retain",
        "Retain",
    )


def test_the_due_index_is_sparse_and_ordered_by_due_time() -> None:
    """A row has `due` and `due_at` only while something remains to be done."""
    (index,) = properties("FlowTable")["GlobalSecondaryIndexes"]
    assert (index["IndexName"], [key["AttributeName"] for key in index["KeySchema"]]) == ("due", ["due", "due_at"])


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_a_wildcard(role: str) -> None:
    """A wildcard is allowed only in a resource, for the names under a prefix of this stack."""
    for statement in statements(role):
        listed = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not any("*" in action for action in listed)
        for resource in statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]:
            text = resource["Fn::Sub"] if isinstance(resource, dict) and "Fn::Sub" in resource else ""
            assert resource != "*" or statement["Action"] == "dynamodb:ListStreams", "AWS knows no resource for it"
            if "*" in text:
                assert re.search(r"finch/\$\{Stage\}/(connections|quarantine|unstored)/\*$", text), text


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_has_a_separate_role_and_log_group(function: str) -> None:
    """So a role grants only what its function does, and every log expires."""
    name = function.removesuffix("Function")
    assert properties(function)["Role"] == {"Fn::GetAtt": [f"{name}Role", "Arn"]}
    assert properties(function)["LoggingConfig"] == {"LogGroup": {"Ref": f"{name}Logs"}}
    assert properties(f"{name}Logs")["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert "Policies" not in properties(function)


def test_no_function_may_read_tokens() -> None:
    """Only consumers may. Connect and callback read the config secrets by ARN, relay and sweeper read no secret."""
    for role in ROLES:
        for statement in statements(role):
            if "secretsmanager:GetSecretValue" in statement["Action"]:
                resources = (
                    statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
                )
                assert all(resource in (LINK_KEY, CLIENT_CREDENTIALS) for resource in resources)
    assert not any(action.startswith("secretsmanager") for action in actions("RelayRole"))
    assert "secretsmanager:GetSecretValue" not in actions("SweeperRole")


def test_connect_reads_the_client_credentials_in_session_mode_only() -> None:
    """In static mode it does not need them."""
    (policy,) = RESOURCES["ConnectRole"]["Properties"]["Policies"]
    conditional = [entry["Fn::If"] for entry in policy["PolicyDocument"]["Statement"] if "Fn::If" in entry]
    assert [entry[0] for entry in conditional if entry[1]["Resource"] == CLIENT_CREDENTIALS] == ["IsSessionMode"]


def test_only_relay_and_sweeper_publish() -> None:
    """Their roles allow it, and the bus denies the source finch.connect to everyone else."""
    assert {role for role in ROLES if "events:PutEvents" in actions(role)} == {"RelayRole", "SweeperRole"}
    statement = properties("EventBusPolicy")["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "events:PutEvents")
    assert statement["Condition"]["ForAnyValue:StringEquals"] == {"events:source": "finch.connect"}
    allowed = statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
    assert allowed == [{"Fn::GetAtt": ["RelayRole", "Arn"]}, {"Fn::GetAtt": ["SweeperRole", "Arn"]}]


def test_the_relay_retries_in_parts_and_then_dead_letters() -> None:
    """One poison record must not hold up the others for a day."""
    mapping = properties("RelayFunction")["Events"]["Outcomes"]["Properties"]
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["MaximumRetryAttempts"] > 0
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["RelayDeadLetterQueue", "Arn"]}


def test_the_stream_filter_lets_unpublished_outcomes_through() -> None:
    """It passes every settled status, and a restart over an outcome that was not published."""
    mapping = properties("RelayFunction")["Events"]["Outcomes"]["Properties"]
    new, restart = (json.loads(entry["Pattern"])["dynamodb"] for entry in mapping["FilterCriteria"]["Filters"])
    assert set(new["NewImage"]["status"]["S"]) == {str(status) for status in SETTLED}
    assert new["NewImage"]["due"] == restart["OldImage"]["due"] == {"S": [DUE_PARTITION]}
    assert set(restart["OldImage"]["status"]["S"]) == {str(status) for status in RESTARTABLE}


def test_the_sweeper_runs_every_five_minutes_and_ends_before_the_next_run() -> None:
    """Sweeps must not overlap."""
    assert properties("SweeperFunction")["Events"]["Often"]["Properties"]["Schedule"] == "rate(5 minutes)"
    assert properties("SweeperFunction")["Timeout"] < 300


def test_connect_and_callback_time_out_before_api_gateway() -> None:
    """A person gets the stack's page, not API Gateway's timeout after 30 seconds."""
    assert properties("CallbackFunction")["Timeout"] < 30
    assert properties("ConnectFunction")["Timeout"] < 30


def test_the_environment_is_what_the_configuration_reads() -> None:
    """No variable is missing, and every variable is read."""
    given = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"].keys()
    with pytest.raises(ConfigurationError) as caught:
        read({})
    required = set(re.findall(r"[A-Z][A-Z_]{3,}", caught.value.reason))
    assert required <= given
    others = {name for name in given if name.startswith("POWERTOOLS_")} | {"AWS_CA_BUNDLE"}  # read by libraries
    assert len(given - others) == len(dataclasses.fields(Config))


PUBLIC = ("ConnectFunction", "CallbackFunction")


@pytest.mark.parametrize("function", PUBLIC)
def test_the_api_calls_an_alias_of_a_published_version(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only published versions have snapshots (AWS: Lambda SnapStart), so integration and permission name the alias."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    plain = expanded(ROOT / "template.yaml")["Resources"]
    (version,) = (name for name in plain if re.fullmatch(rf"{function}Version[0-9a-f]{{10}}", name))
    alias = plain[f"{function}{ALIAS}"]["Properties"]
    assert (alias["Name"], alias["FunctionVersion"]) == ("live", {"Fn::GetAtt": [version, "Version"]})
    routes = plain["HttpApi"]["Properties"]["Body"]["paths"].values()
    called = {json.dumps(route["x-amazon-apigateway-integration"]["uri"]) for path in routes for route in path.values()}
    assert any(f"${{{function}{ALIAS}}}" in uri for uri in called)
    assert not any(f"${{{function}.Arn}}" in uri for uri in called)
    allowed = [
        body["Properties"]["FunctionName"] for body in plain.values() if body["Type"] == "AWS::Lambda::Permission"
    ]
    assert {"Ref": f"{function}{ALIAS}"} in allowed
    assert {"Ref": function} not in allowed


@pytest.mark.parametrize("function", PUBLIC)
def test_snapshots_are_off_by_default_and_end_with_their_alias(function: str) -> None:
    """Each version with a snapshot costs by the hour, so an old version is deleted with its alias."""
    assert TEMPLATE["Parameters"]["SnapStart"]["Default"] == "off"
    wanted = {"Fn::If": ["HasSnapStart", "PublishedVersions", "None"]}
    assert properties(function)["SnapStart"] == {"ApplyOn": wanted}
    assert RESOURCES[function]["DeletionPolicy"] == "Delete"


def test_connect_and_callback_have_more_memory_than_relay_and_sweeper() -> None:
    """People wait for them, and the share of a processor grows with memory. The default is arm64, which costs less."""
    assert TEMPLATE["Parameters"]["Architecture"]["Default"] == "arm64"
    assert {properties(function)["MemorySize"] for function in PUBLIC} == {1024}
    assert {properties(function)["MemorySize"] for function in FUNCTIONS.keys() - PUBLIC} == {512}


def test_relay_and_sweeper_have_neither_alias_nor_snapshot() -> None:
    """Nobody waits for them."""
    for function in FUNCTIONS.keys() - PUBLIC:
        assert not {"AutoPublishAlias", "SnapStart"} & properties(function).keys()


def test_each_build_publishes_new_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """SAM uses a parameter's name and not its value, so a new value alone would never reach the alias.

    Each build has a new layer (tests/engine), which causes the new versions. If the first assertion fails, SAM now
    includes values, and the layer's build no longer needs a time in it.
    """
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)

    def versions(**given: str) -> set[str]:
        plain = expanded(ROOT / "template.yaml", **given)["Resources"]
        return {name for name, body in plain.items() if body["Type"] == "AWS::Lambda::Version"}

    assert versions(ConnectMode="session") == versions(ConnectMode="static")
    assert versions(layer="one").isdisjoint(versions(layer="another"))


def test_secrets_are_never_parameters() -> None:
    """The client secret is put into Secrets Manager by hand, and the link key is generated."""
    assert not [name for name in TEMPLATE["Parameters"] if re.search("(?i)secret|key$|token", name)]
    for name in ("LinkKey", "ClientCredentials"):
        assert "GenerateSecretString" in properties(name)
        assert "SecretString" not in properties(name)


def test_every_free_text_parameter_has_a_pattern_and_every_parameter_a_description() -> None:
    """A typing error is refused before anything is deployed."""
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"], name
        if parameter["Type"] == "String":
            assert "AllowedPattern" in parameter or "AllowedValues" in parameter, name


def test_every_resource_has_a_comment_that_says_why() -> None:
    """The comment is on the line above the resource."""
    lines = TEXT.splitlines()
    for name in RESOURCES:
        assert lines[lines.index(f"  {name}:") - 1].startswith("  #"), name


def test_deadlines_leases_and_grace_periods_fit_together() -> None:
    """A person gets an answer before API Gateway's 30 s. A function has ended before its lease expires. The sweeper
    checks an expired lease before it marks the flow as orphaned.
    """
    timeout = RESOURCES["CallbackFunction"]["Properties"]["Timeout"]
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    budget, call = (float(variables[f"{name}_SECONDS"]) for name in ("REQUEST_BUDGET", "CALL_TIMEOUT"))
    assert budget + ANSWER_SECONDS <= timeout < 30
    assert budget > 5 * call, "Finch has time in addition to the five reserved calls"
    assert timeout * 1000 < LEASE_MS
    assert timeout * 1000 + LEASE_MS < CLAIM_GRACE_MS


def test_the_alarm_on_5xx_subtracts_preloads() -> None:
    """A preload gets 503 on purpose. The sweeper emits a 0 in each period, so there is always something to subtract."""
    metrics = {one["Id"]: one for one in properties("TurnedAwayAlarm")["Metrics"]}
    (calculated,) = [one for one in metrics.values() if one.get("ReturnData", True)]
    assert calculated["Expression"] == "all_5xx - FILL(preloads, 0)"
    watched = {name: one["MetricStat"] for name, one in metrics.items() if "MetricStat" in one}
    names = {name: (stat["Metric"]["Namespace"], stat["Metric"]["MetricName"]) for name, stat in watched.items()}
    assert names == {"all_5xx": ("AWS/ApiGateway", "5xx"), "preloads": ("FinchConnect", "Preloaded")}
    assert {(stat["Stat"], stat["Period"]) for stat in watched.values()} == {("Sum", 300)}
    assert 'count("Preloaded", 0)' in (ROOT / "functions/sweeper/app.py").read_text()


def test_a_domain_and_its_certificate_need_each_other() -> None:
    """CloudFormation checks rules before it creates anything."""
    is_set = {name: {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]} for name in ("DomainName", "CertificateArn")}
    rules = [TEMPLATE["Rules"][f"A{word}"] for word in ("DomainNeedsItsCertificate", "CertificateNeedsItsDomain")]
    conditions = [(rule["RuleCondition"], rule["Assertions"][0]["Assert"]) for rule in rules]
    domain, certificate = is_set["DomainName"], is_set["CertificateArn"]
    assert conditions == [(domain, certificate), (certificate, domain)]


def test_open_links_are_refused_outside_local_and_dev() -> None:
    """The template refuses them before a deployment, and the configuration at start."""
    rule = TEMPLATE["Rules"]["OpenLinksAreForTryingOut"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "LinkPolicy"}, "open"]}
    assert rule["Assertions"][0]["Assert"] == {"Fn::Contains": [["local", "dev"], {"Ref": "Stage"}]}


def test_samconfig_has_a_section_for_every_environment() -> None:
    """Production accepts only production tokens."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert {"default", "local", "staging", "prod"} <= config.keys()
    assert "AllowedClientTypes=production" in config["prod"]["deploy"]["parameters"]["parameter_overrides"]


def test_the_layer_is_built_from_pinned_pure_wheels() -> None:
    """The Makefile that SAM calls requires hashes and wheels without machine code."""
    assert RESOURCES["FinchConnectLayer"]["Metadata"] == {"BuildMethod": "makefile"}
    makefile = (ROOT / "layers/finch_connect/Makefile").read_text()
    assert "--require-hashes" in makefile
    assert "--platform any" in makefile
