/** The hosted page of a Checkout session: the same fields as on a merchant's page, then the session's own calls. */

const form = document.querySelector("form");
const said = form.querySelector("[role=alert]");
const button = form.querySelector("button");
const { session, key, mode, amount, currency, types } = form.dataset;
const stripe = window.Stripe(key);
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const elements = stripe.elements({
  mode,
  ...(mode === "payment" ? { amount: Number(amount), currency } : { currency }),
  allowedPaymentMethodTypes: types.split(" "),
  locale: document.documentElement.lang,
  appearance: { theme: dark ? "night" : "stripe" },
});
const element = elements.create("payment");
element.on("ready", () => {
  button.disabled = false;
});
element.mount("#fields");

async function post(act, content) {
  const answer = await fetch(`/_hosted/checkout/${session}/${act}`, { method: "POST", body: content, credentials: "omit" });
  const value = await answer.json();
  return answer.ok ? value : { error: value.error };
}

async function pay() {
  const checked = await elements.submit();
  if (checked.error) return checked;
  const made = await stripe.createConfirmationToken({ elements });
  if (made.error) return made;
  const content = new URLSearchParams(new FormData(form));
  content.append("confirmation_token", made.confirmationToken.id);
  const paid = await post("pay", content);
  if (paid.error || paid.next) return paid;
  const acted = await stripe.handleNextAction({ clientSecret: paid.client_secret });
  return acted.error ? acted : post("finish", new URLSearchParams());
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  said.textContent = "";
  const { error, next } = await pay();
  if (next) location.assign(next);
  else {
    said.textContent = error?.message ?? "";
    button.disabled = false;
  }
});
