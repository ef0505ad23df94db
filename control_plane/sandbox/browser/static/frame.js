/**
 * Inside the iframe: the fields, what is wrong with them, and the calls that carry what was typed to the sandbox.
 *
 * Nothing typed here is ever posted to the embedding page; it hears states, heights and the sandbox's answers.
 */
import { brandOf, digitsOf, grouped, isIban, isRoutingNumber, stateOfNumber } from "./numbers.js";
import { filled, wordsOf } from "./words.js";

const asked = new URLSearchParams(location.hash.slice(1));
const FRAME = asked.get("id");
const PAGE = asked.get("origin") ?? "";
const API = new URL("..", import.meta.url);
const LOOPBACK = /^https?:\/\/(127\.0\.0\.1|localhost|\[::1\]|[a-z0-9-]+\.localhost)(:\d+)?$/;
// Where card details may go. Anything else that the page names is not sent.
const DESTINATIONS = ["v1/confirmation_tokens", "v1/elements/payment_methods"];
const CONFIRMATION = /^v1\/(payment|setup)_intents\/\w+\/confirm$/;
const POSTAL = { US: /^\d{5}(-?\d{4})?$/, CA: /^[A-Z]\d[A-Z] ?\d[A-Z]\d$/i, GB: /^[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}$/i };
const COUNTRIES =
  "AT AU BE BG BR CA CH CY CZ DE DK EE ES FI FR GB GI GR HK HR HU IE IN IS IT JP LI LT LU LV MT MX MY NL NO NZ PL PT RO SE SG SI SK TH US";
const CURRENCIES = { us_bank_account: "usd", sepa_debit: "eur" };
const EXAMPLES = {
  card: "4242 4242 4242 4242", us_bank_account: "110000000, 000123456789", sepa_debit: "DE89 3704 0044 0532 0130 00",
};

const form = document.getElementById("form");
let given = { role: "controller", key: "", elements: {}, options: {}, locale: "en" };
let words = wordsOf("en");
let type = "card";
let saved = [];
let chosen = null; // a saved payment method's id
let fields = [];
let announced = "";
let shownOptions = "{}";

function tell(kind, content = {}) {
  window.parent.postMessage({ frame: FRAME, type: kind, ...content }, PAGE);
}

// --- building ------------------------------------------------------------------------------------

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** One labelled field; `check` gives the code of what is wrong, "" when nothing is. */
function field({ name, label, check, half = false, tidy = null, choices = null, missing, ...attributes }) {
  const id = `field-${name}`;
  const error = node("p", { class: "Error", id: `${id}-error`, role: "alert" });
  const input = choices
    ? node("select", { class: "Input", id, name }, ...choices.map(([value, text]) => node("option", { value }, text)))
    : node("input", { class: "Input", id, name, type: "text", "aria-describedby": error.id, "aria-required": "true", ...attributes });
  if (choices && attributes.autocomplete) input.setAttribute("autocomplete", attributes.autocomplete);
  const made = { name, input, error, check, missing, touched: false };
  input.addEventListener("input", () => {
    if (tidy) keepCaret(input, tidy);
    if (made.touched) show(made);
    announce();
  });
  input.addEventListener("change", announce);
  input.addEventListener("blur", () => {
    made.touched = input.value !== "";
    show(made);
    announce();
  });
  const brand = name === "number" ? node("span", { class: "Brand", "aria-hidden": "true" }) : null;
  made.brand = brand;
  const box = brand ? node("div", { class: "Number" }, input, brand) : input;
  made.element = node("div", { class: `Field${half ? " Field--half" : ""}` }, node("label", { class: "Label", for: id }, label), box, error);
  return made;
}

/** Rewrite what was typed, with the caret after the same digit. */
function keepCaret(input, tidy) {
  const before = digitsOf(input.value.slice(0, input.selectionStart ?? input.value.length)).length;
  const text = tidy(input.value);
  if (text === input.value) return;
  const atEnd = input.selectionStart === input.value.length;
  input.value = text;
  let at = 0;
  for (let seen = 0; seen < before && at < text.length; at += 1) if (/\d/.test(text[at])) seen += 1;
  const place = atEnd ? text.length : at;
  input.setSelectionRange(place, place);
}

