"""The names of secrets and parameters are those that the template grants access to."""

from __future__ import annotations

import json
import re

from finch_connect.domain.names import Names
from tests.template import load_template

NAMES = Names("${Stage}")
GRANTED = re.compile(r'"arn:[^"]+:(?:secret:|parameter)([^"]*)\*"')


def test_the_template_grants_access_to_these_names_and_no_others() -> None:
    """With another prefix, a function could not store a token, or a role could read other secrets of the account."""
    granted = set(GRANTED.findall(json.dumps(load_template()["Resources"])))
    assert granted == {NAMES.connection_secret(""), NAMES.quarantine_secret(""), f"{NAMES.fallback_prefix}/"}
