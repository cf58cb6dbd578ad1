"""A secret's text is reachable by `reveal` alone."""

from __future__ import annotations

import copy
import pickle

import pytest

from finch_connect.domain.secret import Secret


def test_a_secret_does_not_show_itself() -> None:
    """Printing and formatting show no text, and a secret cannot be pickled or copied."""
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {secret!s} {[secret]} {secret:>20}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    assert secret.reveal() == "hunter2"


def test_secrets_are_compared_with_secrets_only() -> None:
    """A secret never equals a plain text, so that no comparison bypasses the type."""
    assert Secret("hunter2") == Secret("hunter2") != Secret("hunter3")
    assert Secret("hunter2") != "hunter2"
