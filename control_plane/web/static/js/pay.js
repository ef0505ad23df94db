// Sending a payment off, once: the form of the till and of another try, what comes back, and what the payer's bank asks.

import { announce } from "./app.js";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const PATIENCE_MS = 90_000;
const ANSWER_MS = 45_000;
const LENGTHS = { least: 13, most: 19 };

/** Whether a text holds digits that could be a card's. Such a text is not sent. */
export function holdsCardNumber(text) {
  for (const [run] of text.matchAll(/\d(?:[ .-]?\d)+/g)) {
    const digits = run.replace(/\D/g, "");
    for (let length = LENGTHS.least; length <= Math.min(LENGTHS.most, digits.length); length += 1) {
      for (let start = 0; start + length <= digits.length; start += 1) {
        if (passesLuhn(digits.slice(start, start + length))) return true;
      }
    }
  }
  return false;
}

function passesLuhn(digits) {
  if (/^(\d)\1+$/.test(digits)) return false;
  let sum = 0;
  for (let place = 0; place < digits.length; place += 1) {
    const digit = Number(digits[digits.length - 1 - place]) * (place % 2 ? 2 : 1);
    sum += digit > 9 ? digit - 9 : digit;
  }
  return sum % 10 === 0;
}

/**
 * <pay-form> around the form: takes over whatever is no plain sale on a reader of ours.
 *
 * Its words: data-sending, data-checking, data-lost, data-number. The same key goes with every sending of a form, so
 * that a lost answer is asked for again and never charged again.
 */
class PayForm extends HTMLElement {
  #isBusy = false;

  connectedCallback() {
    this.addEventListener("submit", (event) => this.#take(event), { capture: true });
    this.addEventListener("change", (event) => this.#choose(event));
    this.addEventListener("click", (event) => this.#press(event));
    this.addEventListener("customer", (event) => this.#customerChosen(event.detail));
    this.addEventListener("keydown", (event) => this.#find(event));
    this.addEventListener("htmx:after:swap", () => this.#found());
    this.#settle();
  }

  get form() {
    return this.querySelector("form");
  }

  get method() {
    return this.form.elements.method?.value || "reader";
  }

  // --- items -----------------------------------------------------------------------------------------------------

  /** Enter in the search for items adds one; it never charges. */
  #find(event) {
    if (event.key !== "Enter" || event.target.name !== "find") return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) return;
    this.isFinding = true;
    event.target.dispatchEvent(new Event("change", { bubbles: true }));
  }

  #found() {
    if (!this.isFinding) return;
    this.isFinding = false;
    if (!this.querySelector("#bill [role=alert]")) this.form.elements.find.value = "";
  }

  // --- the choice of a method ------------------------------------------------------------------------------------

  #choose(event) {
    if (event.target.name === "method") {
      if (this.method === "reader") this.querySelector("#method").replaceChildren();
      this.#settle();
    }
    if (event.target.name === "reader") this.#settle();
    this.#clear(event.target.name);
  }

  #customerChosen({ customer, email }) {
    const receipt = this.form.elements.email;
    if (receipt && (!receipt.value || receipt.value === this.filledEmail)) receipt.value = this.filledEmail = email ?? "";
    for (const part of this.querySelectorAll("[data-needs-customer]")) part.hidden = !customer;
    // What is saved is the customer's; the fields for a card stay, with what is typed in them.
    if (this.method === "saved" || this.method === "link") {
      this.form.querySelector("[name=method]:checked")?.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }

  #settle() {
    const readers = this.querySelector("#by-reader");
    if (readers) readers.hidden = readers.disabled = this.method !== "reader";
    const chosen = this.form.querySelector("[name=method]:checked");
    const verb = this.querySelector("[data-verb-here]");
    if (chosen?.dataset.verb && verb) verb.textContent = chosen.dataset.verb;
  }

  /** Whether the till's older way takes it: a sale on a reader of ours that needs nothing written down beside it. */
  #isPlain() {
    if (this.method !== "reader" || this.form.hasAttribute("data-try")) return false;
    const reader = this.form.querySelector("[name=reader]:checked");
    const filled = new FormData(this.form);
    const more = [...filled].some(([name, value]) => value && (name.startsWith("field-") || ["customer", "line", "tip", "email", "later"].includes(name)));
    return !more && !("cloud" in (reader?.dataset ?? {}));
  }

  // --- sending -------------------------------------------------------------------------------------------------

  #take(event) {
    if (!event.target.matches("form.till-form") || this.#isPlain()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.#charge();
  }

