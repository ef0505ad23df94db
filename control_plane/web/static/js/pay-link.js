// The payer's own page: the provider's fields, and one button.

import { look, provider } from "./card-fields.js";

/** <link-pay>: lets the payer confirm the payment in the provider's fields, then has the shop look at what came of it. */
class LinkPay extends HTMLElement {
  #isBusy = false;

  connectedCallback() {
    this.form = this.querySelector("form");
    this.form.addEventListener("submit", (event) => {
      if (this.isConfirmed) return;
      event.preventDefault();
      this.#pay();
    });
    this.ready = this.#mount();
    this.ready.catch(() => this.#say(this.dataset.unreachable));
  }

  async #mount() {
    this.stripe = await provider(this.dataset.script, this.dataset.key);
    this.elements = this.stripe.elements({
      clientSecret: this.dataset.secret,
      locale: document.documentElement.lang.slice(0, 2),
      appearance: look(this),
    });
    const fields = this.elements.create("payment", { layout: "tabs" });
    await new Promise((resolve, reject) => {
      fields.on("ready", resolve);
      fields.on("loaderror", reject);
      fields.mount(this.querySelector("[data-mount]"));
    });
    fields.on("change", () => this.#say(""));
    this.dataset.ready = "";
  }

  async #pay() {
    if (this.#isBusy) return;
    this.#busy(true);
    try {
      this.ready = this.ready.catch(() => this.#mount());
      await this.ready;
      this.#say("");
      const { error } = await this.stripe.confirmPayment({
        elements: this.elements,
        confirmParams: { return_url: location.href },
        redirect: "if_required",
      });
      if (error) {
        this.#say(error.message || this.dataset.unreachable);
        return;
      }
      this.isConfirmed = true;
      this.form.requestSubmit();
    } catch {
      this.#say(this.dataset.unreachable);
    } finally {
      this.#busy(false);
    }
  }

  #busy(isBusy) {
    this.#isBusy = isBusy;
    this.form.querySelector("button").disabled = isBusy && !this.isConfirmed;
    this.querySelector("[data-said]").textContent = isBusy ? this.dataset.paying : "";
  }

  #say(text) {
    const why = this.querySelector("[data-why]");
    why.textContent = text;
    why.hidden = !text;
    if (text) why.focus();
  }
}

customElements.define("link-pay", LinkPay);
