// Who signed in. The credential lives in this tab alone, and never in an address.

import { Api } from "./api.js";
import { renew } from "./oidc.js";

const KEY = "millrace.session";
/** A token is renewed this long before its end. */
const MARGIN = 30_000;

/** What may be shown to whoever has this credential. */
export function powers(caller) {
  const has = (scope) => caller.scopes.includes(scope) || caller.scopes.includes("tenant:admin");
  return {
    batches: !caller.operator && has("batch"),
    types: !caller.operator && (has("services:read") || caller.scopes.includes("services:write")),
  };
}

export class Session {
  /** `onEnd` is told why a session ended that nobody ended. */
  constructor(settings, onEnd) {
    this.settings = settings;
    this.onEnd = onEnd;
    this.kept = null;
    this.caller = null;
    this.renewing = null;
    this.api = new Api(() => this.#bearer(), (refused) => this.#refused(refused));
  }

  /** Signs in again with what this tab has kept. */
  async restore() {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return kept ? this.begin(kept) : null;
  }

  /** Signs in; the server says who that is. */
  async begin(kept) {
    this.kept = kept;
    try {
      this.caller = await this.api.get("/stats/caller");
    } catch (error) {
      // A server that is away says nothing about the credential.
      if (error.status === 401 || error.status === 403) this.forget();
      else if (error.status !== 0 && error.status !== 503) this.kept = null;
      throw error;
    }
    this.api.tenant = this.caller.tenant;
    sessionStorage.setItem(KEY, JSON.stringify(this.kept));
    return this.caller;
  }

  forget() {
    this.kept = null;
    this.caller = null;
    sessionStorage.removeItem(KEY);
  }

  async #bearer() {
    const kept = this.kept;
    if (kept?.until && kept.refresh && Date.now() > kept.until - MARGIN) {
      this.renewing ??= renew(this.settings.oidc, kept.refresh)
        .then((fresh) => {
          this.kept = { ...fresh, refresh: fresh.refresh ?? kept.refresh };
          sessionStorage.setItem(KEY, JSON.stringify(this.kept));
        })
        // The server says whether the old one is still good.
        .catch(() => {})
        .finally(() => { this.renewing = null; });
      await this.renewing;
    }
    return this.kept?.secret ?? "";
  }

  #refused(refused) {
    if (!this.caller) return;
    this.forget();
    this.onEnd(refused);
  }
}