  async #charge(more = {}) {
    if (this.#isBusy) return;
    this.#busy(true);
    try {
      this.#clear();
      if (!this.#checkTexts()) return;
      const body = new URLSearchParams(new FormData(this.form));
      const fields = this.querySelector("card-fields");
      if (fields && !more.body) {
        this.#say(this.dataset.reading);
        const { minor, currency } = this.querySelector("amount-field")?.money ?? { minor: Number(this.dataset.minor), currency: this.dataset.currency };
        const name = body.get("holder")?.trim();
        const card = await fields.token({
          amount: minor,
          currency,
          later: body.has("later"),
          keep: body.has("keep"),
          billing: name ? { name } : {},
          returnTo: location.href,
        });
        for (const [key, value] of Object.entries(card)) body.set(key, value);
      }
      await this.#deliver(more.body ?? body);
    } catch (failure) {
      // The fields themselves have said what they miss.
      if (failure.name !== "Error") throw failure;
    } finally {
      this.#busy(false);
    }
  }

  async #deliver(body) {
    this.#say(this.dataset.sending);
    const answer = await this.#ask(body);
    if (answer === null) {
      this.#say("");
      this.#problems({ form: this.dataset.lost });
      this.form.querySelector("[data-again]")?.removeAttribute("hidden");
      this.lastBody = body;
      return;
    }
    if (answer.go) {
      this.#leaving = true;
      this.#say(this.dataset.done);
      location.assign(answer.go);
      return;
    }
    this.#say("");
    if (answer.duplicate) this.#askAgain(answer.duplicate, body);
    else this.#problems(answer.problems);
    if (answer.key) this.form.elements.key.value = answer.key;
  }

  #leaving = false;

  /** What the server says; asked for again with the same key when the answer is lost. Null when patience ends. */
  async #ask(body) {
    const until = performance.now() + PATIENCE_MS;
    for (let wait = 400; performance.now() < until; wait = Math.min(wait * 2, 4000)) {
      try {
        const answer = await fetch(this.dataset.to, {
          method: "POST",
          body,
          headers: { Accept: "application/json" },
          signal: AbortSignal.timeout(ANSWER_MS),
        });
        if (answer.status === 401) return { go: `/sign-in?next=${encodeURIComponent(location.pathname)}` };
        if (answer.status < 500 && answer.headers.get("content-type")?.includes("json")) return await answer.json();
      } catch {
        // Nothing came back: whether it arrived there is what we ask next.
      }
      this.#say(this.dataset.checking);
      await pause(wait);
    }
    return null;
  }

  #askAgain({ text, href }, body) {
    const dialog = this.querySelector("dialog.duplicate");
    dialog.querySelector("[data-text]").textContent = text;
    dialog.querySelector("a").href = href;
    dialog.querySelector("[data-yes]").onclick = () => {
      dialog.close();
      body.set("confirm_duplicate", "true");
      this.#charge({ body });
    };
    dialog.showModal();
    dialog.querySelector("[data-first]")?.focus();
  }

  #press(event) {
    if (event.target.closest("[data-again]") && this.lastBody) this.#charge({ body: this.lastBody });
  }

  // --- what is said ----------------------------------------------------------------------------------------------

  #checkTexts() {
    for (const field of this.form.querySelectorAll("input:not([type=hidden], [type=radio], [type=checkbox]), textarea")) {
      if (!field.disabled && holdsCardNumber(field.value)) {
        this.#problems({ [field.name]: this.dataset.number });
        return false;
      }
    }
    return true;
  }

  #problems(problems) {
    let first = null;
    for (const [name, text] of Object.entries(problems)) {
      const field = this.form.querySelector(`[name="${CSS.escape(name)}"]:not([type=hidden])`);
      const place = this.form.querySelector(`[data-problem="${CSS.escape(name)}"]`) ?? this.form.querySelector("[data-problem=form]");
      place.querySelector("[data-text]").textContent = text;
      place.hidden = false;
      if (field) {
        field.setAttribute("aria-invalid", "true");
        if (place.id) field.setAttribute("aria-describedby", place.id);
        field.closest("details")?.setAttribute("open", "");
        first ??= field;
      }
    }
    if (first) first.focus();
    else this.form.querySelector("[data-problem=form]").scrollIntoView({ block: "nearest" });
  }

  #clear(name) {
    for (const place of this.form.querySelectorAll("[data-problem]")) {
      if (name === undefined || place.dataset.problem === name || place.dataset.problem === "form") place.hidden = true;
    }
    for (const field of this.form.querySelectorAll("[aria-invalid]")) {
      if (name === undefined || field.name === name) field.removeAttribute("aria-invalid");
    }
  }

  #say(text) {
    const place = this.querySelector("[data-said]");
    if (place) place.textContent = text ?? "";
  }

  #busy(isBusy) {
    if (!isBusy && this.#leaving) return;
    this.#isBusy = isBusy;
    this.form.toggleAttribute("data-sent", isBusy);
    for (const button of this.form.querySelectorAll("button[type=submit]")) button.disabled = isBusy;
    if (!isBusy) this.#say("");
  }
}