const required = (code) => (value) => (value.trim() === "" ? code : "");

function cardFields() {
  const number = field({
    name: "number", label: words.number, autocomplete: "cc-number", inputmode: "numeric", maxlength: 23, placeholder: "1234 1234 1234 1234",
    tidy: (text) => grouped(digitsOf(text)), missing: "incomplete_number",
    check: (value) => ({ incomplete: "incomplete_number", wrong: "invalid_number" })[stateOfNumber(digitsOf(value))] ?? "",
  });
  const expiry = field({
    name: "expiry", label: words.expiry, autocomplete: "cc-exp", inputmode: "numeric", maxlength: 9, placeholder: words.expiry_form, half: true,
    tidy: tidyExpiry, check: checkExpiry, missing: "incomplete_expiry",
  });
  const cvc = field({
    name: "cvc", label: words.cvc, autocomplete: "cc-csc", inputmode: "numeric", maxlength: 4, placeholder: words.cvc_form, half: true,
    tidy: (text) => digitsOf(text).slice(0, brandOf(digitsOf(number.input.value)).cvc), missing: "incomplete_cvc",
    check: (value) => (value.length < brandOf(digitsOf(number.input.value)).cvc ? "incomplete_cvc" : ""),
  });
  number.input.addEventListener("input", () => {
    const known = digitsOf(number.input.value) !== "";
    number.brand.textContent = known ? brandOf(digitsOf(number.input.value)).name : "";
  });
  return [number, expiry, cvc, ...billingFields({ name: false, email: false, country: given.role === "payment", postal_code: !given.options.hidePostalCode })];
}

