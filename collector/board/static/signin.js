// The way in when the collector asks for a token.

import { signIn } from "./api.js";
import { byId, h } from "./dom.js";
import { t } from "./words.js";

/** Asks for a token until one is taken, then calls done; asking twice shows one form. */
export function askToSignIn(done) {
  if (byId("sign-in")) return;
  const input = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true, spellcheck: "false" });
  const refusal = h("p.refusal", { role: "alert" });
  const form = h("form", { onsubmit: submit }, h("h2", {}, t("sign_in")),
    h("p", {}, `${t("sign_in_why")} `, h("code", {}, "nhip token new --role viewer")),
    h("label", { for: "token" }, t("token")), input, refusal, h("button.button.primary", { type: "submit" }, t("sign_in")));
  const dialog = h("dialog", { id: "sign-in", "aria-label": t("sign_in"), onclose: () => dialog.remove() }, form);

  async function submit(event) {
    event.preventDefault();
    try {
      await signIn(input.value.trim());
      dialog.close();
      done();
    } catch (error) {
      refusal.textContent = error.status === 401 ? t("token_wrong") : t("failed", { message: error.message });
      input.select();
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  input.focus();
}
