// A column's head sorts its table: numbers with the largest first, words by the alphabet; a third press restores the order.
const SIZES = { k: 1e3, M: 1e6 };
const valueOf = cell => {
  const text = cell.dataset.value ?? cell.textContent.trim();
  const found = text.replace(/(\d),(?=\d{3})/g, "$1").match(/^[+−-]?\d*\.?\d+(?:e[+-]?\d+)?(?=$|[^\w.])|^[+-]?\d*\.?\d+(?=[kM%]?(?:\s|$))/);
  if (!found) return { text, number: NaN };
  const after = text.replace(/(\d),(?=\d{3})/g, "$1")[found[0].length];
  return { text, number: Number(found[0].replace("−", "-")) * (SIZES[after] || 1) };
};
const words = new Intl.Collator(undefined, { numeric: true });

for (const table of all("table.sortable")) {
  const body = table.tBodies[0], heads = Array.from(table.tHead.rows[0].cells);
  const fixed = Array.from(body.rows).filter(row => row.classList.contains("total")), rows = Array.from(body.rows).filter(row => !row.classList.contains("total"));
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = made("button", "sort", ...head.childNodes);
    button.type = "button";
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const keys = new Map(rows.map(row => [row, valueOf(row.cells[column])]));
      const numeric = rows.filter(row => !isNaN(keys.get(row).number)).length * 2 > rows.filter(row => !/^[–—]?$/.test(keys.get(row).text)).length;
      const order = numeric ? ["none", "descending", "ascending"] : ["none", "ascending", "descending"];
      const next = order[(order.indexOf(head.getAttribute("aria-sort")) + 1) % 3], sign = next === "ascending" ? 1 : -1;
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", other === head ? next : "none");
      const sorted = next === "none" ? rows : rows.slice().sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        if (!numeric) return sign * words.compare(x.text, y.text);
        return isNaN(x.number) || isNaN(y.number) ? isNaN(x.number) - isNaN(y.number) : sign * (x.number - y.number);
      });
      body.append(...fixed, ...sorted);
    });
  });
}

// What is wider than its place can be scrolled by keyboard, and shows that there is more.
const wide = new ResizeObserver(entries => entries.forEach(({ target }) => overflow(target)));
const overflow = place => {
  const more = place.scrollWidth > place.clientWidth + 1;
  place.classList.toggle("more", more && place.scrollLeft + place.clientWidth < place.scrollWidth - 1);
  if (more) place.tabIndex = 0; else place.removeAttribute("tabindex");
};
for (const place of all(".scroll")) {
  wide.observe(place);
  place.addEventListener("scroll", () => overflow(place), { passive: true });
}
