// Sign a link with Node and no library.
//
//   FINCH_LINK_KID=1 FINCH_LINK_KEY=… CONNECT_URL=https://…/connect node sign_link.mjs CUSTOMER [RETURN_URL]

import { createHmac, randomUUID } from "node:crypto";

const { FINCH_LINK_KID, FINCH_LINK_KEY, CONNECT_URL } = process.env;
const [customer, returnUrl] = process.argv.slice(2);

// An empty key would sign too, but the stack would refuse the link.
const missing = ["FINCH_LINK_KID", "FINCH_LINK_KEY", "CONNECT_URL"].filter((name) => !process.env[name]);
if (missing.length) {
  console.error(`Set ${missing.join(", ")}.`);
  process.exit(1);
}
if (Buffer.byteLength(FINCH_LINK_KEY) < 32) {
  console.error("FINCH_LINK_KEY must have at least 32 bytes."); // RFC 7518 section 3.2; the stack refuses a shorter one
  process.exit(1);
}
if (!customer) {
  console.error("Usage: sign_link.mjs CUSTOMER [RETURN_URL]");
  process.exit(1);
}

const part = (content) => Buffer.from(JSON.stringify(content)).toString("base64url");
const now = Math.floor(Date.now() / 1000);
const claims = { aud: "finch-connect", sub: customer, jti: randomUUID(), iat: now, exp: now + 600, return_url: returnUrl };
const signed = `${part({ alg: "HS256", typ: "JWT", kid: FINCH_LINK_KID })}.${part(claims)}`;
const mac = createHmac("sha256", FINCH_LINK_KEY).update(signed).digest("base64url");
console.log(`${CONNECT_URL}?link=${signed}.${mac}`);
