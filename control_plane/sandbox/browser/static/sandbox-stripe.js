/**
 * The browser half of the sandbox: window.Stripe with the calls of Stripe.js that a page of ours makes.
 *
 * Fields live in iframes of the sandbox's origin. This script never sees what is typed in them: it asks the
 * iframe to send it to the sandbox, and gets a token back.
 */
(() => {
  "use strict";

  const BASE = new URL(".", document.currentScript.src);
  const ORIGIN = BASE.origin;
  let frames = 0;

  class IntegrationError extends Error {
    constructor(message) {
      super(message);
      this.name = "IntegrationError";
    }
  }

  // --- iframes -----------------------------------------------------------------------------------

  /** An iframe of the sandbox and the conversation with it. */
  class Frame {
    constructor(path, { title, hidden = false, listen = () => {} }) {
      this.id = `sandbox-frame-${++frames}`;
      this.waiting = new Map();
      this.listen = listen;
      this.ready = new Promise((resolve) => {
        this.said_hello = resolve;
      });
      const url = new URL(path, BASE);
      url.hash = new URLSearchParams({ id: this.id, origin: location.origin }).toString();
      this.element = document.createElement("iframe");
      this.element.src = url.href;
      this.element.title = title;
      this.element.name = this.id;
      this.element.setAttribute("scrolling", "no");
      this.element.setAttribute("allow", "payment *");
      Object.assign(this.element.style, { border: "0", width: "100%", display: "block", colorScheme: "inherit" });
      if (hidden) {
        this.element.setAttribute("aria-hidden", "true");
        this.element.tabIndex = -1;
        Object.assign(this.element.style, {
          position: "absolute", width: "1px", height: "1px", opacity: "0", pointerEvents: "none",
        });
      }
      this.receive = this.receive.bind(this);
      window.addEventListener("message", this.receive);
    }

    receive(event) {
      if (event.origin !== ORIGIN || event.source !== this.element.contentWindow) return;
      const message = event.data;
      if (!message || message.frame !== this.id) return;
      if (message.type === "hello") this.said_hello();
      else if (message.type === "answer") {
        this.waiting.get(message.call)?.(message.result);
        this.waiting.delete(message.call);
      } else this.listen(message);
    }

    send(type, content = {}) {
      this.ready.then(() => {
        this.element.contentWindow?.postMessage({ frame: this.id, type, ...content }, ORIGIN);
      });
    }

    /** The frame's answer to a question, e.g. {error} or {confirmationToken}. */
    ask(question, content = {}) {
      const call = crypto.randomUUID();
      return new Promise((resolve) => {
        this.waiting.set(call, resolve);
        this.send("ask", { call, question, ...content });
      });
    }

    remove() {
      window.removeEventListener("message", this.receive);
      this.element.remove();
    }
  }

  /** Show a page of the sandbox above ours until it says that it is done. Resolves to what it said, null when closed. */
  function overlay(path, title) {
    return new Promise((resolve) => {
      const dialog = document.createElement("dialog");
      dialog.setAttribute("aria-label", title);
      Object.assign(dialog.style, {
        border: "0", padding: "0", borderRadius: "12px", width: "min(28rem, 94vw)",
        maxWidth: "94vw", overflow: "hidden", boxShadow: "0 20px 60px rgb(0 0 0 / 35%)",
      });
      const finish = (said) => {
        frame.remove();
        dialog.remove();
        resolve(said);
      };
      const frame = new Frame(path, {
        title,
        listen: (message) => {
          if (message.type === "resize") frame.element.style.height = `${message.height}px`;
          if (message.type === "done") finish(message.closed ? null : message);
        },
      });
      frame.element.style.height = "24rem";
      dialog.addEventListener("cancel", () => finish(null));
      dialog.append(frame.element);
      document.body.append(dialog);
      dialog.showModal();
    });
  }

  // --- elements ----------------------------------------------------------------------------------

  class Emitter {
    handlers = new Map();

    on(name, handler) {
      this.handlers.set(name, [...(this.handlers.get(name) ?? []), handler]);
      return this;
    }

    once(name, handler) {
      const first = (event) => {
        this.off(name, first);
        handler(event);
      };
      return this.on(name, first);
    }

    off(name, handler) {
      const left = (this.handlers.get(name) ?? []).filter((one) => handler && one !== handler);
      this.handlers.set(name, left);
      return this;
    }

    fire(name, event) {
      for (const handler of this.handlers.get(name) ?? []) handler(event);
    }
  }

  class Element extends Emitter {
    constructor(elements, type, options) {
      super();
      this.elements = elements;
      this.type = type;
      this.options = options;
      this.frame = null;
      this.last = { complete: false, empty: true };
    }

    mount(target) {
      const place = typeof target === "string" ? document.querySelector(target) : target;
      if (!place) {
        throw new IntegrationError(
          `The selector you specified (${target}) applies to no DOM elements that are currently on the page.`,
        );
      }
      if (this.frame) throw new IntegrationError("This Element is already mounted. Use `unmount()` first.");
      const french = language(this.elements.options.locale) === "fr";
      this.frame = new Frame("_browser/frame", {
        title: french ? "Saisie sécurisée du paiement" : "Secure payment input",
        listen: (message) => this.hear(message),
      });
      place.replaceChildren(this.frame.element);
      place.classList.add("StripeElement");
      this.place = place;
      this.fire("loaderstart", { elementType: this.type });
      const frame = this.frame;
      this.late = setTimeout(() => {
        if (this.frame !== frame) return;
        const message = "The payment fields could not be loaded from the sandbox.";
        this.fire("loaderror", { elementType: this.type, error: { type: "api_connection_error", message } });
      }, 10_000);
      this.frame.ready.then(() => clearTimeout(this.late));
      this.elements.learned.then(() => {
        if (this.frame !== frame) return;
        frame.send("init", {
          key: this.elements.stripe.key,
          role: this.type,
          locale: language(this.elements.options.locale),
          elements: this.elements.shared(),
          options: cloneable(this.options),
          scheme: getComputedStyle(frame.element).colorScheme,
        });
      });
      return this;
    }

    hear(message) {
      const state = this.place.classList;
      if (message.type === "resize") this.frame.element.style.height = `${message.height}px`;
      if (message.type === "ready") this.fire("ready", { elementType: this.type });
      if (message.type === "focus") {
        state.add("StripeElement--focus");
        this.fire("focus", { elementType: this.type });
      }
      if (message.type === "blur") {
        state.remove("StripeElement--focus");
        this.fire("blur", { elementType: this.type });
      }
      if (message.type === "escape") this.fire("escape", { elementType: this.type });
      // As in any form of the page, Enter in a field sends it.
      if (message.type === "enter") this.place.closest("form")?.requestSubmit();
      if (message.type === "change") {
        this.last = message.state;
        state.toggle("StripeElement--complete", message.state.complete);
        state.toggle("StripeElement--empty", message.state.empty);
        state.toggle("StripeElement--invalid", Boolean(message.state.error));
        this.fire("change", { elementType: this.type, collapsed: false, ...message.state });
      }
    }

    update(options) {
      this.options = { ...this.options, ...options };
      this.frame?.send("update", { options: cloneable(this.options), elements: this.elements.shared() });
      return this;
    }

    focus() {
      this.frame?.element.focus();
      this.frame?.send("focus");
    }

    blur() {
      this.frame?.send("blur");
    }

    clear() {
      this.frame?.send("clear");
    }

    unmount() {
      clearTimeout(this.late);
      this.frame?.remove();
      this.frame = null;
      this.place?.classList.remove(
        "StripeElement", "StripeElement--focus", "StripeElement--complete", "StripeElement--empty", "StripeElement--invalid",
      );
    }

    destroy() {
      this.unmount();
      this.elements.forget(this);
    }

    /** The mounted frame; what is asked of an element that is not on the page is a mistake in the page. */
    mounted() {
      if (!this.frame) {
        throw new IntegrationError(
          "We could not retrieve data from the specified Element. Please make sure the Element you are attempting to use is still mounted.",
        );
      }
      return this.frame;
    }
  }

  class Elements {
    constructor(stripe, options) {
      this.stripe = stripe;
      this.options = { ...options };
      this.made = new Map();
      this.submitted = false;
      checkElements(this.options);
      this.learned = this.learn();
    }

    /** With a client secret it is the intent that says which methods are offered, and in which currency. */
    async learn() {
      const { clientSecret } = this.options;
      if (!clientSecret) return;
      const { paymentIntent, setupIntent } = await this.stripe.retrieve(clientSecret);
      const intent = paymentIntent ?? setupIntent;
      if (!intent) return;
      const { payment_method_types: allowedPaymentMethodTypes, currency } = intent;
      this.options = { allowedPaymentMethodTypes, ...(currency && { currency }), ...this.options };
    }

    create(type, options = {}) {
      if (!["payment", "card"].includes(type)) throw new IntegrationError(`Element type "${type}" is not in the sandbox.`);
      if (this.made.has(type)) throw new IntegrationError(`Can only create one Element of type ${type} through one elements().`);
      if (type === "payment" && !this.options.mode && !this.options.clientSecret) {
        throw new IntegrationError("In order to create a payment element, you must pass a clientSecret or mode when creating the Elements group.");
      }
      const element = new Element(this, type, options);
      this.made.set(type, element);
      return element;
    }

    getElement(type) {
      return this.made.get(type) ?? null;
    }

    update(options) {
      const next = { ...this.options, ...options };
      checkElements(next);
      this.options = next;
      this.submitted = false;
      for (const element of this.made.values()) element.update({});
    }

    /** Check what was typed, and show what is missing. Resolves to {} or {error}. */
    async submit() {
      const element = this.only();
      const { error, selectedPaymentMethod } = await element.mounted().ask("submit");
      this.submitted = !error;
      return error ? { error } : { selectedPaymentMethod };
    }

    async fetchUpdates() {
      return {};
    }

    only() {
      const element = this.made.get("payment") ?? this.made.get("card");
      if (!element) throw new IntegrationError("elements should have a mounted Payment Element or Express Checkout Element.");
      return element;
    }

    shared() {
      const { mode, amount, currency, allowedPaymentMethodTypes, setupFutureUsage, appearance } = this.options;
      const { customerSessionClientSecret } = this.options;
      return cloneable({
        mode, amount, currency, allowedPaymentMethodTypes, setupFutureUsage, appearance, customerSessionClientSecret,
      });
    }

    forget(element) {
      this.made.delete(element.type);
    }
  }

  function checkElements(options) {
    if ("paymentMethodTypes" in options) {
      throw new IntegrationError("`paymentMethodTypes` is no longer supported. Use `allowedPaymentMethodTypes` instead.");
    }
    const { mode, amount, currency, allowedPaymentMethodTypes: types } = options;
    if (mode === undefined) return;
    if (!["payment", "setup", "subscription"].includes(mode)) {
      throw new IntegrationError(`Invalid value for elements(): mode should be one of payment, setup or subscription. You specified: ${mode}.`);
    }
    if (mode !== "setup" && !(Number.isInteger(amount) && amount >= 0)) {
      throw new IntegrationError(`Invalid value for elements(): amount should be a positive integer. You specified: ${amount}.`);
    }
    if (mode !== "setup" && !/^[a-z]{3}$/.test(currency ?? "")) {
      throw new IntegrationError(`Invalid value for elements(): currency should be a lower-case three-letter code. You specified: ${currency}.`);
    }
    if (types !== undefined && !(Array.isArray(types) && types.length > 0)) {
      throw new IntegrationError("Invalid value for elements(): allowedPaymentMethodTypes should be an array with at least one payment method type.");
    }
  }

  // --- Stripe ------------------------------------------------------------------------------------

  class SandboxStripe {
    constructor(key, options = {}) {
      this.key = key;
      this.locale = options.locale;
    }

    elements(options = {}) {
      return new Elements(this, { locale: this.locale, ...options });
    }

    async createConfirmationToken({ elements, params = {} }) {
      requireSubmitted(elements, "stripe.createConfirmationToken()");
      const element = elements.only();
      checkBillingDetails(element, params.payment_method_data, "createConfirmationToken", "params");
      const { setupFutureUsage } = elements.options;
      return element.mounted().ask("send", {
        path: "v1/confirmation_tokens",
        into: "payment_method_data",
        as: "confirmationToken",
        body: cloneable({ setup_future_usage: setupFutureUsage, ...params }),
      });
    }

    async createPaymentMethod({ elements, element, type, params = {}, ...direct }) {
      const card = element ?? (direct.card instanceof Element ? direct.card : null) ?? elements?.only();
      if (!card) {
        if (type === "card") throw new IntegrationError("Card details may only come from an Element.");
        return this.call("v1/payment_methods", { type, ...direct }, "paymentMethod");
      }
      if (elements) requireSubmitted(elements, "stripe.createPaymentMethod()");
      if (elements) checkBillingDetails(card, params, "createPaymentMethod", "params");
      const { card: _, ...rest } = direct;
      return card.mounted().ask("send", {
        path: "v1/elements/payment_methods", into: "", as: "paymentMethod", body: cloneable({ ...rest, ...params }),
      });
    }

    confirmPayment(options) {
      return this.confirm("payment", options);
    }

    confirmSetup(options) {
      return this.confirm("setup", options);
    }

    async handleNextAction({ clientSecret }) {
      return this.act(await this.retrieve(clientSecret));
    }

    /** One step on: shows what the bank asks, leaves the page when it must. */
    async act(found) {
      if (found.error) return found;
      const { name, intent } = unwrap(found);
      if (intent.status !== "requires_action") return found;
      const action = intent.next_action ?? {};
      if (action.type === "redirect_to_url") {
        location.assign(action.redirect_to_url.url);
        return new Promise(() => {});
      }
      if (action.type !== "use_stripe_sdk") return found;
      const query = new URLSearchParams({ client_secret: intent.client_secret, locale: language(this.locale) });
      const path = `_hosted/authenticate/${encodeURIComponent(intent.id)}?${query}`;
      const said = await overlay(path, language(this.locale) === "fr" ? "Votre banque vous demande" : "Your bank asks you");
      if (said === null) {
        await this.call(`_hosted/authenticate/${intent.id}`, { client_secret: intent.client_secret, outcome: "fail" }, name);
      }
      const after = await this.retrieve(intent.client_secret);
      if (after.error) return after;
      const failure = after[name].last_payment_error ?? after[name].last_setup_error;
      return after[name].status === "requires_payment_method" && failure ? { error: { ...failure, [snake(name)]: after[name] } } : after;
    }

    async confirm(purpose, { elements, clientSecret, confirmParams = {}, redirect = "always" }) {
      const secret = clientSecret ?? elements?.options.clientSecret;
      if (!secret) throw new IntegrationError(`Missing value for stripe.confirm${capital(purpose)}(): clientSecret.`);
      if (redirect !== "if_required" && !confirmParams.return_url) {
        throw new IntegrationError(`stripe.confirm${capital(purpose)}(): the \`confirmParams.return_url\` argument is required.`);
      }
      const kind = purpose === "payment" ? "payment_intents" : "setup_intents";
      const as = `${purpose}Intent`;
      const path = `v1/${kind}/${idOf(secret)}/confirm`;
      const body = cloneable({ client_secret: secret, use_stripe_sdk: true, ...confirmParams });
      let answer;
      if (elements) {
        if (elements.options.mode) requireSubmitted(elements, `stripe.confirm${capital(purpose)}()`);
        const element = elements.only();
        checkBillingDetails(element, confirmParams.payment_method_data, `confirm${capital(purpose)}`, "confirmParams");
        if (!elements.options.mode) {
          const { error } = await elements.submit();
          if (error) return { error };
        }
        answer = await element.mounted().ask("send", { path, into: "payment_method_data", as, body });
      } else {
        answer = await this.call(path, body, as);
      }
      answer = await this.act(answer);
      if (answer.error || redirect === "if_required") return answer;
      const back = new URL(confirmParams.return_url);
      const { intent } = unwrap(answer);
      back.searchParams.set(snake(as), intent.id);
      back.searchParams.set(`${snake(as)}_client_secret`, intent.client_secret);
      back.searchParams.set("redirect_status", intent.status === "requires_payment_method" ? "failed" : "succeeded");
      location.assign(back.href);
      return new Promise(() => {});
    }

    retrievePaymentIntent(clientSecret) {
      return this.retrieve(clientSecret, "paymentIntent");
    }

    retrieveSetupIntent(clientSecret) {
      return this.retrieve(clientSecret, "setupIntent");
    }

    async retrieve(secret, as = /^seti_/.test(secret) ? "setupIntent" : "paymentIntent") {
      const kind = as === "setupIntent" ? "setup_intents" : "payment_intents";
      return this.call(`v1/${kind}/${idOf(secret)}`, { client_secret: secret }, as, "GET");
    }

    // --- bank debits ---

    collectBankAccountForPayment(options) {
      return this.collectBankAccount("payment", options);
    }

    collectBankAccountForSetup(options) {
      return this.collectBankAccount("setup", options);
    }

    /** The customer names the account in the sandbox's own window; the intent then waits for its confirmation. */
    async collectBankAccount(purpose, { clientSecret, params }) {
      if (params?.payment_method_type !== "us_bank_account") {
        throw new IntegrationError("params.payment_method_type should be us_bank_account.");
      }
      if (!params.payment_method_data?.billing_details?.name) {
        throw new IntegrationError("params.payment_method_data.billing_details.name is required.");
      }
      const as = `${purpose}Intent`;
      const query = new URLSearchParams({
        client_secret: clientSecret,
        details: JSON.stringify(params.payment_method_data.billing_details),
        locale: language(this.locale),
      });
      await overlay(`_hosted/bank?${query}`, language(this.locale) === "fr" ? "Choisissez votre compte" : "Choose your bank account");
      return this.retrieve(clientSecret, as);
    }

    confirmUsBankAccountPayment(clientSecret, options = {}) {
      return this.confirmBankAccount("payment", clientSecret, options);
    }

    confirmUsBankAccountSetup(clientSecret, options = {}) {
      return this.confirmBankAccount("setup", clientSecret, options);
    }

    confirmBankAccount(purpose, clientSecret, { payment_method: method, ...rest }) {
      const kind = purpose === "payment" ? "payment_intents" : "setup_intents";
      const named = typeof method === "string" ? { payment_method: method } : {};
      const given = method && typeof method === "object" ? { payment_method_data: { type: "us_bank_account", ...method } } : {};
      const accepted = { customer_acceptance: { type: "online", online: { ip_address: "127.0.0.1", user_agent: navigator.userAgent } } };
      const body = { client_secret: clientSecret, mandate_data: accepted, ...named, ...given, ...rest };
      return this.call(`v1/${kind}/${idOf(clientSecret)}/confirm`, body, `${purpose}Intent`);
    }

    verifyMicrodepositsForPayment(clientSecret, params) {
      const body = { client_secret: clientSecret, ...params };
      return this.call(`v1/payment_intents/${idOf(clientSecret)}/verify_microdeposits`, body, "paymentIntent");
    }

    verifyMicrodepositsForSetup(clientSecret, params) {
      const body = { client_secret: clientSecret, ...params };
      return this.call(`v1/setup_intents/${idOf(clientSecret)}/verify_microdeposits`, body, "setupIntent");
    }

    // --- calls without a field on the page ---

    call(path, body, as, method = "POST") {
      return this.controller().ask("call", { path, body: cloneable(body), as, method });
    }

    /** The hidden frame that speaks with the sandbox from the sandbox's own origin. */
    controller() {
      if (!this.hidden) {
        this.hidden = new Frame("_browser/frame", { title: "Sandbox", hidden: true });
        document.body.append(this.hidden.element);
        this.hidden.send("init", { key: this.key, role: "controller", locale: language(this.locale), elements: {}, options: {} });
      }
      return this.hidden;
    }
  }

  function requireSubmitted(elements, call) {
    if (!(elements instanceof Elements)) throw new IntegrationError(`Missing value for ${call}: elements.`);
    if (elements.made.has("payment") && !elements.submitted) {
      throw new IntegrationError(`You must call elements.submit() before calling ${call}.`);
    }
  }

  /** What the element was told never to ask must come with the call. */
  function checkBillingDetails(element, given, call, where) {
    const fields = element.options.fields?.billingDetails;
    const given_details = given?.billing_details ?? {};
    const demanded = [];
    for (const name of ["name", "email", "phone"]) {
      if (fields === "never" || fields?.[name] === "never") demanded.push([name, given_details[name]]);
    }
    const address = fields === "never" ? "never" : fields?.address;
    for (const name of ["line1", "line2", "city", "state", "country", "postalCode"]) {
      if (address === "never" || address?.[name] === "never") {
        const theirs = name === "postalCode" ? "postal_code" : name;
        demanded.push([`address.${theirs}`, given_details.address?.[theirs]]);
      }
    }
    for (const [name, value] of demanded) {
      if (value === undefined) {
        throw new IntegrationError(
          `You specified "never" for fields.billing_details.${name} when creating the payment Element, but did not pass ` +
            `${where}.payment_method_data.billing_details.${name} when calling stripe.${call}(). If you opt out of collecting ` +
            `data via the payment Element using the fields option, the data must be passed in when calling stripe.${call}().`,
        );
      }
    }
  }

  function unwrap(answer) {
    const name = "paymentIntent" in answer ? "paymentIntent" : "setupIntent";
    return { name, intent: answer[name] };
  }

  const idOf = (secret) => String(secret).split("_secret_")[0];
  const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const capital = (word) => word[0].toUpperCase() + word.slice(1);
  const cloneable = (value) => JSON.parse(JSON.stringify(value ?? {}));

  function language(locale) {
    const asked = !locale || locale === "auto" ? document.documentElement.lang || navigator.language : locale;
    return asked.toLowerCase().startsWith("fr") ? "fr" : "en";
  }

  window.Stripe = function Stripe(key, options) {
    if (typeof key !== "string" || !key.startsWith("pk_test_")) {
      throw new IntegrationError("The sandbox takes a publishable test key: it starts with pk_test_.");
    }
    return new SandboxStripe(key, options);
  };
  window.Stripe.version = "sandbox";
})();
