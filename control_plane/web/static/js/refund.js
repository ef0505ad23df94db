// The refund dialog: shows the part that was chosen, and writes on the button what will happen. The server decides.
const form = document.querySelector("[data-refund]");
const dialog = form.closest("dialog");
const send = form.querySelector("[data-send]");
const label = send.querySelector("[data-label]");
const { currency, language, gives, asks } = send.dataset;
const money = new Intl.NumberFormat(language, { style: "currency", currency });
const digits = money.resolvedOptions().maximumFractionDigits;
const all = Number(form.querySelector("[value=all]").dataset.minor);
const approval = form.querySelector("[data-approval]");

function typed() {
  const match = /^(\d{1,12})(?:[.,](\d{1,3}))?$/.exec(form.elements.amount.value.trim());
  if (!match || (match[2] ?? "").length > digits) return null;
  return Number(match[1]) * 10 ** digits + Number((match[2] ?? "").padEnd(digits, "0") || 0);
}

// Shares of a line add up: what all of it comes to, less what came before.
function chosen() {
  let sum = 0;
  for (const input of form.querySelectorAll("[name^=line-]")) {
    const count = Number(input.value) || 0;
    const { total, quantity, before } = Object.fromEntries(Object.entries(input.dataset).map(([key, text]) => [key, Number(text)]));
    sum += Math.floor((total * (before + count)) / quantity) - Math.floor((total * before) / quantity);
  }
  return sum || null;
}

function show() {
  const by = form.elements.by.value;
  for (const part of form.querySelectorAll("[data-part]")) part.hidden = part.dataset.part !== by;
  const minor = { all: () => all, amount: typed, lines: chosen }[by]();
  const waits = approval && minor !== null && minor <= all && minor > Number(approval.dataset.approval);
  if (approval) approval.hidden = !waits;
  const text = waits ? asks : gives;
  label.textContent = minor === null || minor > all ? send.dataset.plain : text.replace("{}", money.format(minor / 10 ** digits));
}

form.addEventListener("input", show);
form.addEventListener("change", (event) => {
  if (event.target.name !== "by") return;
  form.querySelector(`[data-part="${event.target.value}"] input`)?.focus();
});
show();
if (dialog.dataset.open !== undefined) {
  dialog.showModal();
  dialog.querySelector("[data-first]")?.focus();
}
