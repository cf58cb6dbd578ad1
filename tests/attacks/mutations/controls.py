"""The controls that `make mutations` removes, one at a time: where each is, and what replaces it."""

from __future__ import annotations

from dataclasses import dataclass

_LAYER = "layers/finch_connect/finch_connect"
_DOMAIN, _FLOW, _ADAPTERS, _WEB = (f"{_LAYER}/{folder}/" for folder in ("domain", "flow", "adapters", "web"))


@dataclass(frozen=True, slots=True)
class Mutation:
    """One control: the one occurrence of `text` in `path` becomes `instead`. The attacks of `rows` run first.

    If `case` is given, a test of the fault suite has to notice instead: the one that pytest's `-k` selects by it.
    """

    control: str
    path: str
    text: str
    instead: str
    rows: tuple[int, ...]
    case: str | None = None


MUTATIONS = [
    Mutation(
        "without a state, no error settles a flow",
        _FLOW + "callback.py",
        "    if attempt.row is not None and (request.error is not None or request.code is None):",
        "    if False:",
        (53,),
    ),
    Mutation(
        "without a state, the answer names the customer",
        _FLOW + "callback.py",
        "    if claim.attempt.row is not None and complete.customer_id != claim.flow.customer_id:",
        "    if False:",
        (53,),
    ),
    Mutation(
        "the cookie check",
        _FLOW + "binding.py",
        "    if state_of(cookie, flow_id) != request.state:",
        "    if False:",
        (3,),
    ),
    Mutation(
        "claim: only a started flow",
        _ADAPTERS + "table.py",
        "((#status = :was AND deadline > :now) OR",
        "(((#status = :was OR due_at > :now) AND deadline > :now) OR",
        (4, 5, 9),
    ),
    Mutation(
        "claim: only with the attempt's state",
        _ADAPTERS + "table.py",
        '"state_hash = :state_hash AND "',
        '"(state_hash = :state_hash OR deadline > :now) AND "',
        (3, 9),
    ),
    Mutation(
        "claim: only before the deadline",
        _ADAPTERS + "table.py",
        "AND deadline > :now",
        "AND (deadline > :now OR deadline <= :now)",
        (6, 9),
    ),
    Mutation(
        "start: not over another browser's flow",
        _ADAPTERS + "table.py",
        '    StartRule.NEW_ATTEMPT: f"{_NEW} OR ({_SAME})",',
        '    StartRule.NEW_ATTEMPT: f"{_NEW} OR #status = :started",',
        (9, 11),
    ),
    Mutation(
        "start: never again with an ended attempt's state",
        _ADAPTERS + "table.py",
        "({_ENDED} AND state_hash <> :state_hash)",
        "({_ENDED} AND (state_hash <> :state_hash OR attribute_exists(id)))",
        (9,),
    ),
    Mutation(
        "start: only over attempts that are not later than the confirm page",
        _ADAPTERS + "table.py",
        "started_at <= :asked_at",
        "(started_at <= :asked_at OR started_at > :asked_at)",
        (9,),
    ),
    Mutation(
        "a button pressed twice is one attempt",
        _FLOW + "start.py",
        "cookie_of_page(page.form_cookie, flow_id, page.asked_at, key)",
        "new_cookie(ports.random_bytes(COOKIE_BYTES), flow_id, key)",
        (37,),
    ),
    Mutation(
        "made-up cookies are refused before the table is asked",
        _FLOW + "binding.py",
        "    return False if cached.complete_since is not None and cached.complete_since <= oldest else None",
        "    return None if oldest else None",
        (39,),
    ),
    Mutation(
        "settle: only over its own claim",
        _ADAPTERS + "table.py",
        '"condition": f"{condition} AND claimed_at = :claimed_at"',
        '"condition": f"{condition} AND (claimed_at = :claimed_at OR claimed_at <> :claimed_at)"',
        (9,),
    ),
    Mutation(
        "lease: only for the same customer",
        _ADAPTERS + "table.py",
        "OR (customer_id = :customer_id AND ",
        "OR ((customer_id = :customer_id OR customer_id <> :customer_id) AND ",
        (9, 18),
    ),
    Mutation(
        "lease: never for an older token",
        _ADAPTERS + "table.py",
        "stored_granted_at < :granted_at",
        "stored_granted_at <> :granted_at",
        (9,),
    ),
    Mutation(
        "lease: one claim at a time",
        _ADAPTERS + "table.py",
        "(attribute_not_exists(due_at) AND ",
        "((attribute_not_exists(due_at) OR due_at > :claimed_at) AND ",
        (9,),
    ),
    Mutation(
        "the link's signature",
        _DOMAIN + "jws.py",
        "    if Secret(_signature(token.signed, key)) != Secret(token.signature):",
        "    if False:",
        (10,),
    ),
    Mutation("the link's algorithm", _DOMAIN + "jws.py", 'header.get("alg") != ALGORITHM or ', "", (10,)),
    Mutation("the link's audience", _FLOW + "links.py", "    if audience not in audiences:", "    if False:", (10,)),
    Mutation("the link's expiry", _FLOW + "links.py", "    if expires + skew <= seconds:", "    if False:", (10,)),
    Mutation(
        "the link's maximum lifetime",
        _DOMAIN + "link_claims.py",
        "    if not 0 < lifetime <= rules.max_lifetime:",
        "    if not 0 < lifetime:",
        (10,),
    ),
    Mutation(
        "the previous link key still works",
        _ADAPTERS + "keys.py",
        "        return previous if previous is not None and previous.kid == kid else None",
        "        return None",
        (10,),
    ),
    Mutation(
        "a link key of 256 bits",
        _DOMAIN + "jws.py",
        "    return len(key.reveal().encode()) >= MIN_KEY_BYTES",
        "    return True",
        (41,),
    ),
    Mutation(
        "strict JSON in a link's metadata",
        _DOMAIN + "link_claims.py",
        "        text = strict_json.dumps(value, max_levels=METADATA_MAX_LEVELS)",
        "        text = str(value)",
        (40,),
    ),
    Mutation(
        "the receipt's signature",
        _FLOW + "links.py",
        "jws.sign(present, key.key, ",
        'jws.sign(present, jws.Secret("k" * 64), ',
        (4,),
    ),
    Mutation(
        "the return URL check at the link",
        _DOMAIN + "link_claims.py",
        "    if value is not None and not is_allowed(value, rules.allowed_return_urls):",
        "    if False:",
        (15,),
    ),
    Mutation(
        "the return URL's path parameters",
        _DOMAIN + "return_urls.py",
        'segment.partition(";")[0].strip()',
        "segment",
        (15,),
    ),
    Mutation(
        "the return URL's escapes of escapes",
        _DOMAIN + "return_urls.py",
        "        decoded = unquote(path)",
        "        decoded = path",
        (15,),
    ),
    Mutation(
        "one receipt in the return URL",
        _DOMAIN + "return_urls.py",
        "    base = without_receipt(return_url)",
        "    base = return_url",
        (15,),
    ),
    Mutation(
        "no control or override in a text",
        _DOMAIN + "text.py",
        "    return _UNFIT.search(text) is None",
        "    return True",
        (13, 23),
    ),
    Mutation(
        "the return URL check at the callback",
        _WEB + "callback_answer.py",
        "flow.return_url is not None and is_allowed(flow.return_url, config.allowed_return_urls)",
        "flow.return_url is not None",
        (15,),
    ),
    Mutation(
        "products: only those of the stack",
        _DOMAIN + "link_claims.py",
        "isinstance(product, str) and product in rules.allowed_products for product",
        "isinstance(product, str) for product",
        (14,),
    ),
    Mutation(
        "the public URL never comes from a header",
        _WEB + "apigateway.py",
        '    return config.public_url or f"https://{request.domain_name}"',
        '    host = request.headers.get("x-forwarded-host")\n'
        '    return f"https://{host}" if host else config.public_url or f"https://{request.domain_name}"',
        (16,),
    ),
    Mutation(
        "moved to the configured host only once",
        _WEB + "apigateway.py",
        "    if config.public_url is None or MOVED_PARAMETER in request.query:",
        "    if config.public_url is None:",
        (49,),
    ),
    Mutation(
        "only a word is kept of Finch's error",
        _DOMAIN + "errors.py",
        "    return text if _ERROR_WORD.fullmatch(text) and not _LIKE_A_CODE.search(text) else UNREADABLE_ERROR",
        "    return text[:1000]",
        (50,),
    ),
    Mutation(
        "an operator's errors are counted",
        _LAYER + "/observability.py",
        "    elif reason in OPERATOR_REASONS:",
        "    elif False:",
        (51,),
    ),
    Mutation(
        "a session that is refused for good offers no retry",
        _ADAPTERS + "finch.py",
        "    if _is_refusal(answer) and answer.status not in _MAY_SUCCEED_LATER and reason in OPERATOR_REASONS:",
        "    if False:",
        (51,),
    ),
    Mutation(
        "the confirm form's nonce",
        _FLOW + "start.py",
        "    if browser.form_nonce != form_nonce_of(browser.form_cookie, flow_id, asked_at):",
        "    if False:",
        (11,),
    ),
    Mutation(
        "the confirm form's Sec-Fetch-Site",
        "functions/connect/app.py",
        '    if request.method == "POST" and request.is_cross_site_post:',
        "    if False:",
        (11,),
    ),
    Mutation(
        "the echoed customer",
        _FLOW + "token_storage.py",
        "    if grant.customer_id is not None and grant.customer_id != flow.customer_id:",
        "    if False:",
        (18,),
    ),
    Mutation(
        "the granted client type",
        _FLOW + "token_storage.py",
        "    if grant.client_type is not None and grant.client_type not in config.allowed_client_types:",
        "    if False:",
        (20,),
    ),
    Mutation(
        "the granted provider",
        _FLOW + "token_storage.py",
        "    if None not in (flow.payroll_provider, grant.provider_id) and grant.provider_id != flow.payroll_provider:",
        "    if False:",
        (20,),
    ),
    Mutation(
        "the granted products",
        _FLOW + "token_storage.py",
        "    if grant.products is not None and not _products(grant.products) <= _products(flow.products):",
        "    if False:",
        (20,),
    ),
    Mutation(
        "an error wins over a code",
        _FLOW + "callback.py",
        "    if request.error is not None:",
        "    if request.error is not None and request.code is None:",
        (21,),
    ),
    Mutation(
        "repeated parameters are refused",
        _WEB + "apigateway.py",
        "        if len(values) > 1:",
        "        if False:",
        (22,),
    ),
    Mutation(
        "escaping on the confirm page",
        _WEB + "pages.py",
        "customer=html.escape(customer)",
        "customer=customer",
        (23,),
    ),
    Mutation(
        "the issuer",
        "functions/callback/app.py",
        '    if request.query.get("iss", CONFIG.finch_connect_url) != CONFIG.finch_connect_url:  # RFC 9207',
        "    if False:",
        (24,),
    ),
    Mutation(
        "503 for a preload",
        _WEB + "endpoint.py",
        "PREFETCH if request.is_prefetch else serve",
        "PREFETCH if False else serve",
        (25,),
    ),
    Mutation(
        "303 after a form",
        _WEB + "pages.py",
        "    return Response(303, headers=",
        "    return Response(307, headers=",
        (30,),
    ),
    Mutation("no-store", _WEB + "apigateway.py", '"Cache-Control": "no-store"', '"Cache-Control": "private"', (31,)),
    Mutation("no frames", _WEB + "apigateway.py", "frame-ancestors 'none'; ", "", (31,)),
    Mutation("HttpOnly", _WEB + "apigateway.py", "Secure; HttpOnly; SameSite=Lax", "Secure; SameSite=Lax", (32,)),
    Mutation(
        "cookie pruning", _WEB + "apigateway.py", "for name in ours[:-MOST_COOKIES])", "for name in ours[:0])", (32,)
    ),
    Mutation(
        "no input in the log",
        "functions/callback/app.py",
        "    answer = callback(received, PORTS, CONFIG)",
        '    answer = callback(received, PORTS, CONFIG)\n    logger.info("answered", query=dict(request.query))',
        (4, 33),
    ),
    Mutation(
        "only hashes in the table",
        _DOMAIN + "states.py",
        "    return hashlib.sha256(secret.reveal().encode()).hexdigest()",
        "    return secret.reveal()[:64]",
        (4, 33),
    ),
    Mutation(
        "the callback reads no token",
        "template.yaml",
        "              - Effect: Allow\n                Action: ssm:PutParameter\n",
        "              - Effect: Allow\n                Action: secretsmanager:GetSecretValue\n"
        '                Resource: "*"\n'
        "              - Effect: Allow\n                Action: ssm:PutParameter\n",
        (34,),
    ),
    Mutation(
        "the bus policy",
        "template.yaml",
        "        Effect: Deny\n        Principal",
        "        Effect: Allow\n        Principal",
        (34,),
    ),
    Mutation(
        "constant-time comparison",
        _DOMAIN + "secret.py",
        "        return hmac.compare_digest(self._text.encode(), other._text.encode())",
        "        return self.reveal() == other.reveal()",
        (35,),
    ),
    Mutation(
        "refusals without a reason",
        _WEB + "endpoint.py",
        "if config.open_links else None",
        "if True else None",
        (35,),
    ),
    Mutation(
        "the callback's throttling limit",
        "template.yaml",
        "        GET /callback:\n",
        "        GET /callback/result:\n",
        (36,),
    ),
]
