"""Sign a link with Python's standard library alone.

FINCH_LINK_KID=1 FINCH_LINK_KEY=… CONNECT_URL=https://…/connect python sign_link.py CUSTOMER [RETURN_URL]
"""

import base64
import hashlib
import hmac
import json
import sys
import time
import uuid
from os import getenv


def part(content: dict[str, object]) -> str:
    """Return one part of a JWT: JSON in base64url without padding."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


customer, *rest = sys.argv[1:]
now = int(time.time())
claims = {"aud": "finch-connect", "sub": customer, "jti": str(uuid.uuid4()), "iat": now, "exp": now + 600}
if rest:
    claims["return_url"] = rest[0]
signed = part({"alg": "HS256", "typ": "JWT", "kid": getenv("FINCH_LINK_KID")}) + "." + part(claims)
mac = hmac.new(getenv("FINCH_LINK_KEY", "").encode(), signed.encode(), hashlib.sha256).digest()
print(f"{getenv('CONNECT_URL')}?link={signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
