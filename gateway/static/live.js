// Workspaces as they are now. The stream says that something changed; the page's own part is fetched anew, so that the
// server alone knows how a state is worded. Where there is no stream, the page asks every few seconds.
const part = document.querySelector("[data-live]");
const said = document.getElementById("said");
const only = part.dataset.live;
let fetching = false;
let again = false;

// Must be made as `version` in macros.html makes it.
const version = (one) => `${one.state}-${one.stages.length}-${one.cause ? one.cause.code : ""}-${one.name}`;

async function refresh() {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  try {
    const address = new URL(part.dataset.from + location.search, location.origin);
    if (part.dataset.fresh) address.searchParams.set("done", "workspace-requested");
    const answer = await fetch(address);
    if (answer.ok && !answer.redirected) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
    else if (answer.status === 404 && only) location.assign("/dashboard");
    else if (answer.redirected) location.assign(address);
  } catch {
    // Offline: the stream tries again by itself.
  }
  fetching = false;
  if (again) {
    again = false;
    refresh();
  }
}

function swap(page) {
  const fresh = page.querySelector("[data-live]");
  if (!fresh) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const before = states(part);
  const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
  part.replaceChildren(...fresh.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  for (const other of document.querySelectorAll("[data-follows]")) {
    // Never under somebody's hands.
    if (other.contains(document.activeElement) || other.querySelector("dialog[open]")) continue;
    other.replaceChildren(...(page.getElementById(other.id)?.childNodes ?? []));
  }
  document.title = page.title;
  const changed = [...states(part)].filter(([id, text]) => before.get(id) !== text).map(([, text]) => text);
  if (changed.length) said.textContent = changed.join(". ");
  if (focused) document.getElementById(focused)?.focus();
  const arrived = part.querySelector("[data-arrived]");
  if (arrived && part.dataset.fresh) arrived.focus();
}

const states = (root) => new Map([...root.querySelectorAll("[data-workspace]")].map((one) => [one.dataset.workspace, one.dataset.told]));

function heard(one) {
  const shown = part.querySelector(`[data-workspace="${CSS.escape(one.id)}"]`);
  if (only && one.id !== only) return;
  if (!shown && part.dataset.more) return; // it stands on another page of the list
  const gone = Boolean(one.restorable_until) || one.state.startsWith("eras");
  if (shown ? shown.dataset.version !== version(one) : gone === (part.dataset.shows === "deleted")) refresh();
}

let stream = null;
let poll = 0;
function follow() {
  stream = new EventSource("/api/v1/workspaces/events");
  stream.addEventListener("workspace", (event) => heard(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED && !poll) poll = setInterval(refresh, 5000);
  });
}
follow();
addEventListener("pagehide", () => {
  stream.close();
  clearInterval(poll);
  poll = 0;
});
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    refresh();
    follow();
  }
});
