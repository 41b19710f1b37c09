// Filter boxes: every word must occur; within a facet any chosen value fits, all facets must.
for (const root of all(".searchable")) {
  const input = root.querySelector(".filter-bar input"), count = root.querySelector(".count"), nothing = root.querySelector(".nothing");
  const chips = all(".filter-bar .chip", root), lists = all(".filter-bar select", root);
  const items = all(".item", root).filter(e => e.dataset.facets).map(e => ({ e, text: e.dataset.search, of: JSON.parse(e.dataset.facets) }));
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean), chosen = new Map();
    const choose = (facet, value) => chosen.set(facet, [...(chosen.get(facet) || []), value]);
    for (const chip of chips) if (chip.classList.contains("on")) choose(chip.dataset.facet, chip.dataset.value);
    for (const list of lists) if (list.value) choose(list.dataset.facet, list.value);
    let n = 0;
    for (const { e, text, of } of items) {
      const fits = words.every(w => text.includes(w)) && [...chosen].every(([facet, values]) => values.some(v => (of[facet] || []).includes(v)));
      e.classList.toggle("off", !fits);
      n += fits;
    }
    count.textContent = n === items.length ? n + " shown" : n + " of " + items.length + " shown";
    nothing.classList.toggle("off", n > 0);
  };
  input.addEventListener("input", apply);
  for (const list of lists) list.addEventListener("change", apply);
  for (const chip of chips) chip.addEventListener("click", () => { press(chip, !chip.classList.contains("on")); apply(); });
}
