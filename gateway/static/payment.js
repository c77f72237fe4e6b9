// Paying without leaving the page: what is bought first, then PayTR's own form in a frame. We never see a card.
const dialog = document.getElementById("pay");
let frame = document.getElementById("paytriframe");

// The form tells its height, PayTR's by iframe-resizer's messages, the sandbox's by one of its own. Only the frame is heard.
addEventListener("message", (event) => {
  if (!frame || event.source !== frame.contentWindow) return;
  let height = event.data?.paytrSandboxHeight;
  if (typeof event.data === "string" && event.data.startsWith("[iFrameSizer]")) height = Number(event.data.split(":")[1]);
  if (height > 200 && height < 8000) frame.style.height = `${Math.ceil(height)}px`;
});
function greet() {
  frame.contentWindow.postMessage("[iFrameSizer]paytriframe:8:false:true:32:true:true:null:bodyOffset:null:null:0:false:parent:scroll:true", "*");
  frame.contentWindow.postMessage({ paytrSandboxAsk: true }, "*");
}
if (frame) {
  frame.addEventListener("load", greet);
  greet();
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

const money = (amount) =>
  new Intl.NumberFormat(document.documentElement.lang === "tr" ? "tr-TR" : "en-US", { style: "currency", currency: amount.currency, currencyDisplay: "narrowSymbol" }).format(amount.minor / 100);

async function pay(form) {
  const show = (name) => {
    for (const part of dialog.querySelectorAll("[data-part]")) part.hidden = part.dataset.part !== name;
  };
  const put = (name, text) => (dialog.querySelector(`[data-put=${name}]`).textContent = text);
  put("plan", form.dataset.plan);
  put("total", form.dataset.price);
  put("net", "…");
  put("tax", "…");
  show("wait");
  dialog.showModal();
  const body = new URLSearchParams(new FormData(form));
  body.set("key", newKey()); // one dialog, one payment
  let problem = null;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { Accept: "application/json", "X-CSRF-Token": document.querySelector("meta[name=csrf-token]").content },
      body,
    });
    const told = await answer.json();
    if (answer.status === 401) return location.reload();
    if (answer.ok) {
      put("net", money(told.net));
      put("tax", money(told.tax));
      put("total", money(told.amount));
      dialog.querySelector("[data-put=rate]").textContent = told.tax_rate;
      dialog.querySelector("[data-part=test]").hidden = !told.test_mode;
      frame = document.createElement("iframe");
      frame.id = "paytriframe";
      frame.title = dialog.dataset.frameTitle;
      frame.addEventListener("load", greet);
      frame.src = told.iframe_url;
      dialog.querySelector("[data-part=frame]").replaceChildren(frame);
      show("frame");
      dialog.querySelector("[data-part=test]").hidden = !told.test_mode;
      return;
    }
    problem = { code: (told.type || "").split("/").pop().split(":").pop(), id: answer.headers.get("X-Correlation-ID") || told.correlation_id || "" };
  } catch {
    problem = { code: "offline", id: "" };
  }
  const words = dialog.querySelector("[data-part=problem]");
  const known = words.querySelector(`[data-code="${CSS.escape(problem.code)}"]`) || words.querySelector('[data-code=""]');
  for (const one of words.querySelectorAll("[data-code]")) one.hidden = one !== known;
  words.querySelector("[data-put=id]").textContent = problem.id;
  words.querySelector("[data-part-id]").hidden = !problem.id;
  show("problem");
}

if (dialog) {
  document.addEventListener(
    "submit",
    (event) => {
      if (!event.target.matches("form[data-plan]")) return;
      event.preventDefault();
      if (!dialog.open) pay(event.target);
    },
    true,
  );
  dialog.addEventListener("close", () => {
    frame?.remove();
    frame = null;
  });
}
