// What is wrong with a page, in sentences. Contrast by WCAG 2.2, success criterion 1.4.3.
() => {
  const wrong = [];
  const told = (element) => `<${element.nodeName.toLowerCase()} class="${element.className?.baseVal ?? element.className}"> ${(element.textContent || "").trim().slice(0, 40)}`;
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.closest(".unseen, .skip, svg");

  if (document.documentElement.scrollWidth > innerWidth) {
    const out = [...document.querySelectorAll("body *")].find((one) => seen(one) && one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll"));
    wrong.push(`sticks out to the side: ${document.documentElement.scrollWidth} > ${innerWidth}, ${out ? told(out) : ""}`);
  }
  const headings = [...document.querySelectorAll("h1")].filter((one) => one.checkVisibility());
  if (headings.length !== 1) wrong.push(`${headings.length} first headings`);
  if (document.querySelectorAll("main").length !== 1) wrong.push("not one main part");

  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) wrong.push(`id twice: ${id}`);
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!field.hidden && !field.labels?.length && !field.getAttribute("aria-label")) wrong.push(`no label: ${field.name}`);
    for (const id of (field.getAttribute("aria-describedby") || "").split(" ").filter(Boolean)) if (!document.getElementById(id)) wrong.push(`described by nothing: ${id}`);
  }
  for (const one of document.querySelectorAll("button, a, summary, dialog, iframe, nav")) {
    const labelled = one.getAttribute("aria-labelledby");
    const name = one.getAttribute("aria-label") || one.title || (labelled && document.getElementById(labelled)?.textContent) || (one.nodeName === "NAV" || one.nodeName === "IFRAME" ? "" : one.textContent);
    if (!name || !name.trim()) wrong.push(`no name: ${told(one)}`);
  }
  if (innerWidth < 500) {
    for (const one of document.querySelectorAll(".button, input:not([type=hidden], [type=radio]), select, .nav a")) {
      const box = one.getBoundingClientRect();
      if (seen(one) && box.height > 0 && box.height < 43.5) wrong.push(`too small for a finger (${box.height}): ${told(one)}`);
    }
  }

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((part, i) => part * top[3] + below[i] * (1 - top[3]));
  const light = (rgb) => rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)).reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      if (colour[3]) layers.unshift(colour);
      if (colour[3] === 1) break;
    }
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const done = new Set();
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || done.has(element) || !seen(element) || element.closest(":disabled")) continue;
    done.add(element);
    const below = ground(element);
    const [a, b] = [light(over(rgba(getComputedStyle(element).color), below)), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) wrong.push(`hard to read (${ratio.toFixed(2)}): ${told(element)}`);
  }
  return wrong;
};
