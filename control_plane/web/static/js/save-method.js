// <save-method>: keeps a card without a charge. What is typed goes to the provider; we get a token, and the consent.

import { provider, Said } from "./card-fields.js";

class Refused extends Error {}

class SaveMethod extends HTMLElement {
  connectedCallback() {
    this.form = this.querySelector("form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
  }

  async #save() {
    if (this.isBusy || !this.form.reportValidity()) return;
    this.#busy(true);
    try {
      this.#say("");
      const body = new URLSearchParams(new FormData(this.form));
      const typed = await this.querySelector("card-fields").token({ returnTo: location.href });
      body.set("token", typed.token);
      body.set("kind", typed.kind);
      let answer = await this.#send(body);
      if (answer.secret) {
        const stripe = await provider(this.dataset.script, this.dataset.key);
        await stripe.handleNextAction({ clientSecret: answer.secret });
        body.set("handle", answer.handle);
        answer = await this.#send(body);
      }
      if (answer.go) location.assign(answer.go);
      else this.#say(this.dataset.lost);
    } catch (failure) {
      if (failure instanceof Refused) this.#say(failure.message);
      // The fields themselves have said what they miss.
      else if (!(failure instanceof Said)) this.#say(this.dataset.lost);
    } finally {
      this.#busy(false);
    }
  }

  async #send(body) {
    const answer = await fetch(this.form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    const said = await answer.json();
    if (said.problem) throw new Refused(said.problem);
    return said;
  }

  #say(text) {
    const place = this.querySelector("[data-problem]");
    place.textContent = text;
    place.hidden = !text;
    if (text) place.scrollIntoView({ block: "nearest" });
  }

  #busy(isBusy) {
    this.isBusy = isBusy;
    this.form.setAttribute("aria-busy", String(isBusy));
    for (const button of this.form.querySelectorAll("button[type=submit]")) button.disabled = isBusy;
  }
}

customElements.define("save-method", SaveMethod);
