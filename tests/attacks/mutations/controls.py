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
        "the cookie check",
        _FLOW + "callback.py",
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
        "settle: only over its own claim",
        _ADAPTERS + "conditions.py",
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
        "stored_claim < :claimed_at",
        "stored_claim <> :claimed_at",
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
    Mutation("the link's audience", _FLOW + "links.py", ' or verified["aud"] != audience:', ":", (10,)),
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
        "the return URL check at the callback",
        "functions/callback/app.py",
        "flow.return_url is not None and is_allowed(flow.return_url, CONFIG.allowed_return_urls)",
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
        "the confirm form's nonce",
        _FLOW + "start.py",
        "    if browser.form_nonce != form_nonce_of(browser.form_cookie, flow_id):",
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
        "    if grant.products is not None and not set(grant.products) <= set(config.allowed_products):",
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
        "    if len({name for name, _ in pairs}) != len(pairs):",
        "    if False:",
        (22,),
    ),
    Mutation(
        "escaping on the confirm page",
        _WEB + "pages.py",
        "{name: html.escape(value) for name, value in values.items()}",
        "values",
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
        '    logger.info("answered", flow_id=flow.flow_id,',
        '    logger.info("answered", query=dict(request.query), flow_id=flow.flow_id,',
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
        "connect puts only flows",
        "template.yaml",
        "                Action: dynamodb:PutItem\n                Resource: !GetAtt FlowTable.Arn\n"
        '                Condition: { "ForAllValues:StringLike": { dynamodb:LeadingKeys: ["flow#*"] } }\n',
        "                Action: dynamodb:PutItem\n                Resource: !GetAtt FlowTable.Arn\n",
        (34,),
    ),
    Mutation(
        "transfer: not while the connection is leased",
        _ADAPTERS + "owners.py",
        '"customer_id = :from AND attribute_not_exists(due_at)"',
        '"customer_id = :from"',
        (45,),
    ),
    Mutation(
        "no TTL while a token is in quarantine",
        _DOMAIN + "flow.py",
        "not self.unpublished and self.status is not Status.QUARANTINED",
        "not self.unpublished",
        (46,),
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
