// The truth about a payment is what billing knows; asked until it is known, then the page is told anew.
const waiting = document.querySelector("[data-payment]");
const began = Date.now();
async function look() {
  try {
    const answer = await fetch(`/api/v1/payments/${waiting.dataset.payment}`, { headers: { Accept: "application/json" } });
    if (answer.ok && (await answer.json()).status !== "pending") return location.reload();
    if (answer.status === 401) return location.reload();
  } catch {
    // Offline for a moment: ask again.
  }
  const passed = Date.now() - began;
  if (passed > 30000) document.getElementById("slow").hidden = false;
  setTimeout(look, passed < 30000 ? 1500 : 10000);
}
look();
