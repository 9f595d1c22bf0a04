// Requests in the name of whoever signed in.

/** A refusal, or no answer at all (`status` 0). */
export class Refused extends Error {
  constructor(status, code, message, details = null, place = null) {
    super(message);
    Object.assign(this, { status, code, details, place });
  }
}

const root = new URL("../", import.meta.url);

/** The address of a path of the API: beside the dashboard, whatever stands before both. */
export const address = (path) => new URL(path.replace(/^\//, ""), root);

async function refusal(response) {
  let body = null;
  try {
    body = await response.json();
  } catch { /* Not from the API: a proxy on the way. */ }
  const error = body?.error ?? {};
  const message = error.message ?? body?.detail ?? `The server answered ${response.status}.`;
  return new Refused(response.status, error.code ?? "", message, error.details, body?.errors?.[0]?.source_path ?? null);
}

export class Api {
  /** `bearer` gives the credential; `onUnauthorized` is told when the server does not take it any more. */
  constructor(bearer, onUnauthorized = () => {}) {
    this.bearer = bearer;
    this.onUnauthorized = onUnauthorized;
    this.tenant = null;
  }

  /** An answer, of which the body is not read yet. `{tenant}` in a path is the caller's. */
  async open(method, path, { body, signal, headers = {} } = {}) {
    const options = { method, signal, headers: { ...headers, authorization: `Bearer ${await this.bearer()}` } };
    // Nothing but the header says who calls, and nothing of it is kept on disk.
    Object.assign(options, { credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" });
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers["content-type"] = "application/json";
    }
    let response;
    try {
      response = await fetch(address(path.replace("{tenant}", encodeURIComponent(this.tenant ?? ""))), options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "", "The server cannot be reached.");
    }
    if (response.ok) return response;
    const refused = await refusal(response);
    if (refused.status === 401) this.onUnauthorized(refused);
    throw refused;
  }

  async json(method, path, options) {
    const response = await this.open(method, path, options);
    // Some answers have nothing to say.
    const text = await response.text();
    return text === "" ? null : JSON.parse(text);
  }

  get(path, options) {
    return this.json("GET", path, options);
  }

  post(path, body) {
    return this.json("POST", path, { body });
  }

  patch(path, body) {
    return this.json("PATCH", path, { body });
  }
}