function tidyExpiry(text) {
  let digits = digitsOf(text);
  // Autofill may give the year with four digits, and a month of one digit is typed with a slash after it.
  if (/^\s*\d{1,2}\s*[/-]\s*\d{4}$/.test(text)) digits = digits.slice(0, -4) + digits.slice(-2);
  if (/^[2-9]/.test(digits) || /^\s*1\s*\//.test(text)) digits = `0${digits}`;
  digits = digits.slice(0, 4);
  return digits.length > 2 ? `${digits.slice(0, 2)} / ${digits.slice(2)}` : digits;
}

function checkExpiry(value) {
  const digits = digitsOf(value);
  if (digits.length < 4) return "incomplete_expiry";
  const [month, year] = [Number(digits.slice(0, 2)), 2000 + Number(digits.slice(2))];
  if (month < 1 || month > 12) return "invalid_expiry";
  const today = new Date();
  const past = year < today.getFullYear() || (year === today.getFullYear() && month < today.getMonth() + 1);
  return past ? "invalid_expiry_year_past" : "";
}

function bankFields() {
  return [
    ...billingFields({ name: true, email: true, country: false, postal_code: false }),
    field({
      name: "routing", label: words.routing, inputmode: "numeric", maxlength: 9, half: true, autocomplete: "off", tidy: digitsOf,
      check: (value) => (isRoutingNumber(value) ? "" : "incomplete_routing"), missing: "incomplete_routing",
    }),
    field({
      name: "account", label: words.account, inputmode: "numeric", maxlength: 17, half: true, autocomplete: "off", tidy: digitsOf,
      check: (value) => (/^\d{4,17}$/.test(value) ? "" : "incomplete_account"), missing: "incomplete_account",
    }),
    field({ name: "account_type", label: words.account_type, half: true, check: () => "", choices: [["checking", words.checking], ["savings", words.savings]] }),
    field({ name: "holder_type", label: words.holder_type, half: true, check: () => "", choices: [["individual", words.individual], ["company", words.company]] }),
  ];
}

function debitFields() {
  const compact = (text) => text.replace(/[^a-z0-9]/gi, "").toUpperCase();
  const iban = field({
    name: "iban", label: words.iban, maxlength: 42, autocomplete: "off", spellcheck: "false", autocapitalize: "characters", missing: "incomplete_iban",
    check: (value) => {
      if (isIban(compact(value))) return "";
      return compact(value).length < 15 ? "incomplete_iban" : "invalid_iban";
    },
  });
  iban.input.addEventListener("blur", () => {
    iban.input.value = compact(iban.input.value).replace(/(.{4})(?=.)/g, "$1 ");
  });
  return [...billingFields({ name: true, email: true, country: false, postal_code: false }), iban];
}

/** Whether a detail of the payer is asked here: what the page says, else what the method needs. */
function asks(name, needed) {
  const wishes = given.options.fields?.billingDetails;
  const address = typeof wishes === "object" ? wishes.address : wishes;
  const inner = { country: "country", postal_code: "postalCode", line1: "line1" }[name];
  const wish = inner ? (typeof address === "object" ? address[inner] : address) : typeof wishes === "object" ? wishes[name] : wishes;
  return wish === "always" || (needed && wish !== "never");
}

function billingFields(needed) {
  const initial = given.options.defaultValues?.billingDetails ?? {};
  const made = [];
  if (asks("name", needed.name)) {
    made.push(field({ name: "name", label: words.name, autocomplete: "name", check: required("incomplete_name"), missing: "incomplete_name", value: initial.name }));
  }
  if (asks("email", needed.email)) {
    made.push(field({
      name: "email", label: words.email, type: "email", autocomplete: "email", inputmode: "email", value: initial.email, missing: "incomplete_email",
      check: (value) => (/^\S+@\S+\.\S+$/.test(value.trim()) ? "" : "incomplete_email"),
    }));
  }
  if (asks("phone", false)) {
    made.push(field({ name: "phone", label: words.phone, type: "tel", autocomplete: "tel", check: required("incomplete_phone"), missing: "incomplete_phone", value: initial.phone }));
  }
  if (asks("line1", false)) {
    made.push(field({ name: "line1", label: words.line1, autocomplete: "address-line1", check: required("incomplete_line1"), missing: "incomplete_line1", value: initial.address?.line1 }));
  }
  let country = null;
  if (asks("country", needed.country)) {
    const names = new Intl.DisplayNames([given.locale], { type: "region" });
    const choices = COUNTRIES.split(" ").map((code) => [code, names.of(code)]).sort((a, b) => a[1].localeCompare(b[1], given.locale));
    country = field({ name: "country", label: words.country, half: true, check: () => "", choices, autocomplete: "country" });
    const here = initial.address?.country ?? (given.locale === "fr" ? "FR" : (navigator.language.split("-")[1] ?? "US"));
    country.input.value = COUNTRIES.split(" ").includes(here) ? here : "US";
    made.push(country);
  }
  if (asks("postal_code", needed.postal_code)) {
    const postal = field({
      name: "postal_code", label: words.postal_code, half: country !== null, autocomplete: "postal-code", maxlength: 10, value: initial.address?.postal_code,
      check: (value) => {
        const shape = POSTAL[country?.input.value];
        if (shape) return shape.test(value.trim()) ? "" : "incomplete_zip";
        return value.trim().length >= 3 ? "" : "incomplete_zip";
      },
      missing: "incomplete_zip",
    });
    const adapt = () => {
      // Only where banks compare it; there it is asked, elsewhere it is not.
      const compared = !country || country.input.value in POSTAL;
      postal.element.hidden = !compared;
      postal.element.querySelector("label").textContent = country?.input.value === "US" ? words.us_postal_code : words.postal_code;
    };
    adapt();
    country?.input.addEventListener("change", adapt);
    made.push(postal);
  }
  return made;
}

const BUILDERS = { card: cardFields, us_bank_account: bankFields, sepa_debit: debitFields };

/** The methods to offer: those that the page allows and the currency can. */
function offered() {
  if (given.role === "card") return ["card"];
  const { allowedPaymentMethodTypes: allowed, currency } = given.elements;
  const possible = ["card", "us_bank_account", "sepa_debit"].filter((one) => !currency || (CURRENCIES[one] ?? currency) === currency);
  const both = possible.filter((one) => !allowed || allowed.includes(one));
  return both.length > 0 ? both : ["card"];
}

function radio(group, value, text, selected, choose) {
  const input = node("input", { type: "radio", name: group, value, checked: selected });
  input.addEventListener("change", choose);
  return node("label", { class: `Tab${selected ? " Tab--selected" : ""}` }, input, node("span", {}, text));
}

function build() {
  const types = offered();
  if (!types.includes(type)) type = types[0];
  const parts = [];
  if (saved.length > 0) {
    const options = saved.map(({ id, card, type: kind, [kind]: details }) =>
      radio("saved", id, filled(words.ending, { brand: card ? brandName(card.brand) : words[kind], last4: details.last4 }), chosen === id, () => choose(id)));
    options.push(radio("saved", "", words.another, chosen === null, () => choose(null)));
    parts.push(node("fieldset", { class: "Tabs" }, node("legend", {}, words.saved), ...options));
  }
  fields = [];
  if (chosen === null) {
    if (types.length > 1) {
      const tabs = types.map((one) => radio("type", one, words[one], one === type, () => pick(one)));
      parts.push(node("fieldset", { class: "Tabs" }, node("legend", {}, words.method), ...tabs));
    }
    fields = BUILDERS[type]();
    parts.push(node("div", { class: "Fields" }, ...fields.map(({ element }) => element)));
    const shop = given.options.business?.name ?? words.the_shop;
    const terms = { us_bank_account: words.mandate_us, sepa_debit: words.mandate_sepa }[type];
    if (terms) parts.push(node("p", { class: "Terms" }, filled(terms, { shop })));
    if (savingOffered()) {
      parts.push(node("label", { class: "Check" }, node("input", { type: "checkbox", name: "save", id: "field-save" }), words.save));
    }
    parts.push(node("p", { class: "Practice" }, filled(words.practice, { example: EXAMPLES[type] })));
  }
  form.replaceChildren(...parts);
  announce();
}

const brandName = (brand) => ({ visa: "Visa", mastercard: "Mastercard", amex: "Amex" })[brand] ?? brand;
const savingOffered = () => given.session?.payment_method_save === "enabled";

function pick(one) {
  type = one;
  build();
  form.querySelector(`[name=type][value=${one}]`)?.focus();
}

function choose(id) {
  chosen = id;
  build();
  form.querySelector(`[name=saved][value="${id ?? ""}"]`)?.focus();
}

// --- states --------------------------------------------------------------------------------------

const visible = () => fields.filter(({ element }) => !element.hidden);

function wrongWith(one) {
  const value = one.input.value;
  if (one.input.tagName === "SELECT") return "";
  return value.trim() === "" ? (one.missing ?? "") : one.check(value);
}

function show(one) {
  const code = one.touched ? wrongWith(one) : "";
  one.error.textContent = code ? words[code] : "";
  one.input.classList.toggle("Input--invalid", code !== "");
  one.input.setAttribute("aria-invalid", String(code !== ""));
}

function problem(code) {
  return { type: "validation_error", code, message: words[code] };
}

/** Tell the page what it may know: whether all is there, of which method, which brand. */
function announce() {
  if (given.role === "controller") return;
  const shown = visible();
  const typed = shown.filter(({ input }) => input.tagName !== "SELECT");
  const failing = shown.find((one) => one.touched && wrongWith(one) !== "");
  const state = {
    complete: chosen !== null || shown.every((one) => wrongWith(one) === ""),
    empty: chosen === null && typed.every(({ input }) => input.value === ""),
    error: failing ? problem(wrongWith(failing)) : undefined,
    value: { type: chosen === null ? type : saved.find(({ id }) => id === chosen).type },
    brand: chosen === null && type === "card" ? brandOf(digitsOf(valueOf("number"))).brand : undefined,
  };
  if (chosen !== null) state.value.payment_method = { id: chosen };
  const text = JSON.stringify(state);
  if (text === announced) return;
  announced = text;
  tell("change", { state });
}

const valueOf = (name) => visible().find((one) => one.name === name)?.input.value.trim() ?? "";

function validate() {
  for (const one of visible()) {
    one.touched = true;
    show(one);
  }
  const first = visible().find((one) => wrongWith(one) !== "");
  announce();
  if (!first) return {};
  first.input.focus();
  return { error: problem(wrongWith(first)) };
}

// --- calls ---------------------------------------------------------------------------------------

function typedDetails() {
  const billing = {};
  for (const name of ["name", "email", "phone"]) if (valueOf(name)) billing[name] = valueOf(name);
  const address = {};
  for (const name of ["line1", "country", "postal_code"]) if (valueOf(name)) address[name] = valueOf(name);
  if (Object.keys(address).length > 0) billing.address = address;
  const expiry = digitsOf(valueOf("expiry"));
  const details = {
    card: () => ({
      number: digitsOf(valueOf("number")), exp_month: Number(expiry.slice(0, 2)), exp_year: 2000 + Number(expiry.slice(2)), cvc: valueOf("cvc"),
    }),
    us_bank_account: () => ({
      routing_number: valueOf("routing"), account_number: valueOf("account"), account_type: valueOf("account_type"), account_holder_type: valueOf("holder_type"),
    }),
    sepa_debit: () => ({ iban: valueOf("iban").replaceAll(" ", "") }),
  }[type]();
  return { type, [type]: details, billing_details: billing };
}

function merged(below, above) {
  const both = { ...below };
  for (const [key, value] of Object.entries(above ?? {})) {
    both[key] = value && typeof value === "object" && !Array.isArray(value) ? merged(both[key] ?? {}, value) : value;
  }
  return both;
}

/** Stripe's form encoding: nested names in brackets. */
function encoded(value, name = "", into = new URLSearchParams()) {
  if (value === null || value === undefined) return into;
  if (typeof value === "object") {
    for (const [key, inner] of Object.entries(value)) encoded(inner, name ? `${name}[${key}]` : key, into);
  } else into.append(name, String(value));
  return into;
}

async function call(path, body, as, method = "POST") {
  const url = new URL(path, API);
  if (!url.href.startsWith(API.href)) return { error: { type: "invalid_request_error", message: "Not a path of the sandbox." } };
  const content = encoded({ ...body, key: given.key });
  if (method === "GET") url.search = content;
  let answer;
  try {
    answer = await fetch(url, { method, body: method === "GET" ? undefined : content, credentials: "omit" });
    const value = await answer.json();
    return answer.ok ? { [as]: value } : { error: value.error };
  } catch {
    return { error: { type: "api_connection_error", message: words.offline } };
  }
}

async function send({ path, into, as, body }) {
  if (CONFIRMATION.test(path)) return confirm(path, as, body);
  if (!DESTINATIONS.includes(path)) return { error: { type: "invalid_request_error", message: "Card details do not go there." } };
  const { error } = validate();
  if (error) return { error };
  if (chosen !== null) {
    const { payment_method_data: _, ...rest } = body;
    return call(path, { ...rest, payment_method: chosen }, as);
  }
  const typed = typedDetails();
  if (form.elements.save?.checked) typed.allow_redisplay = "always";
  return call(path, into ? merged(body, { [into]: merged(typed, body[into]) }) : merged(typed, body), as);
}

/** An intent is confirmed with a token, so that its own calls never carry a number. */
async function confirm(path, as, { payment_method_data: details, ...body }) {
  const { setup_future_usage: later } = body;
  const made = await send({
    path: "v1/confirmation_tokens", into: "payment_method_data", as: "token", body: { payment_method_data: details, setup_future_usage: later },
  });
  return made.error ? made : call(path, { ...body, confirmation_token: made.token.id }, as);
}

async function answered({ question, ...content }) {
  if (question === "submit") {
    const { error } = validate();
    return error ? { error } : { selectedPaymentMethod: JSON.parse(announced).value.type };
  }
  if (question === "send") return send(content);
  if (question === "call") return call(content.path, content.body, content.as, content.method);
  return { error: { type: "invalid_request_error", message: `Unknown question: ${question}` } };
}

// --- looks ---------------------------------------------------------------------------------------

const sheet = new CSSStyleSheet();
document.adoptedStyleSheets = [sheet];

/** Stripe's `appearance`: a theme, variables and rules for our class names, each checked by the browser's own parser. */
function dress({ theme, variables = {}, rules = {} } = {}) {
  const root = document.documentElement;
  root.classList.toggle("night", theme === "night" || (!theme && given.scheme === "dark"));
  for (const [name, value] of Object.entries(variables)) {
    if (/^[a-zA-Z0-9]+$/.test(name) && !/[;{}]|url\(/i.test(value)) root.style.setProperty(`--${name}`, value);
  }
  sheet.replaceSync("");
  for (const [selector, style] of Object.entries(rules)) {
    if (!/^\.[A-Z][\w-]*([:.][\w-]+)*$/.test(selector)) continue;
    const at = sheet.insertRule(`${selector} {}`, sheet.cssRules.length);
    for (const [property, value] of Object.entries(style)) {
      if (!/url\(/i.test(value)) sheet.cssRules[at].style[property] = value;
    }
  }
  if (given.scheme && given.scheme !== "normal") root.style.colorScheme = given.scheme;
}

async function loadSession() {
  const secret = given.elements.customerSessionClientSecret;
  if (!secret) return;
  const { session } = await call("v1/elements/sessions", { client_secret: secret }, "session", "GET");
  given.session = session?.features;
  saved = (session?.payment_methods ?? []).filter((one) => offered().includes(one.type));
  chosen = saved[0]?.id ?? null;
}

// --- conversation --------------------------------------------------------------------------------

const hear = {
  async init(message) {
    given = { ...message };
    shownOptions = JSON.stringify(message.options);
    words = wordsOf(given.locale);
    document.documentElement.lang = given.locale;
    document.title = words.title;
    if (given.role === "controller") return;
    dress(given.elements.appearance);
    await loadSession();
    build();
    tell("ready");
  },
  update(message) {
    const kept = new Map(fields.map(({ name, input }) => [name, input.value]));
    const before = offered().join();
    given = { ...given, ...message };
    dress(given.elements.appearance);
    if (offered().join() === before && JSON.stringify(message.options) === shownOptions) return;
    shownOptions = JSON.stringify(message.options);
    build();
    for (const one of fields) if (kept.has(one.name)) one.input.value = kept.get(one.name);
    announce();
  },
  focus: () => visible()[0]?.input.focus(),
  blur: () => document.activeElement?.blur(),
  clear: () => {
    for (const one of fields) {
      if (one.input.tagName !== "SELECT") one.input.value = "";
      one.touched = false;
      show(one);
      if (one.brand) one.brand.textContent = "";
    }
    announce();
  },
  async ask(message) {
    tell("answer", { call: message.call, result: await answered(message) });
  },
};
if (window.parent !== window && LOOPBACK.test(PAGE)) {
  window.addEventListener("message", (event) => {
    if (event.source !== window.parent || event.origin !== PAGE || event.data?.frame !== FRAME) return;
    hear[event.data.type]?.(event.data);
  });
  new ResizeObserver(() => tell("resize", { height: Math.ceil(document.body.getBoundingClientRect().height) })).observe(document.body);
  document.addEventListener("focusin", () => tell("focus"));
  document.addEventListener("focusout", () => tell("blur"));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tell("escape");
    if (event.key !== "Enter" || event.target.tagName === "SELECT") return;
    event.preventDefault();
    tell("enter");
  });
  tell("hello");
}
