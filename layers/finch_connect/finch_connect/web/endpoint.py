"""What both public functions share: every event gets an answer, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from finch_connect.config import Config
from finch_connect.domain.errors import CodeUnusedError, FinchConnectError, OperatorNeededError, PrefetchError
from finch_connect.flow.deadline import seconds_of
from finch_connect.flow.ports import Deadline
from finch_connect.observability import count, count_operator_error, log_unexpected, logger
from finch_connect.web import apigateway, pages

type Serve = Callable[[apigateway.Request], apigateway.Response]
type Handler = Callable[[Mapping[str, Any], Any], dict[str, Any]]

_UNREADABLE = frozenset({"link_key_missing", "link_key_too_short", "secret_unreadable"})
_REFUSED_FOR_GOOD = ("AccessDenied", "NotAuthorized", "ResourceNotFound", "UnrecognizedClient", "Validation")
"""What AWS's error codes start with when the same call is refused until an operator changes something."""

PREFETCH = pages.problem(PrefetchError("prefetch"))
"""The answer to a browser that preloads. It changes nothing."""


def endpoint(config: Config, deadline: Deadline, refused: type[FinchConnectError]) -> Callable[[Serve], Handler]:
    """Turn a function from request to response into a Lambda handler. `deadline` begins with each request.

    An unreadable request raises `refused`. An error becomes its page or `application/problem+json`, and every answer
    has the same headers. The log gets the reason of a refusal, never the request.
    """

    def decorate(serve: Serve) -> Handler:
        def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
            as_json, posted = False, None
            deadline.begin(seconds_of(context, at_most=config.request_budget))
            try:
                logger.set_correlation_id(event["requestContext"]["requestId"])  # the access log has it too
                request = apigateway.read(event)
                as_json, posted = request.wants_json, request.posted
                response = PREFETCH if request.is_prefetch else serve(request)
                if request.is_prefetch:  # a 5xx on purpose: the alarm on 5xx subtracts this metric
                    count("Preloaded")
                response = apigateway.pruned(response, request)
            except apigateway.BadRequestError as error:
                response = _problem(refused(str(error)), config, as_json, posted)
            except FinchConnectError as error:
                response = _problem(error, config, as_json, posted)
            except Exception as error:  # noqa: BLE001  # anything unexpected: a page with all headers, and no text in the log
                log_unexpected(error)
                count("UnexpectedError")
                response = pages.problem(FinchConnectError("unexpected"), as_json=as_json, posted=posted)
            return apigateway.answer(response, config)

        return handler

    return decorate


def count_operator_errors(error: FinchConnectError) -> None:
    """Count what prevents connections until an operator fixes it: unreadable secrets, refusals by Finch or by AWS."""
    if error.reason in _UNREADABLE or error.fields.get("operation") == "GetSecretValue":
        count("SecretUnreadable", reason=error.reason)
    elif str(error.fields.get("aws_code", "")).startswith(_REFUSED_FOR_GOOD):
        count("OperatorErrors", reason=error.reason)
    if isinstance(error, OperatorNeededError):
        count_operator_error(error.reason)


def _problem(
    error: FinchConnectError, config: Config, as_json: bool, posted: Mapping[str, str] | None
) -> apigateway.Response:
    ours = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    logger.warning("try_again" if ours else "refused", extra={"reason": error.reason, **error.fields})
    count("TryAgain" if ours else "Refused", reason=error.reason)
    count_operator_errors(error)
    if isinstance(error, CodeUnusedError):
        count("CodeUnused", reason=error.reason)
    # Open links are for trying the stack on a laptop, so they get the details. Everyone else gets the same page.
    facts = [error.reason, *(str(fact) for name, fact in error.fields.items() if name != "finch_error")]
    return pages.problem(error, as_json=as_json, posted=posted, detail=": ".join(facts) if config.open_links else None)
