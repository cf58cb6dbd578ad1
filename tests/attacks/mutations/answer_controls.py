"""The controls in what a browser sees and in the deployment: answers, headers, cookies, roles."""

from __future__ import annotations

from tests.attacks.mutations.mutation import Mutation

_LAYER = "layers/finch_connect/finch_connect"
_WEB = f"{_LAYER}/web/"

ANSWERS = [
    Mutation(
        "the return URL check at the callback",
        _WEB + "callback_answer.py",
        "flow.return_url is not None and is_allowed(flow.return_url, config.allowed_return_urls)",
        "flow.return_url is not None",
        (15,),
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
        "an operator's errors are counted",
        _LAYER + "/observability.py",
        "    elif reason in OPERATOR_REASONS:",
        "    elif False:",
        (51,),
    ),
    Mutation(
        "the confirm form's Sec-Fetch-Site",
        "functions/connect/app.py",
        '    if request.method == "POST" and request.is_cross_site_post:',
        "    if False:",
        (11,),
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
        "the bus policy",
        "template.yaml",
        "        Effect: Deny\n        Principal",
        "        Effect: Allow\n        Principal",
        (34,),
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