/**
 * <next-action>: lets the payer answer the bank in the provider's frame, then has us read what came of it.
 *
 * The secret that opens it is asked for when it is needed, and is in no page.
 */
class NextAction extends HTMLElement {
  connectedCallback() {
    this.querySelector("[data-start]").addEventListener("click", () => this.#start());
  }

  async #start() {
    if (this.isRunning) return;
    this.isRunning = true;
    const button = this.querySelector("[data-start]");
    button.disabled = true;
    try {
      const body = new URLSearchParams(new FormData(this.querySelector("form")));
      const answer = await fetch(this.dataset.to, { method: "POST", body, headers: { Accept: "application/json" } });
      const { secret, url } = await answer.json();
      if (secret) {
        const { provider } = await import("./card-fields.js");
        const stripe = await provider(this.dataset.script, this.dataset.key);
        await stripe.handleNextAction({ clientSecret: secret });
      } else if (url) open(url, "_blank", "noopener");
      this.querySelector("form").requestSubmit();
    } catch {
      announce(this.dataset.unreachable);
    } finally {
      this.isRunning = false;
      button.disabled = false;
    }
  }
}

/** <customer-pick>: a list box of customers that are found while one types; keeps the id in its hidden field. */
class CustomerPick extends HTMLElement {
  connectedCallback() {
    this.input = this.querySelector("input[type=search]");
    this.list = this.querySelector("[data-found]");
    this.addEventListener("pointerdown", (event) => {
      const option = event.target.closest("[role=option]");
      if (!option) return;
      event.preventDefault();
      this.#take(option);
    });
    this.addEventListener("click", (event) => event.target.closest("[data-forget]") && this.#fill());
    this.addEventListener("keydown", (event) => this.#move(event));
    this.addEventListener("htmx:after:swap", () => this.#open(document.activeElement === this.input));
    this.addEventListener("focusout", () => this.#open(false));
    this.addEventListener("focusin", () => this.#open(document.activeElement === this.input && this.list.childElementCount > 0));
  }

  get #options() {
    return [...this.list.querySelectorAll("[role=option]:not([aria-disabled])")];
  }

  get #current() {
    return this.list.querySelector("[aria-selected=true]");
  }

  #open(isOpen) {
    this.list.hidden = !isOpen;
    this.input.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) this.#point(null);
  }

  #point(option) {
    this.#current?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) this.input.setAttribute("aria-activedescendant", option.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #move(event) {
    if (event.target !== this.input) return;
    const options = this.#options;
    const at = options.indexOf(this.#current);
    if (event.key === "ArrowDown") this.#point(options[(at + 1) % options.length] ?? null);
    else if (event.key === "ArrowUp") this.#point(options.at(at <= 0 ? -1 : at - 1) ?? null);
    else if (event.key === "Enter") this.#take(this.#current ?? options[0]);
    else if (event.key === "Escape" && !this.list.hidden) this.#open(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #take(option) {
    if (!option) return;
    if (option.dataset.href) open(option.dataset.href, "_blank", "noopener");
    else if (option.dataset.customer) this.#fill(option.dataset);
  }

  #fill({ customer = "", name = "", email = "" } = {}) {
    this.querySelector("[name=customer]").value = customer;
    this.querySelector("[data-name]").textContent = name;
    this.querySelector("[data-chosen]").hidden = !customer;
    this.querySelector("[data-search]").hidden = Boolean(customer);
    this.#open(false);
    this.input.value = "";
    (customer ? this.querySelector("[data-forget]") : this.input).focus();
    this.dispatchEvent(new CustomEvent("customer", { bubbles: true, detail: { customer, email } }));
  }
}

customElements.define("pay-form", PayForm);
customElements.define("next-action", NextAction);
customElements.define("customer-pick", CustomerPick);

// Fields of cards are loaded only where somebody is about to type one.
function loadFields() {
  if (document.querySelector("card-fields:not(:defined)")) import("./card-fields.js");
}
document.addEventListener("htmx:after:swap", loadFields);
loadFields();
