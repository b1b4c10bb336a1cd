// Lines over time, drawn as SVG. Text only, no markup from data.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 82, RIGHT = 8, TOP = 10, BOTTOM = 22;

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The smallest of 1, 2, 5 times a power of ten that is not below a value: where an axis ends.
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((end) => end >= value);
}

// A number with a prefix: 12 300 000 is 12.3 M.
export function short(value, unit = "") {
  const steps = ["", "k", "M", "G", "T"];
  let at = 0;
  while (Math.abs(value) >= 999.5 && at < steps.length - 1) { value /= 1000; at += 1; }
  const digits = value >= 100 || (at === 0 && Number.isInteger(value)) ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${steps[at]}${unit}`.trim();
}

function ago(seconds) {
  if (seconds < 1) return "now";
  return seconds < 120 ? `${Math.round(seconds)} s ago` : `${Math.round(seconds / 60)} min ago`;
}

// Draw lines into an svg element. `lines`: [{name, points: [[seconds, value], ...]}], `span`: seconds shown up to `end`.
export function draw(svg, lines, { span, end, unit }) {
  const { width, height } = svg.getBoundingClientRect();
  if (width < 100) return;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const begin = end - span;
  const seen = lines.map(({ name, points }) => ({ name, points: points.filter(([at]) => at >= begin) }));
  const most = ceiling(Math.max(1, ...seen.flatMap(({ points }) => points.map(([, value]) => value))));
  const x = (at) => LEFT + ((at - begin) / span) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value / most) * (height - TOP - BOTTOM);
  const parts = [];
  for (const share of height > 150 ? [0, 0.25, 0.5, 0.75, 1] : [0, 1]) {
    const at = y(share * most);
    parts.push(element("line", { x1: LEFT, x2: width - RIGHT, y1: at, y2: at, class: "grid" }));
    parts.push(element("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, short(share * most, unit)));
  }
  for (const share of width > 600 ? [0, 0.2, 0.4, 0.6, 0.8, 1] : [0, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    const at = begin + share * span;
    parts.push(element("text", { x: x(at), y: height - 5, "text-anchor": anchor }, ago(end - at)));
  }
  for (const { name, points } of seen) {
    const path = points.map(([at, value], k) => `${k ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    if (path) parts.push(element("path", { d: path, class: name }));
  }
  svg.replaceChildren(...parts);
}
