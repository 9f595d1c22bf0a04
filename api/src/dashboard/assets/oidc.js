// Signing in at an issuer: OpenID Connect's authorization code flow with PKCE (RFC 7636), as a client without a secret.

const PENDING = "millrace.oidc";

const base64url = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** Where the issuer sends people back to. */
const here = () => new URL("./", import.meta.url).href;

/** The address to sign in at, and what must be remembered until people come back from it. */
export async function request(settings, redirect) {
  const verifier = random();
  const state = random();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const address = new URL(settings.authorization_endpoint);
  const query = {
    response_type: "code", client_id: settings.client_id, redirect_uri: redirect, scope: settings.scope, state,
    code_challenge: base64url(digest), code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  return { address: address.href, pending: { verifier, state, redirect } };
}

/** Leaves for the issuer. */
export async function leave(settings) {
  const { address, pending } = await request(settings, here());
  sessionStorage.setItem(PENDING, JSON.stringify({ ...pending, hash: location.hash }));
  location.assign(address);
}

async function token(settings, fields) {
  const answer = await fetch(settings.token_endpoint, {
    method: "POST", credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer",
    body: new URLSearchParams({ client_id: settings.client_id, ...fields }),
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok || typeof body.access_token !== "string") {
    throw new Error(body.error_description ?? body.error ?? `The issuer answered ${answer.status}.`);
  }
  const life = Number(body.expires_in);
  return { secret: body.access_token, refresh: body.refresh_token ?? null, until: life > 0 ? Date.now() + life * 1000 : null };
}

/** What an address holds after the issuer sent people back: a session, or null where it holds nothing. Clears the address. */
export async function comeBack(settings) {
  const query = new URLSearchParams(location.search);
  if (!query.has("code") && !query.has("error")) return null;
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "null");
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, "", `${location.pathname}${pending?.hash ?? ""}`);
  if (query.has("error")) throw new Error(query.get("error_description") ?? query.get("error"));
  if (!settings || !pending || pending.state !== query.get("state")) {
    throw new Error("This sign-in was not begun here. Please begin again.");
  }
  const fields = { grant_type: "authorization_code", code: query.get("code"), redirect_uri: pending.redirect, code_verifier: pending.verifier };
  return token(settings, fields);
}

/** Another token for one that is about to end. */
export const renew = (settings, refresh) => token(settings, { grant_type: "refresh_token", refresh_token: refresh });
