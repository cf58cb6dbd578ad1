"""The example consumer reads Finch's data with the token that an event leads to."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import boto3
import pytest

from local.simulator import Simulator
from local.simulator.store import AuthorizationRequest
from tests.template import ROOT

FOLDER = ROOT / "examples/consumer"


def test_a_consumer_reads_the_token_and_calls_finch(
    aws: None, finch: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gets the event as a queue delivers it and uses Finch's own SDK. An event without a secret is skipped."""
    monkeypatch.setenv("FINCH_BASE_URL", finch.url)
    code = finch.store.connect(
        AuthorizationRequest("http://localhost/callback", ("company",), None), "gusto", "smallco"
    )
    redeemed = finch.store.redeem(code, "http://localhost/callback")
    assert redeemed is not None
    secret = json.dumps({"access_token": redeemed[0]})
    made = boto3.client("secretsmanager").create_secret(Name="finch/dev/connections/c-1", SecretString=secret)
    details = [{"customer_id": "acme", "secret_arn": made["ARN"]}, {"customer_id": "acme", "reason": "superseded"}]
    spec = importlib.util.spec_from_file_location("consumer", Path(FOLDER, "function", "app.py"))
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    app.handler({"Records": [{"body": json.dumps({"detail": detail})} for detail in details]}, None)
    assert json.loads(capsys.readouterr().out) == {"customer_id": "acme", "company_id": redeemed[1].company_id}
