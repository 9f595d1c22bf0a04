// The first page: a credential, or an issuer that gives one.

import { h } from "./dom.js";
import { leave } from "./oidc.js";
import { explain } from "./shell.js";

/** Shows the form. `done` is called with the caller. `message` says why one is here again. */
export function signIn(main, session, settings, message, done) {
  const wrong = h("p", { class: "wrong", id: "sign-in-wrong", role: "alert" });
  if (message) wrong.textContent = message;
  const field = h("input", {
    id: "credential", name: "credential", type: "password", required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "sign-in-hint sign-in-wrong",
  });
  const button = h("button", { type: "submit", class: "primary" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    const secret = field.value.trim();
    if (!secret) return;
    button.disabled = true;
    wrong.textContent = "";
    try {
      done(await session.begin({ secret }));
    } catch (error) {
      wrong.textContent = error.status === 401 ? "This key is unknown, revoked or expired." : explain(error);
      field.setAttribute("aria-invalid", "true");
      field.select();
      field.focus();
    } finally {
      button.disabled = false;
    }
  };
  const form = h("form", { onsubmit: submit },
    h("label", { class: "field", for: "credential" }, "API key, or the token of operators", field),
    h("p", { class: "small soft", id: "sign-in-hint" }, "It stays in this tab, and is forgotten when the tab is closed."), wrong, button);
  const issuer = settings.oidc
    ? [h("div", { class: "or" }, "or"), h("button", {
        type: "button",
        onclick: () => leave(settings.oidc).catch((error) => { wrong.textContent = explain(error); }),
      }, "Sign in with your organisation")]
    : [];
  main.replaceChildren(h("section", { class: "card sign-in", "aria-labelledby": "sign-in-title" },
    h("h1", { id: "sign-in-title" }, "Sign in to Millrace"), h("br"), form, issuer,
    h("p", { class: "small soft" }, `Release ${settings.version}`)));
  field.focus();
}
