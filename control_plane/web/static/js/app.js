// What every page can do beyond links and forms. Behaviour hangs on data-* attributes, never on inline code:
//   data-shortcut="ctrl+enter" data-shortcut-label="Charge"   a key that clicks (or focuses) the element
//   data-copy="text" data-copied="Copied"                      copies, and says so
//   data-once                                                  a form that is sent at most once
//   data-dialog="id" / data-close                              opens and closes a <dialog>
//   <time datetime data-ago>                                   "3 minutes ago", kept current

const root = document.documentElement;
const single = (selector, scope = document) => scope.querySelector(selector);

// --- saying things -----------------------------------------------------------------------------------------

/** Shows a short message and lets a screen reader say it. */
export function announce(text) {
  const list = single("#toasts");
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.textContent = text;
  list.append(toast);
  setTimeout(() => toast.remove(), 4500);
}

document.addEventListener("htmx:error", (event) => {
  const status = event.detail?.ctx?.response?.status;
  if (status === undefined) announce(single("#toasts").dataset.lost);
});

// --- keys --------------------------------------------------------------------------------------------------

const SINGLE_KEYS = "omnitill.single-keys";
const singleKeysOn = () => localStorage.getItem(SINGLE_KEYS) !== "off";
const isTyping = (target) =>
  target.isContentEditable || target.closest?.("textarea, select, input:not([type=radio], [type=checkbox])");

let prefix = "";
let prefixTimer = 0;

function pressed(event) {
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("ctrl");
  if (event.altKey) parts.push("alt");
  if (event.altKey && event.shiftKey) parts.push("shift");
  const digit = /^Digit(\d)$/.exec(event.code);
  // Alt with a digit types a sign on some keyboards; the place of the key is meant.
  parts.push(event.altKey && digit ? digit[1] : event.key.toLowerCase());
  return parts.join("+");
}

const isShown = (element) => element.checkVisibility() || element.closest("[popover]") || element.matches("input[type=radio]");

function targetOf(keys) {
  const dialog = single("dialog[open]");
  for (const element of (dialog ?? document).querySelectorAll("[data-shortcut]")) {
    if (element.dataset.shortcut.split(" ").includes(keys) && isShown(element)) return element;
  }
  return null;
}

function act(element) {
  if (element.matches("input[type=radio], input[type=checkbox]")) {
    element.click();
    element.focus();
  } else if (element.matches("input, select, textarea")) {
    element.focus();
    element.select?.();
  } else if (element.matches("fieldset")) {
    (single(":checked", element) ?? single("input", element))?.focus();
  } else element.click();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || event.repeat) return;
  const keys = pressed(event);
  const isFunction = /^f\d/.test(keys);
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey && !isFunction && keys !== "escape" && keys !== "enter";
  if (isPlain && (isTyping(event.target) || !singleKeysOn())) return;
  if (keys === "enter" && event.target.closest("a, button, input, select, textarea, summary")) return;
  if (keys === "escape" && single("dialog[open], :popover-open")) return;

  const sequence = isPlain && prefix ? `${prefix}-${keys}` : keys;
  prefix = "";
  const element = targetOf(sequence);
  if (element) {
    event.preventDefault();
    act(element);
  } else if (isPlain && single(`[data-shortcut^="${CSS.escape(keys)}-"]`)) {
    prefix = keys;
    clearTimeout(prefixTimer);
    prefixTimer = setTimeout(() => (prefix = ""), 1200);
  }
});

const NAMES = { ctrl: "Ctrl", alt: "Alt", shift: "⇧", enter: "↵", escape: "Esc" };

function listShortcuts() {
  const list = single("#keys-list");
  list.replaceChildren();
  const seen = new Set();
  for (const element of document.querySelectorAll("[data-shortcut][data-shortcut-label]")) {
    const { shortcut, shortcutLabel } = element.dataset;
    if (seen.has(shortcut) || element.closest("dialog") || !isShown(element)) continue;
    seen.add(shortcut);
    const label = document.createElement("dt");
    const keys = document.createElement("dd");
    label.textContent = shortcutLabel;
    shortcut.split(" ")[0].split(/[+-]/).forEach((key, index) => {
      if (index) keys.append(" ");
      const cap = document.createElement("kbd");
      cap.textContent = NAMES[key] ?? key.toUpperCase();
      keys.append(cap);
    });
    list.append(label, keys);
  }
  const toggle = single("#single-keys");
  toggle.checked = singleKeysOn();
  toggle.onchange = () => localStorage.setItem(SINGLE_KEYS, toggle.checked ? "on" : "off");
}

// --- dialogs, copying, one-time forms ------------------------------------------------------------------------

document.addEventListener("click", async (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (dialog.id === "keys") listShortcuts();
    single(":popover-open")?.hidePopover();
    dialog.showModal();
    dialog.querySelector("[data-first]")?.focus();
    return;
  }
  if (event.target.closest("[data-close]") || event.target.matches("dialog")) {
    event.target.closest("dialog")?.close();
    return;
  }
  const copier = event.target.closest("[data-copy]");
  if (copier) {
    await navigator.clipboard.writeText(copier.dataset.copy);
    announce(copier.dataset.copied);
    return;
  }
  if (event.target.closest("[data-print]")) print();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.matches("[data-once]")) return;
  if (form.getAttribute("aria-busy") === "true") event.preventDefault();
  form.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-once][aria-busy]")) form.removeAttribute("aria-busy");
});

// A control that acts at once when it is changed, where a button is only needed without scripts.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// --- time ---------------------------------------------------------------------------------------------------

const relative = new Intl.RelativeTimeFormat(root.lang, { numeric: "auto", style: "long" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

function refreshTimes() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
    const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
    const count = unit === "second" && Math.abs(seconds) < 10 ? 0 : Math.trunc(seconds / size);
    const text = relative.format(count, unit);
    if (time.textContent !== text) time.textContent = text;
  }
}
setInterval(() => document.hidden || refreshTimes(), 5000);
document.addEventListener("visibilitychange", () => document.hidden || refreshTimes());
document.addEventListener("htmx:after:swap", refreshTimes);
refreshTimes();

// --- focus ---------------------------------------------------------------------------------------------------

const focusedBefore = new WeakSet();

// Each element that asks for the focus gets it once: when it comes. A field would open the keyboard of a touch screen,
// so there it is left to a fine pointer.
function focusNew() {
  const wanted = single("[data-autofocus]");
  if (!wanted || focusedBefore.has(wanted)) return;
  focusedBefore.add(wanted);
  if (matchMedia("(pointer: fine)").matches || wanted.matches("button, a")) wanted.focus({ preventScroll: true });
}
focusNew();
document.addEventListener("htmx:after:swap", focusNew);

// htmx begins a moment after the page: what was chosen or typed before that is said once more.
addEventListener("load", () => setTimeout(() => {
  for (const field of document.querySelectorAll("input[hx-get], [hx-get] input")) {
    const isEmpty = document.querySelector(field.getAttribute("hx-target") ?? "#none")?.childElementCount === 0;
    const isNews = field.type === "radio" ? field.checked && isEmpty : field.value !== field.defaultValue;
    if (isNews) field.dispatchEvent(new Event("change", { bubbles: true }));
  }
}, 400));

// Of tabs that do not all fit, the present one is shown.
const present = single(".areas [aria-current]");
if (present) present.parentElement.scrollLeft = present.offsetLeft - present.parentElement.clientWidth / 2;

if ("serviceWorker" in navigator && isSecureContext) navigator.serviceWorker.register("/service-worker.js");
