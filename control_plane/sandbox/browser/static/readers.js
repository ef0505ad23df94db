/** The page on which a person plays the customers at all readers. */

const API = new URL("../_sandbox/", import.meta.url);
const CARDS = [
  ["Visa, approved", { number: "4242424242424242" }],
  ["Mastercard debit, approved", { number: "5200828282828210" }],
  ["Insufficient funds", { number: "4000000000009995" }],
  ["Declined", { number: "4000000000000002" }],
  ["Expired", { number: "4000000000000069" }],
  ["Interac", { type: "interac_present", number: "4506445006931933" }],
];
const FAULTS = {
  drop_mid_auth: "Goes dark after the charge",
  connection_error: "Loses the connection after the charge",
  ack_lost: "Command arrives, answer is lost",
  command_lost: "Command does not arrive",
  stuck_in_progress: "Hangs after the card",
  late_webhook: "Next message comes late",
  duplicate_webhook: "Next message comes twice",
  out_of_order_webhook: "Messages come in the wrong order",
  update_at_noon: "Installs an update now",
  battery_low: "Battery is empty",
  card_left_in: "Card is left in",
  offline_store_then_decline: "Stores the payment, declined later",
  hardware_fault: "Hardware fault",
};
const cards = new Map();
const said = document.getElementById("said");

async function post(path, body = {}) {
  const answer = await fetch(new URL(path, API), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const value = await answer.json();
  said.textContent = answer.ok ? "" : (value.error?.message ?? value.detail ?? "That did not work.");
  await show();
}

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function button(text, act, kind = "") {
  const made = node("button", { type: "button", class: kind }, text);
  made.addEventListener("click", act);
  return made;
}

function select(label, choices) {
  const made = node("select", { "aria-label": label }, ...choices.map(([value, text]) => node("option", { value }, text)));
  return made;
}

function cardOf(reader) {
  const path = `readers/${reader.id}/`;
  const which = select(`Card for ${reader.label}`, CARDS.map(([text], at) => [at, text]));
  const fault = select(`What goes wrong at ${reader.label}`, Object.entries(FAULTS));
  const parts = {
    state: node("p", { class: "soft" }),
    amount: node("p", { class: "amount" }),
    tap: button("Present card", () => post(`${path}tap`, CARDS[which.value][1]), "main"),
    cancel: button("Press cancel", () => post(`${path}cancel`)),
    answer: button("Answer questions", () => post(`${path}answer`)),
    remove: button("Take card out", () => post(`${path}remove_card`)),
    resume: button("Switch on", () => post(`${path}resume`)),
  };
  parts.element = node(
    "section", { class: "sheet", "aria-label": reader.label }, node("h2", {}, reader.label), parts.state, parts.amount, which,
    node("div", { class: "actions" }, parts.tap, parts.cancel, parts.answer, parts.remove, parts.resume),
    node("details", {}, node("summary", {}, "Let something go wrong"), fault,
      node("div", { class: "actions" }, button("Set", () => post(`${path}fault`, { kind: fault.value })))),
  );
  return parts;
}

function money({ amount, currency }) {
  const style = new Intl.NumberFormat("en", { style: "currency", currency });
  return style.format(amount / 10 ** style.resolvedOptions().maximumFractionDigits);
}

async function show() {
  const readers = await (await fetch(new URL("readers", API))).json();
  document.getElementById("none").hidden = readers.length > 0;
  for (const reader of readers) {
    if (!cards.has(reader.id)) {
      cards.set(reader.id, cardOf(reader));
      document.getElementById("readers").append(cards.get(reader.id).element);
    }
    const { phase, asks, card_in: cardIn } = reader.sandbox;
    const parts = cards.get(reader.id);
    const action = reader.action ? `${reader.action.type.replaceAll("_", " ")}: ${reader.action.failure_code ?? reader.action.status.replaceAll("_", " ")}` : "idle";
    parts.state.textContent = `${reader.status}, ${action}`;
    parts.amount.textContent = asks ? money(asks) : "";
    const inputs = reader.action?.type === "collect_inputs";
    parts.tap.disabled = phase !== "waiting" || inputs;
    parts.cancel.disabled = phase !== "waiting";
    parts.answer.hidden = phase !== "waiting" || !inputs;
    parts.remove.hidden = !cardIn;
    parts.resume.hidden = reader.status === "online";
  }
}

for (const later of document.querySelectorAll("#clock button")) {
  later.addEventListener("click", () => post("clock/advance", { hours: Number(later.dataset.hours) }));
}
await show();
setInterval(() => document.hidden || show(), 1000);
