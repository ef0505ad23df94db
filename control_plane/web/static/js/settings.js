// Shows what belongs to the chosen kind of a field; without scripts, everything is shown.
const kind = document.querySelector("[data-shows]");

function show() {
  for (const part of document.querySelectorAll("[data-shown-for]")) {
    part.hidden = !part.dataset.shownFor.split(" ").includes(kind.value);
  }
}
kind.addEventListener("change", show);
show();
