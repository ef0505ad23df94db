// Shows a receipt as it would look with what is typed: <form data-preview="id of an iframe">.

for (const form of document.querySelectorAll("form[data-preview]")) {
  const frame = document.getElementById(form.dataset.preview);
  const address = frame.src.split("?")[0];
  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const typed = new FormData(form);
      typed.delete("csrf_token");
      frame.contentWindow.location.replace(`${address}?${new URLSearchParams(typed)}`);
    }, 250);
  });
}
