const SVG = "http://www.w3.org/2000/svg";

function shown(value, unit) {
  if (value === null || !isFinite(value)) return "–";
  if (unit === "%") return Number((100 * value).toPrecision(3)) + "%";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  return unit ? text + " " + unit : text;
}

// Values under the pointer, or step by step with the arrow keys.
for (const svg of all("svg[data-plot]")) {
  const plot = JSON.parse(svg.dataset.plot), layer = svg.querySelector(".hover"), figure = svg.closest("figure");
  const [x0, x1] = plot.x, [p0, p1] = plot.p, [y0, y1] = plot.y, [q0, q1] = plot.q;
  const px = x => p0 + (x - x0) / ((x1 - x0) || 1) * (p1 - p0);
  const py = y => q0 + ((plot.log ? Math.log10(y) : y) - y0) / ((y1 - y0) || 1) * (q1 - q0);
  const steps = Array.from(new Set(plot.s.flatMap(series => series.x))).sort((a, b) => a - b);
  let tip = null, place = -1;
  const clear = () => { layer.replaceChildren(); if (tip) tip.remove(); tip = null; };
  const point = (x, top) => {
    clear();
    tip = made("div", "tip");
    tip.setAttribute("role", "status");
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
      tip.append(made("div", "", made("i", "c" + series.c), (plot.s.length > 1 ? series.l + "  " : "") + shown(series.y[best], plot.unit)));
    }
    if (at === null) { clear(); return; }
    const rule = document.createElementNS(SVG, "line");
    rule.setAttribute("x1", px(at)); rule.setAttribute("x2", px(at)); rule.setAttribute("y1", q1); rule.setAttribute("y2", q0);
    layer.prepend(rule);
    tip.prepend(made("div", "", plot.xl + " " + Math.round(at)));
    figure.append(tip);
    const box = figure.getBoundingClientRect(), area = svg.getBoundingClientRect();
    const left = area.left - box.left + px(at) * area.width / svg.viewBox.baseVal.width;
    tip.style.top = Math.max(0, (top === null ? area.top - box.top + 12 : top - box.top) - 14 - tip.offsetHeight) + "px";
    tip.style.left = Math.max(4, Math.min(box.width - tip.offsetWidth - 4, left - tip.offsetWidth / 2)) + "px";
  };
  svg.addEventListener("pointerleave", clear);
  svg.addEventListener("blur", clear);
  svg.addEventListener("pointermove", event => {
    const area = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / area.width;
    point(x0 + ((event.clientX - area.left) * scale - p0) / (p1 - p0) * (x1 - x0), event.clientY);
  });
  svg.addEventListener("keydown", event => {
    const by = { ArrowRight: 1, ArrowLeft: -1, Home: -steps.length, End: steps.length }[event.key];
    if (!by) return;
    event.preventDefault();
    place = Math.max(0, Math.min(steps.length - 1, place + by));
    point(steps[place], null);
  });
}
