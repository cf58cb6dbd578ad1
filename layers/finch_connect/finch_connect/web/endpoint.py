"""What both public functions share: every event gets an answer, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from finch_connect.config import Config
from finch_connect.domain.errors import FinchConnectError, PrefetchError
from finch_connect.flow.deadline import seconds_of
from finch_connect.flow.ports import Deadline
from finch_connect.observability import count, log_unexpected, logger
from finch_connect.web import apigateway, pages

type Serve = Callable[[apigateway.Request], apigateway.Response]
type Handler = Callable[[Mapping[str, Any], Any], dict[str, Any]]

_UNREADABLE = frozenset({"link_key_missing", "link_key_too_short", "secret_unreadable"})

PREFETCH = pages.problem(PrefetchError("prefetch"))
"""The answer to a browser that preloads. It changes nothing."""


def endpoint(config: Config, deadline: Deadline, refused: type[FinchConnectError]) -> Callable[[Serve], Handler]:
    """Turn a function from request to response into a Lambda handler. `deadline` begins with each request.

    An unreadable request raises `refused`. An error becomes its page or `application/problem+json`, and every answer
    has the same headers. The log gets the reason of a refusal, never the request.
    """

    def decorate(serve: Serve) -> Handler:
        def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
            as_json = False
            deadline.begin(seconds_of(context, at_most=config.request_budget))
            try:
                logger.set_correlation_id(event["requestContext"]["requestId"])  # the access log has it too
                request = apigateway.read(event)
                as_json = request.wants_json
                response = PREFETCH if request.is_prefetch else serve(request)
                response = apigateway.pruned(response, request)
            except apigateway.BadRequestError as error:
                response = _problem(refused(str(error)), config, as_json)
            except FinchConnectError as error:
                response = _problem(error, config, as_json)
            except Exception as error:  # noqa: BLE001  # anything unexpected: a page with all headers, and no text in the log
                log_unexpected(error)
                count("UnexpectedError")
                response = pages.problem(FinchConnectError("unexpected"), as_json=as_json)
            return apigateway.answer(response, config)

        return handler

    return decorate


def count_operator_errors(error: FinchConnectError) -> None:
    """Count what prevents every connection until an operator fixes it: unreadable secrets, refused credentials."""
    if error.reason in _UNREADABLE or error.fields.get("operation") == "GetSecretValue":
        count("SecretUnreadable", reason=error.reason)
    if error.fields.get("status") == HTTPStatus.UNAUTHORIZED:
        count("CredentialsRefused")


def _problem(error: FinchConnectError, config: Config, as_json: bool) -> apigateway.Response:
    ours = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    logger.warning("try_again" if ours else "refused", extra={"reason": error.reason, **error.fields})
    count("TryAgain" if ours else "Refused", reason=error.reason)
    count_operator_errors(error)
    # Open links are for trying the stack on a laptop, so they get the details. Everyone else gets the same page.
    facts = [error.reason, *map(str, error.fields.values())]
    return pages.problem(error, as_json=as_json, detail=": ".join(facts) if config.open_links else None)
