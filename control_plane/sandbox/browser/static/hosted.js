/** Forms of the hosted pages: sent to the sandbox, then back to the page that opened them or to the merchant. */

const asked = new URLSearchParams(location.hash.slice(1));
const FRAME = asked.get("id");
const PAGE = asked.get("origin") ?? "";
const LOOPBACK = /^https?:\/\/(127\.0\.0\.1|localhost|[a-z0-9-]+\.localhost)(:\d+)?$/;
const isFramed = window.parent !== window && LOOPBACK.test(PAGE);

function tell(type, content = {}) {
  if (isFramed) window.parent.postMessage({ frame: FRAME, type, ...content }, PAGE);
}

for (const form of document.forms) {
  const said = form.querySelector("[role=status]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const content = new URLSearchParams();
    for (const [name, value] of new FormData(form, event.submitter)) if (value !== "") content.append(name, value);
    if ("details" in form.dataset) {
      const details = JSON.parse(new URLSearchParams(location.search).get("details") ?? "{}");
      content.append("name", details.name ?? "");
      if (details.email) content.append("email", details.email);
    }
    for (const button of form.querySelectorAll("button")) button.disabled = true;
    const answer = await fetch(form.dataset.path, { method: "POST", body: content, credentials: "omit" });
    const value = await answer.json();
    for (const button of form.querySelectorAll("button")) button.disabled = false;
    if (!answer.ok) {
      said.textContent = value.error?.message ?? "";
      said.className = "bad";
      return;
    }
    if (value.next) location.assign(value.next);
    else {
      said.className = "good";
      said.textContent = said.dataset.done;
      tell("done");
    }
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tell("done", { closed: true });
});
tell("hello");
new ResizeObserver(() => tell("resize", { height: Math.ceil(document.body.getBoundingClientRect().height) })).observe(document.body);
document.querySelector("button")?.focus();
