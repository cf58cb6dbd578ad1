#!/usr/bin/env bash
# Sign a link with openssl. Customer and return URL must be plain JSON text (no quotes, no backslashes).
#
#   FINCH_LINK_KID=1 FINCH_LINK_KEY=… CONNECT_URL=https://…/connect ./sign_link.sh CUSTOMER [RETURN_URL]
set -euo pipefail

# An empty key would sign too, but the stack would refuse the link.
for name in FINCH_LINK_KID FINCH_LINK_KEY CONNECT_URL; do
  [ -n "${!name:-}" ] || { echo "Set $name." >&2; exit 1; }
done
# RFC 7518 section 3.2; the stack refuses a shorter one.
[ "$(printf %s "$FINCH_LINK_KEY" | wc -c)" -ge 32 ] || { echo 'FINCH_LINK_KEY must have at least 32 bytes.' >&2; exit 1; }
[ -n "${1:-}" ] || { echo 'Usage: sign_link.sh CUSTOMER [RETURN_URL]' >&2; exit 1; }
case "$1${2:-}" in
  *[\"\\]* | *[[:cntrl:]]*) echo 'Quotes, backslashes and control characters are not supported, because this script does not escape JSON.' >&2; exit 1 ;;
esac

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

now=$(date +%s)
return_url=${2:+,\"return_url\":\"$2\"}
header="{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"$FINCH_LINK_KID\"}"
claims="{\"aud\":\"finch-connect\",\"sub\":\"$1\",\"jti\":\"$(openssl rand -hex 16)\",\"iat\":$now,\"exp\":$((now + 600))$return_url}"
signed="$(printf %s "$header" | base64url).$(printf %s "$claims" | base64url)"
# openssl takes the key as an argument, which other users of this machine can see. Use this for tests, not in production.
key=$(printf %s "$FINCH_LINK_KEY" | od -An -tx1 -v | tr -d ' \n')
mac=$(printf %s "$signed" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64url)
echo "$CONNECT_URL?link=$signed.$mac"
