// The pictures of a heavy page wait in one list, each once, and are put in when the reader comes near.
const store = document.querySelector("script.kept"), kept = store ? JSON.parse(store.textContent) : [];
const fill = image => { if (image.dataset.picture) { image.src = kept[image.dataset.picture]; delete image.dataset.picture; } };
const near = new IntersectionObserver(entries => {
  for (const e of entries) if (e.isIntersecting) { fill(e.target); near.unobserve(e.target); }
}, { rootMargin: "900px" });
for (const image of all("img[data-picture]")) near.observe(image);
addEventListener("beforeprint", () => all("img[data-picture]").forEach(fill));

// An answer and its box point at each other.
for (const row of all(".answer-row[data-key]")) {
  const boxes = all(".box[data-key]", row.closest(".item")).filter(box => box.dataset.key === row.dataset.key);
  row.addEventListener("pointerenter", () => boxes.forEach(box => box.classList.add("hot")));
  row.addEventListener("pointerleave", () => boxes.forEach(box => box.classList.remove("hot")));
}

for (const button of all(".layers button")) button.addEventListener("click", () => {
  press(button, !button.classList.contains("on"));
  for (const layer of all("." + button.dataset.layer, button.closest("figure"))) layer.classList.toggle("off");
});

// Labels keep off each other and off other boxes; those that find no place are listed under the picture.
const common = (a, b) => Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) * Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));
const placeLabels = marks => {
  const W = marks.clientWidth, H = marks.clientHeight;
  if (!W) return;
  const things = all(".box:not(.off), .point", marks).map(e => ({ e, x: e.offsetLeft, y: e.offsetTop, w: e.offsetWidth, h: e.offsetHeight }));
  const placed = [], tucked = [];
  for (const t of things) {
    const label = t.e.querySelector(".label");
    if (!label) continue;
    label.classList.remove("tucked");
    label.style.maxWidth = Math.min(190, W) + "px";
    const w = label.offsetWidth, h = label.offsetHeight, right = t.x + t.w - w;
    const tries = [[t.x, t.y - h], [right, t.y - h], [t.x, t.y + t.h], [right, t.y + t.h], [t.x + t.w, t.y], [t.x - w, t.y], [t.x, t.y], [t.x, t.y + t.h - h]];
    let best = null;
    tries.forEach(([x, y], rank) => {
      const at = { x: Math.max(0, Math.min(W - w, x)), y, w, h };
      const out = Math.max(0, -y) + Math.max(0, y + h - H);
      const words = placed.reduce((sum, other) => sum + common(at, other), 0);
      const cost = 20 * words + 20 * out * w + things.reduce((sum, other) => sum + (other === t ? 0.7 : 1) * common(at, other), 0) + rank;
      if (!best || cost < best.cost) best = { at, cost, bad: words > 0.02 * w * h || out > 1 };
    });
    if (best.bad) { label.classList.add("tucked"); tucked.push(t.e); continue; }
    placed.push(best.at);
    const inset = t.e.clientLeft;
    Object.assign(label.style, { left: best.at.x - t.x - inset + "px", top: best.at.y - t.y - inset + "px", right: "auto", bottom: "auto" });
  }
  const figure = marks.closest("figure"), old = figure.querySelector(".names");
  if (old) old.remove();
  if (!tucked.length) return;
  const keys = tucked.map(e => made("span", "", made("i", "key " + (Array.from(e.classList).find(c => /^c\d$/.test(c)) || "")), e.querySelector(".label").textContent));
  figure.querySelector(".stage").after(made("div", "legend names", ...keys));
};
const shaped = new ResizeObserver(entries => entries.forEach(({ target }) => placeLabels(target)));
for (const marks of all(".marks")) shaped.observe(marks);

