"use strict";
document.documentElement.classList.add("js");
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
const press = (button, on) => { button.classList.toggle("on", on); button.setAttribute("aria-pressed", on); };
const made = (name, className, ...children) => { const e = document.createElement(name); if (className) e.className = className; e.append(...children); return e; };

for (const tabs of all(".tabs")) {
  const own = selector => all(selector, tabs).filter(e => e.closest(".tabs") === tabs);
  for (const button of own(".tab-row > button")) button.addEventListener("click", () => {
    for (const e of own(".tab-row > button")) press(e, e === button);
    for (const e of own(".pane")) e.classList.toggle("on", e.dataset.pane === button.dataset.pane);
    const item = tabs.closest(".item");
    if (item) for (const box of all(".box[data-pane]", item)) box.classList.toggle("off", box.dataset.pane !== button.dataset.pane);
  });
}

for (const button of all(".copy")) button.addEventListener("click", () => {
  const code = button.parentElement.querySelector("code");
  const copied = navigator.clipboard ? navigator.clipboard.writeText(code.textContent) : Promise.reject(new Error("no clipboard"));
  copied.then(() => { button.textContent = "copied"; }, () => { getSelection().selectAllChildren(code); button.textContent = "selected"; });
  setTimeout(() => { button.textContent = "copy"; }, 1500);
});

// The navigation follows the reader.
const links = new Map(all("nav a").map(a => [a.getAttribute("href").slice(1), a]));
const watcher = new IntersectionObserver(entries => {
  for (const e of entries) if (e.isIntersecting) {
    links.forEach(a => { a.classList.remove("on"); a.removeAttribute("aria-current"); });
    const a = links.get(e.target.id);
    if (!a) continue;
    a.classList.add("on"); a.setAttribute("aria-current", "true");
    const row = a.parentElement;
    row.scrollLeft = a.offsetLeft - (row.clientWidth - a.offsetWidth) / 2;
  }
}, { rootMargin: "-20% 0px -70% 0px" });
for (const section of all("section[id]")) watcher.observe(section);
