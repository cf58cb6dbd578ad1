"""Finch's pages: consent, the choice of a provider, the sandbox's login, and the redirect back to the application.

They can be scripted: each page is one form, posted to the page's own URL. Fields: `allow` or `deny` (consent),
`provider` (choice), `username` and `password` (login). `deny` is on every page.
"""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from local.simulator.store import ASSISTED_PROVIDERS, LOGINS, PRODUCTS, PROVIDERS, AuthorizationRequest

pages = Blueprint("pages", __name__, template_folder="templates")

type Answer = str | tuple[str, int] | Response | WerkzeugResponse


@pages.get("/authorize")
def authorize() -> Answer:
    """Open Finch Connect, with a static URL's parameters or with a session's id."""
    authorization = _session() if "session" in request.args else _static()
    if isinstance(authorization, str):
        # As at Finch, a request that cannot be trusted gets an error page, never a redirect.
        return render_template("error.html", message=authorization), 400
    return redirect(url_for("pages.consent", attempt=_simulator().store.begin(authorization)))


@pages.route("/connect/<attempt>", methods=["GET", "POST"])
def consent(attempt: str) -> Answer:
    """Ask whether the application may have the data that it requests."""
    authorization = _authorization(attempt)
    if authorization is None:
        return _not_found()
    if request.method == "POST":
        if "deny" in request.form:
            return _denied(authorization)
        step = "pages.login" if authorization.provider else "pages.provider"
        return redirect(url_for(step, attempt=attempt, provider=authorization.provider), 303)
    products = [PRODUCTS.get(product, product) for product in authorization.products]
    return render_template("consent.html", products=products, customer=authorization.customer_name)


@pages.route("/connect/<attempt>/provider", methods=["GET", "POST"])
def provider(attempt: str) -> Answer:
    """Ask for the provider."""
    authorization = _authorization(attempt)
    if authorization is None:
        return _not_found()
    if "deny" in request.form:
        return _denied(authorization)
    offered = PROVIDERS | (ASSISTED_PROVIDERS if authorization.manual else {})
    chosen = request.form.get("provider")
    if chosen in offered:
        return redirect(url_for("pages.login", attempt=attempt, provider=chosen), 303)
    return render_template("provider.html", providers=offered)


@pages.route("/connect/<attempt>/login/<provider>", methods=["GET", "POST"])
def login(attempt: str, provider: str) -> Answer:
    """Ask for the sandbox's login, then redirect to the application with a code."""
    authorization = _authorization(attempt)
    if authorization is None or (authorization.provider or provider) != provider:
        return _not_found()
    if "deny" in request.form:
        return _denied(authorization)
    username, wrong = request.form.get("username", ""), False
    if request.method == "POST":
        # As in an e-mail address, a tag makes a different account: smallco+7 is another employer than smallco.
        if LOGINS.get(username.partition("+")[0]) == request.form.get("password"):
            code = _simulator().store.connect(authorization, provider, username)
            return _redirect_back(authorization, {"code": code})
        wrong = True
    name = (PROVIDERS | ASSISTED_PROVIDERS).get(provider, provider)
    page = render_template("login.html", provider=name, username=username, wrong=wrong)
    return (page, 401) if wrong else page


def _static() -> AuthorizationRequest | str:
    """Read a static URL's parameters. Return a sentence for the person if one of them is wrong."""
    given, simulator = request.args, _simulator()
    products = tuple(given.get("products", "").split(" "))
    wrong = {
        "client_id": given.get("client_id") != simulator.client_id,
        "redirect_uri": given.get("redirect_uri") not in simulator.redirect_uris,
        "products": not all(products),
        "category": given.get("category", "hris") not in {"hris", "ats"},
        "payroll_provider": given.get("payroll_provider", "gusto") not in PROVIDERS | ASSISTED_PROVIDERS,
        "sandbox": given.get("sandbox", "true") not in {"true", "false", "finch", "provider"},
        "manual": given.get("manual", "true") not in {"true", "false"},
    }
    for name, is_wrong in wrong.items():
        if is_wrong or len(given.getlist(name)) > 1:
            return f"The {name} in this URL is missing, repeated or not allowed for this application."
    return AuthorizationRequest(
        redirect_uri=given["redirect_uri"],
        products=products,
        state=given.get("state"),
        provider=given.get("payroll_provider"),
        manual=given.get("manual") == "true",
        reauthenticates=given.get("connection_id"),
    )


def _session() -> AuthorizationRequest | str:
    authorization: AuthorizationRequest | None = _simulator().store.session(request.args["session"])
    if authorization is None:
        return "This session has ended. Go back to the application and start again."
    state = request.args.get("state") if _simulator().session_echoes_state else None
    return dataclasses.replace(authorization, state=state)


def _denied(authorization: AuthorizationRequest) -> Answer:
    """Redirect without a code. Finch documents this redirect but not its parameters, so these are OAuth's."""
    parameters = {"error": "access_denied", "error_description": "The user did not allow access"}
    return _redirect_back(authorization, parameters)


def _redirect_back(authorization: AuthorizationRequest, parameters: dict[str, str]) -> Answer:
    state = {"state": authorization.state} if authorization.state is not None else {}
    return redirect(f"{authorization.redirect_uri}?{urlencode(parameters | state)}", 302)


def _authorization(attempt: str) -> AuthorizationRequest | None:
    authorization: AuthorizationRequest | None = _simulator().store.attempts.get(attempt)
    return authorization


def _not_found() -> Answer:
    return render_template("error.html", message="Go back to the application and start again."), 404


def _simulator() -> Any:
    return current_app.config["SIMULATOR"]