// A picture enlarges: click, Enter or Space. In it: + and - or the wheel, arrows for its neighbours, Escape to leave.
const dialog = made("dialog", "viewer"), view = made("div", "view"), told = made("span", "count");
const tool = (label, text, action) => { const b = made("button", "", text); b.type = "button"; b.setAttribute("aria-label", label); b.addEventListener("click", action); return b; };
let figures = [], current = 0, zoom = 1;
const fit = () => {
  const copy = view.querySelector("figure"), stage = copy.querySelector(".stage"), ratio = parseFloat(getComputedStyle(stage).getPropertyValue("--ratio")) || 1;
  const base = Math.min(view.clientWidth, view.clientHeight * ratio);
  const cx = (view.scrollLeft + view.clientWidth / 2) / Math.max(1, view.scrollWidth), cy = (view.scrollTop + view.clientHeight / 2) / Math.max(1, view.scrollHeight);
  copy.style.width = Math.floor(base * zoom) + "px";
  view.scrollLeft = cx * view.scrollWidth - view.clientWidth / 2;
  view.scrollTop = cy * view.scrollHeight - view.clientHeight / 2;
};
const resize = factor => { zoom = Math.max(1, Math.min(12, zoom * factor)); fit(); };
const show = index => {
  current = (index + figures.length) % figures.length;
  const figure = figures[current], copy = made("figure", "picture", figure.querySelector(".stage").cloneNode(true));
  for (const image of all("img", copy)) fill(image);
  const stage = copy.querySelector(".stage"), marks = copy.querySelector(".marks"), caption = figure.querySelector("figcaption");
  for (const name of ["tabindex", "role", "aria-label"]) stage.removeAttribute(name);
  view.replaceChildren(copy);
  zoom = 1;
  fit();
  if (marks) { shaped.observe(marks); placeLabels(marks); }
  told.textContent = current + 1 + " of " + figures.length + (caption ? "  " + caption.textContent : "");
};
const enlarge = figure => {
  figures = all("figure.picture").filter(f => !dialog.contains(f) && f.querySelector(".stage") && f.getClientRects().length);
  dialog.showModal();
  show(figures.indexOf(figure));
};
view.tabIndex = 0;
dialog.setAttribute("aria-label", "enlarged picture");
dialog.append(view, made("div", "tools", tool("previous picture", "‹", () => show(current - 1)), tool("smaller", "−", () => resize(1 / 1.5)), tool("larger", "+", () => resize(1.5)), tool("next picture", "›", () => show(current + 1)), told, tool("close", "close", () => dialog.close())));
document.body.append(dialog);
addEventListener("resize", () => { if (dialog.open) fit(); });
dialog.addEventListener("click", event => { if (event.target === dialog || event.target === view) dialog.close(); });
dialog.addEventListener("keydown", event => {
  const act = { "+": () => resize(1.5), "=": () => resize(1.5), "-": () => resize(1 / 1.5), "0": () => resize(0) }[event.key];
  const turn = zoom === 1 ? { ArrowLeft: -1, ArrowRight: 1 }[event.key] : 0;
  if (act) act(); else if (turn) show(current + turn); else return;
  event.preventDefault();
});
view.addEventListener("wheel", event => { event.preventDefault(); resize(event.deltaY < 0 ? 1.2 : 1 / 1.2); }, { passive: false });
let grip = null;
view.addEventListener("pointerdown", event => { if (event.target.closest(".stage")) grip = { x: event.clientX, y: event.clientY, left: view.scrollLeft, top: view.scrollTop, far: 0 }; });
view.addEventListener("pointermove", event => {
  if (!grip || !event.buttons || event.pointerType === "touch") return;
  grip.far = Math.max(grip.far, Math.hypot(event.clientX - grip.x, event.clientY - grip.y));
  view.scrollTo(grip.left - event.clientX + grip.x, grip.top - event.clientY + grip.y);
});
view.addEventListener("click", event => { if (event.target.closest(".stage") && (!grip || grip.far < 5)) resize(zoom > 1 ? 0 : 2); grip = null; });

for (const stage of all(".stage")) {
  const figure = stage.closest("figure.picture");
  if (!figure) continue;
  stage.classList.add("zoom");
  stage.tabIndex = 0;
  stage.setAttribute("role", "button");
  stage.setAttribute("aria-label", "enlarge picture");
  stage.addEventListener("click", () => enlarge(figure));
  stage.addEventListener("keydown", event => { if (event.target === stage && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); enlarge(figure); } });
}
