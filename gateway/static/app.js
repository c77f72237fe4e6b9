// Every page: a double click does one thing, questions open as dialogs, Esc closes, `/` searches.

// A form is sent once. Coming back (also from the browser's page cache) it can be sent again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method === "dialog") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  const button = event.submitter;
  // After this turn, so that the button's own name and value still go with the form.
  setTimeout(() => {
    if (!button) return;
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
  });
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) {
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  }
});

// <details class="ask"> holds a question and its form; with a script it is asked in a dialog.
function ask(details) {
  let dialog = details.querySelector("dialog");
  if (!dialog) {
    dialog = document.createElement("dialog");
    const panel = details.querySelector(".panel");
    dialog.append(panel);
    dialog.setAttribute("aria-label", details.querySelector("summary").textContent.trim());
    details.append(dialog);
    dialog.addEventListener("close", () => {
      details.open = false;
      details.querySelector("summary").focus();
    });
  }
  details.open = true;
  dialog.showModal();
}
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  const summary = event.target.closest("details.ask > summary");
  if (summary) {
    event.preventDefault();
    ask(summary.parentElement);
    return;
  }
  const closer = event.target.closest("[data-close]");
  if (closer) closer.closest("dialog")?.close();
  else if (event.target.nodeName === "DIALOG" && event.target.matches(".ask dialog") && event.detail === 1) {
    // Beside the question: no. (Not the second click of a double click, and never beside a half-typed card.)
    const box = event.target.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) event.target.close();
  }
});
for (const details of document.querySelectorAll("details.ask[open]")) ask(details);

// A choice that needs no button: the year of the invoices.
document.addEventListener("change", (event) => {
  if (event.target.dataset?.sends !== undefined) event.target.form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const open of document.querySelectorAll(".phone-bar details[open], details.menu[open]")) {
      const inside = open.contains(document.activeElement);
      open.open = false;
      if (inside) open.querySelector("summary").focus();
    }
  }
  const typing = event.target.closest("input, select, textarea, [contenteditable], dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
});

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (!copy) return;
  await navigator.clipboard.writeText(copy.dataset.copy);
  const label = copy.querySelector("span");
  const before = label.textContent;
  label.textContent = copy.dataset.copied;
  setTimeout(() => (label.textContent = before), 2000);
});

// What was just done is told once, and a question is asked once: a reload does neither again.
const here = new URL(location.href);
if (here.searchParams.has("done") || here.searchParams.has("ask")) {
  here.searchParams.delete("done");
  here.searchParams.delete("ask");
  history.replaceState(history.state, "", here);
}
