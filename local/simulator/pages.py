"""What a person sees at Finch: consent, the choice of a provider, the sandbox's login, and the way back.

Scriptable: each page is one form, posted to its own address. Fields: `allow` or `deny` (consent), `provider`
(choice), `username` and `password` (login). `deny` is on every page.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from local.simulator.store import ASSISTED_PROVIDERS, LOGINS, PRODUCTS, PROVIDERS, Asked

pages = Blueprint("pages", __name__, template_folder="templates")

type Answer = str | tuple[str, int] | Response | WerkzeugResponse


@pages.get("/authorize")
def authorize() -> Answer:
    """Open Finch Connect: with a static URL's parameters, or with a session's id."""
    asked = _session() if "session" in request.args else _static()
    if isinstance(asked, str):
        # As at Finch: what cannot be trusted is shown here and never redirected to.
        return render_template("error.html", message=asked), 400
    return redirect(url_for("pages.consent", attempt=_simulator().store.begin(asked)))


@pages.route("/connect/<attempt>", methods=["GET", "POST"])
def consent(attempt: str) -> Answer:
    """Ask whether the application may have what it asks for."""
    asked = _asked(attempt)
    if asked is None:
        return _gone()
    if request.method == "POST":
        if "deny" in request.form:
            return _denied(asked)
        step = "pages.login" if asked.provider else "pages.provider"
        return redirect(url_for(step, attempt=attempt, provider=asked.provider), 303)
    products = [PRODUCTS.get(product, product) for product in asked.products]
    return render_template("consent.html", products=products, customer=asked.customer_name)


@pages.route("/connect/<attempt>/provider", methods=["GET", "POST"])
def provider(attempt: str) -> Answer:
    """Ask which system it is."""
    asked = _asked(attempt)
    if asked is None:
        return _gone()
    if "deny" in request.form:
        return _denied(asked)
    offered = PROVIDERS | (ASSISTED_PROVIDERS if asked.manual else {})
    chosen = request.form.get("provider")
    if chosen in offered:
        return redirect(url_for("pages.login", attempt=attempt, provider=chosen), 303)
    return render_template("provider.html", providers=offered)


@pages.route("/connect/<attempt>/login/<provider>", methods=["GET", "POST"])
def login(attempt: str, provider: str) -> Answer:
    """Ask for the sandbox's login, then go back to the application with a code."""
    asked = _asked(attempt)
    if asked is None or (asked.provider or provider) != provider:
        return _gone()
    if "deny" in request.form:
        return _denied(asked)
    username, wrong = request.form.get("username", ""), False
    if request.method == "POST":
        # As in an e-mail address, a tag makes another account of it: smallco+7 is an employer of its own.
        if LOGINS.get(username.partition("+")[0]) == request.form.get("password"):
            code = _simulator().store.connect(asked, provider, username)
            return _back(asked, {"code": code})
        wrong = True
    name = (PROVIDERS | ASSISTED_PROVIDERS).get(provider, provider)
    page = render_template("login.html", provider=name, username=username, wrong=wrong)
    return (page, 401) if wrong else page


def _static() -> Asked | str:
    """Read a static URL's parameters; return what is wrong with them otherwise."""
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
            return f"The {name} of this address is not one that this application may use."
    return Asked(
        redirect_uri=given["redirect_uri"],
        products=products,
        state=given.get("state"),
        provider=given.get("payroll_provider"),
        manual=given.get("manual") == "true",
        reauthenticates=given.get("connection_id"),
    )


def _session() -> Asked | str:
    asked: Asked | None = _simulator().store.session(request.args["session"])
    if asked is None:
        return "This session has ended. Go back to the application and start again."
    state = request.args.get("state") if _simulator().session_echoes_state else None
    return Asked(**{name: getattr(asked, name) for name in asked.__dataclass_fields__} | {"state": state})


def _denied(asked: Asked) -> Answer:
    """Go back without a code. Finch documents that denials come back, and names no parameter: these are OAuth's."""
    return _back(asked, {"error": "access_denied", "error_description": "The user did not allow access"})


def _back(asked: Asked, parameters: dict[str, str]) -> Answer:
    state = {"state": asked.state} if asked.state is not None else {}
    return redirect(f"{asked.redirect_uri}?{urlencode(parameters | state)}", 302)


def _asked(attempt: str) -> Asked | None:
    asked: Asked | None = _simulator().store.attempts.get(attempt)
    return asked


def _gone() -> Answer:
    return render_template("error.html", message="Go back to the application and start again."), 404


def _simulator() -> Any:
    return current_app.config["SIMULATOR"]
