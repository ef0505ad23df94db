// The provider's own fields for cards and bank accounts. What is typed there stays in the provider's frame: this page
// gets a token, and what may stand on a receipt. Nothing here reads, keeps or sends a card number.

const scripts = new Map();

/** The provider's script, loaded once; rejects when it cannot be reached, and may then be asked for again. */
export function provider(address, publishableKey) {
  if (!scripts.has(address)) {
    scripts.set(
      address,
      new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = address;
        script.addEventListener("load", () => resolve(window.Stripe));
        script.addEventListener("error", () => {
          scripts.delete(address);
          script.remove();
          reject(new Error("unreachable"));
        });
        document.head.append(script);
      }),
    );
  }
  return scripts.get(address).then((make) => make(publishableKey));
}

/** Something that can be said to whoever sits before the page. */
export class Said extends Error {}

/** Our colours and letters, as the provider takes them. */
export const look = (element) => {
  const style = getComputedStyle(element);
  const value = (name) => style.getPropertyValue(name).trim();
  // Colours come as light-dark(…): only a computed colour says which of the two it is. Each is looked up in an element
  // of its own, because one that changes its colour may still be on its way from the one before.
  const colour = (name) => {
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    element.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const variables = {
    colorPrimary: colour("--pen"),
    colorBackground: colour("--sheet"),
    colorText: colour("--ink"),
    colorTextSecondary: colour("--ink-soft"),
    colorDanger: colour("--bad"),
    fontFamily: value("--sans"),
    fontSizeBase: "16px",
    borderRadius: "11px",
  };
  const isDark = style.colorScheme === "dark" || (style.colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  return { theme: isDark ? "night" : "stripe", variables };
};

/**
 * <card-fields>: the provider's fields for one kind of payment.
 *
 * data-script, data-key: whose fields; data-kinds: what may be paid with; data-mode="setup": only kept, not charged; data-unreachable, data-empty: what to say.
 * A [data-mount] inside takes the fields, a [data-why] shows what is wrong with them.
 */
export class CardFields extends HTMLElement {
  #stripe;
  #elements;
  #element;

  connectedCallback() {
    this.mountPoint = this.querySelector("[data-mount]");
    this.why = this.querySelector("[data-why]");
    this.isReady = this.#mount();
    this.isReady.catch(() => {});
  }

  disconnectedCallback() {
    this.#element?.destroy?.();
  }

  /** Whether something is kept without a charge. */
  get #isSetup() {
    return this.dataset.mode === "setup";
  }

  async #mount() {
    this.setAttribute("aria-busy", "true");
    try {
      this.#stripe = await provider(this.dataset.script, this.dataset.key);
      if (!this.isConnected) return;
      this.#elements = this.#stripe.elements({
        ...(this.#isSetup ? { mode: "setup" } : { mode: "payment", amount: 100 }),
        currency: this.dataset.currency.toLowerCase(),
        allowedPaymentMethodTypes: this.dataset.kinds.split(" "),
        locale: document.documentElement.lang.slice(0, 2),
        appearance: look(this),
      });
      this.#element = this.#elements.create("payment", { layout: "tabs", wallets: { applePay: "never", googlePay: "never" } });
      await new Promise((resolve, reject) => {
        this.#element.on("ready", resolve);
        this.#element.on("loaderror", reject);
        this.#element.mount(this.mountPoint);
      });
      this.#element.on("change", () => this.#say(""));
      if (this.hasAttribute("data-focus")) this.#element.focus();
      this.dataset.ready = "";
    } catch {
      this.#say(this.dataset.unreachable);
      throw new Said(this.dataset.unreachable);
    } finally {
      this.removeAttribute("aria-busy");
    }
  }

  /** What was typed, as a token. Rejects with Said, which is then shown at the fields too. */
  async token({ amount, currency, later = false, keep = false, billing = {}, returnTo }) {
    if (!("ready" in this.dataset)) {
      // Whoever could not load them gets another go with each attempt to charge.
      this.isReady = this.isReady.catch(() => this.#mount());
      await this.isReady;
    }
    this.#say("");
    if (!this.#isSetup) {
      this.#elements.update({
        amount: Math.max(amount, 1),
        currency: currency.toLowerCase(),
        captureMethod: later ? "manual" : "automatic",
        setupFutureUsage: keep ? "off_session" : null,
      });
    }
    const checked = await this.#elements.submit();
    if (checked.error) this.#refuse(checked.error);
    const made = await this.#stripe.createConfirmationToken({
      elements: this.#elements,
      params: { payment_method_data: { billing_details: billing }, return_url: returnTo },
    });
    if (made.error) this.#refuse(made.error);
    const { id, payment_method_preview: preview } = made.confirmationToken;
    const shown = preview[preview.type] ?? {};
    return {
      token: id,
      kind: preview.type,
      brand: shown.brand ?? shown.bank_name ?? "",
      last4: shown.last4 ?? "",
      exp_month: shown.exp_month ?? "",
      exp_year: shown.exp_year ?? "",
    };
  }

  #refuse(error) {
    this.#element.focus?.();
    this.#say(error.message || this.dataset.empty);
    throw new Said(error.message || this.dataset.empty);
  }

  #say(text) {
    this.why.textContent = text;
    this.why.hidden = !text;
  }
}

customElements.define("card-fields", CardFields);
