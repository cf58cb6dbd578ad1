"""Sign a link with only Python's standard library.

FINCH_LINK_KID=1 FINCH_LINK_KEY=… CONNECT_URL=https://…/connect python sign_link.py CUSTOMER [RETURN_URL]
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import uuid

MIN_KEY_BYTES = 32  # HS256 needs 256 bits (RFC 7518 section 3.2), and the stack refuses a shorter key

# An empty key would sign too, but the stack would refuse the link.
missing = [name for name in ("FINCH_LINK_KID", "FINCH_LINK_KEY", "CONNECT_URL") if not os.environ.get(name)]
if missing:
    sys.exit(f"Set {', '.join(missing)}.")
if len(os.environ["FINCH_LINK_KEY"].encode()) < MIN_KEY_BYTES:
    sys.exit(f"FINCH_LINK_KEY must have at least {MIN_KEY_BYTES} bytes.")
if not sys.argv[1:]:
    sys.exit("Usage: sign_link.py CUSTOMER [RETURN_URL]")


def part(content: bytes) -> str:
    """Return one part of a JWT: base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


customer, *rest = sys.argv[1:]
now = int(time.time())
header = {"alg": "HS256", "typ": "JWT", "kid": os.environ["FINCH_LINK_KID"]}
claims = {"aud": "finch-connect", "sub": customer, "jti": str(uuid.uuid4()), "iat": now, "exp": now + 600}
if rest:
    claims["return_url"] = rest[0]
signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"
mac = hmac.digest(os.environ["FINCH_LINK_KEY"].encode(), signed.encode(), hashlib.sha256)
print(f"{os.environ['CONNECT_URL']}?link={signed}.{part(mac)}")
