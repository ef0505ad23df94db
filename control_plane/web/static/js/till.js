// The cashier's page: the amount field, its keypad, and the time that is left on a running session.

const DIGITS = { BHD: 3, CLP: 0, ISK: 0, JOD: 3, JPY: 0, KRW: 0, KWD: 3, OMR: 3, TND: 3 };
const FILL = "omnitill.fill";
const LONGEST = 10;

/**
 * <amount-field> around an <input> and a <select name="currency">.
 *
 * Digits fill from the right, as on a till: 1 2 3 4 is 12.34. As soon as a point or comma is typed, the digits before
 * it are whole units, so that 12.34 and 12,34 work too. The field always shows what will be charged.
 */
class AmountField extends HTMLElement {
  connectedCallback() {
    this.input = this.querySelector("input");
    this.currency = this.querySelector("[name=currency]");
    this.separator = new Intl.NumberFormat(document.documentElement.lang).formatToParts(1.5).find((part) => part.type === "decimal").value;
    this.isTyped = false;
    this.input.addEventListener("beforeinput", (event) => this.#edit(event));
    this.input.addEventListener("input", () => this.#show());
    this.currency.addEventListener("change", () => this.#set(this.#minor(), this.isTyped = false));
    if (matchMedia("(pointer: coarse)").matches) this.#addKeypad();
    this.#show();
  }

  /** What will be charged: the sum of the bill when there is one, else what is typed. */
  get money() {
    const bill = document.querySelector("bill-total");
    if (bill?.minor !== undefined) return { minor: bill.minor, currency: bill.dataset.currency };
    return { minor: this.#minor(), currency: this.currency.value };
  }

  get digits() {
    return DIGITS[this.currency.value] ?? 2;
  }

  get fillsFromRight() {
    return localStorage.getItem(FILL) !== "left";
  }

  #minor() {
    const [whole, fraction = ""] = this.input.value.replace(/[^\d.,]/g, "").split(/[.,]/);
    return Number((whole || "0") + fraction.slice(0, this.digits).padEnd(this.digits, "0"));
  }

  #set(minor) {
    const text = String(minor).padStart(this.digits + 1, "0");
    const cut = text.length - this.digits;
    this.input.value = minor === 0 ? "" : this.digits ? text.slice(0, cut) + this.separator + text.slice(cut) : text;
    this.#show();
  }

  #edit(event) {
    const { inputType, data } = event;
    const input = this.input;
    const isWhole = input.selectionStart === 0 && input.selectionEnd === input.value.length;
    if (inputType === "insertText" && data === "-") return event.preventDefault();
    if (!this.fillsFromRight || (inputType === "insertText" && !/^[\d.,]$/.test(data))) {
      if (inputType === "insertText" && !/^[\d.,]$/.test(data)) event.preventDefault();
      return;
    }
    if (inputType === "insertText") {
      event.preventDefault();
      if (isWhole) this.clear();
      this.type(data);
    } else if (inputType === "deleteContentBackward" && !isWhole && !this.isTyped && input.selectionStart === input.selectionEnd) {
      event.preventDefault();
      this.erase();
    } else if (isWhole) this.isTyped = false;
  }

  /** A key of the till: a digit, or a separator. */
  type(key) {
    if (/[.,]/.test(key)) {
      if (!this.digits || this.isTyped) return;
      this.isTyped = true;
      this.input.value = String(this.#minor()) + this.separator;
    } else if (this.isTyped) {
      const fraction = this.input.value.split(this.separator)[1] ?? "";
      if (fraction.length < this.digits) this.input.value += key;
    } else {
      const minor = String(this.#minor()) + key;
      if (Number(minor) && minor.replace(/^0+/, "").length <= LONGEST) return this.#set(Number(minor));
    }
    this.#show();
  }

  erase() {
    this.isTyped = false;
    this.#set(Math.trunc(this.#minor() / 10));
  }

  clear() {
    this.isTyped = false;
    this.#set(0);
  }

  #show() {
    const minor = this.#minor();
    if (!this.input.value) this.isTyped = false;
    this.removeAttribute("data-wrong");
    if (this.shown !== undefined && this.shown !== `${minor} ${this.currency.value}`) document.querySelector("bill-total")?.typed?.();
    this.shown = `${minor} ${this.currency.value}`;
    this.echo();
    this.input.placeholder = `0${this.digits ? this.separator + "0".repeat(this.digits) : ""}`;
  }

  /** Say on the button what is charged. */
  echo() {
    const { minor, currency } = this.money;
    const money = new Intl.NumberFormat(document.documentElement.lang, { style: "currency", currency });
    for (const output of document.querySelectorAll("[data-amount-echo]")) {
      output.textContent = minor ? money.format(minor / 10 ** (DIGITS[currency] ?? 2)) : "";
    }
  }

  #addKeypad() {
    this.input.inputMode = "none";
    const pad = document.createElement("div");
    pad.className = "keypad";
    for (const key of ["1", "2", "3", "4", "5", "6", "7", "8", "9", "00", "0", "⌫"]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = key;
      if (key === "⌫") button.setAttribute("aria-label", this.dataset.erase);
      button.addEventListener("click", () => (key === "⌫" ? this.erase() : [...key].forEach((digit) => this.type(digit))));
      pad.append(button);
    }
    this.append(pad);
  }
}

/** <count-down until="2026-01-01T…" total="60">: fills --left (1 to 0) of its ring and writes the seconds that are left. */
class CountDown extends HTMLElement {
  static observedAttributes = ["until"];
  #timer = 0;

  connectedCallback() {
    // The clock of this machine may be wrong; the server says how long it still takes, from when the page came.
    this.#timer = setInterval(() => this.#tick(), 250);
  }

  attributeChangedCallback() {
    this.deadline = performance.now() + Number(this.getAttribute("left")) * 1000;
    this.#tick();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  #tick() {
    const left = Math.max(0, (this.deadline - performance.now()) / 1000);
    const total = Number(this.getAttribute("total")) || 60;
    this.closest("[data-ring]")?.style.setProperty("--left", String(left / total));
    const text = left > 0 ? this.dataset.words.replace("{seconds}", String(Math.ceil(left))) : "";
    if (this.textContent !== text) this.textContent = text;
  }
}

/** <fill-choice>: whether digits fill from the right; kept on this till. */
class FillChoice extends HTMLElement {
  connectedCallback() {
    const box = this.querySelector("input");
    box.checked = localStorage.getItem(FILL) !== "left";
    box.addEventListener("change", () => localStorage.setItem(FILL, box.checked ? "right" : "left"));
  }
}

/**
 * <bill-total>: what items, taxes and a tip make of the amount. The server works it out; while it does, nothing is shown
 * on the button, so that nobody charges an older sum.
 */
class BillTotal extends HTMLElement {
  #timer = 0;

  connectedCallback() {
    this.isOld = false;
    document.querySelector("amount-field")?.echo?.();
  }

  get minor() {
    return this.isOld || this.dataset.minor === undefined ? undefined : Number(this.dataset.minor);
  }

  /** The amount changed under it. */
  typed() {
    if (this.dataset.asks !== "1") return;
    this.isOld = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.isConnected && this.dispatchEvent(new Event("refresh")), 200);
  }
}

// The bill first: the amount asks it as soon as it is there.
customElements.define("bill-total", BillTotal);
customElements.define("amount-field", AmountField);
customElements.define("count-down", CountDown);
customElements.define("fill-choice", FillChoice);
