// PayTR leads the buyer back inside its frame; the truth is told by the whole window.
if (window.top !== window.self) {
  window.top.location.replace(document.getElementById("break-out").href);
}
