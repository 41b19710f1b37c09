"use strict";
document.documentElement.classList.add("js");
const SVG = "http://www.w3.org/2000/svg";
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

function shown(value, unit) {
  if (value === null || !isFinite(value)) return "–";
  if (unit === "%") return Number((100 * value).toPrecision(3)) + "%";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  return unit ? text + " " + unit : text;
}

// Values under the pointer.
for (const svg of all("svg[data-plot]")) {
  const plot = JSON.parse(svg.dataset.plot), layer = svg.querySelector(".hover"), figure = svg.closest("figure");
  const [x0, x1] = plot.x, [p0, p1] = plot.p, [y0, y1] = plot.y, [q0, q1] = plot.q;
  const px = x => p0 + (x - x0) / ((x1 - x0) || 1) * (p1 - p0);
  const py = y => q0 + ((plot.log ? Math.log10(y) : y) - y0) / ((y1 - y0) || 1) * (q1 - q0);
  let tip = null;
  const clear = () => { layer.replaceChildren(); if (tip) tip.remove(); tip = null; };
  svg.addEventListener("pointerleave", clear);
  svg.addEventListener("pointermove", event => {
    const area = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / area.width;
    const x = x0 + ((event.clientX - area.left) * scale - p0) / (p1 - p0) * (x1 - x0);
    clear();
    tip = document.createElement("div");
    tip.className = "tip";
    let at = null;
    for (const series of plot.s) {
      let best = -1;
      series.x.forEach((v, i) => { if (series.y[i] !== null && (best < 0 || Math.abs(v - x) < Math.abs(series.x[best] - x))) best = i; });
      if (best < 0) continue;
      at = at === null || Math.abs(series.x[best] - x) < Math.abs(at - x) ? series.x[best] : at;
      const dot = document.createElementNS(SVG, "circle");
      dot.setAttribute("cx", px(series.x[best])); dot.setAttribute("cy", Math.max(q1, Math.min(q0, py(series.y[best]))));
      dot.setAttribute("r", 4); dot.setAttribute("class", "c" + series.c);
      layer.append(dot);
      const line = document.createElement("div"), key = document.createElement("i");
      key.className = "c" + series.c;
      line.append(key, (plot.s.length > 1 ? series.l + "  " : "") + shown(series.y[best], plot.unit));
      tip.append(line);
    }
    if (at === null) { clear(); return; }
    const rule = document.createElementNS(SVG, "line");
    rule.setAttribute("x1", px(at)); rule.setAttribute("x2", px(at)); rule.setAttribute("y1", q1); rule.setAttribute("y2", q0);
    layer.prepend(rule);
    const head = document.createElement("div");
    head.textContent = plot.xl + " " + Math.round(at);
    tip.prepend(head);
    figure.append(tip);
    const box = figure.getBoundingClientRect(), left = event.clientX - box.left;
    tip.style.top = event.clientY - box.top - 14 - tip.offsetHeight + "px";
    tip.style.left = Math.max(4, Math.min(box.width - tip.offsetWidth - 4, left - tip.offsetWidth / 2)) + "px";
  });
}

// Filter boxes: every word must occur; chips restrict to a group.
for (const root of all(".searchable")) {
  const input = root.querySelector("input"), count = root.querySelector(".count"), chips = all(".chips .chip", root), items = all(".item", root);
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean), groups = chips.filter(c => c.classList.contains("on")).map(c => c.dataset.group);
    let n = 0;
    for (const item of items) {
      const fits = words.every(w => item.dataset.search.includes(w)) && (!groups.length || groups.includes(item.dataset.group));
      item.classList.toggle("off", !fits);
      n += fits;
    }
    count.textContent = n === items.length ? n + " shown" : n + " of " + items.length + " shown";
  };
  input.addEventListener("input", apply);
  for (const chip of chips) chip.addEventListener("click", () => { chip.classList.toggle("on"); apply(); });
}

for (const tabs of all(".tabs")) {
  const own = selector => all(selector, tabs).filter(e => e.closest(".tabs") === tabs);
  for (const button of own(".tab-row > button")) button.addEventListener("click", () => {
    for (const e of own(".tab-row > button").concat(own(".pane"))) e.classList.toggle("on", e.dataset.pane === button.dataset.pane);
    const item = tabs.closest(".item");
    if (item) for (const box of all(".box[data-pane]", item)) box.classList.toggle("off", box.dataset.pane !== button.dataset.pane);
  });
}

// An answer and its box point at each other.
for (const row of all(".answer-row[data-key]")) {
  const boxes = all(".box[data-key]", row.closest(".item")).filter(box => box.dataset.key === row.dataset.key);
  row.addEventListener("pointerenter", () => boxes.forEach(box => box.classList.add("hot")));
  row.addEventListener("pointerleave", () => boxes.forEach(box => box.classList.remove("hot")));
}

for (const button of all(".layers button")) button.addEventListener("click", () => {
  button.classList.toggle("on");
  for (const layer of all("." + button.dataset.layer, button.closest("figure"))) layer.classList.toggle("off");
});

for (const button of all(".copy")) button.addEventListener("click", () => {
  const text = button.parentElement.querySelector("code").textContent;
  (navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject()).then(() => { button.textContent = "copied"; }, () => {
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
  });
  setTimeout(() => { button.textContent = "copy"; }, 1500);
});

// A click enlarges a picture.
const dialog = document.createElement("dialog");
document.body.append(dialog);
dialog.addEventListener("click", () => dialog.close());
for (const stage of all(".stage")) {
  stage.classList.add("zoom");
  stage.addEventListener("click", () => {
    if (stage.closest("dialog")) return;
    const copy = stage.cloneNode(true);
    copy.style.width = "min(94vw, calc(88vh * " + stage.offsetWidth / stage.offsetHeight + "))";
    dialog.replaceChildren(copy);
    dialog.style.width = "fit-content";
    dialog.showModal();
  });
}

// The navigation follows the reader.
const links = new Map(all("nav a").map(a => [a.getAttribute("href").slice(1), a]));
const watcher = new IntersectionObserver(entries => {
  for (const e of entries) if (e.isIntersecting) { links.forEach(a => a.classList.remove("on")); const a = links.get(e.target.id); if (a) a.classList.add("on"); }
}, { rootMargin: "-20% 0px -70% 0px" });
for (const section of all("section[id]")) watcher.observe(section);
