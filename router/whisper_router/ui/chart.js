// Small charts as SVG. Whoever cannot see them is told the same in words.

import { el } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [300, 80];

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

/**
 * A chart of bars. `bars` are `{label, value, bad}`: `bad` is the part of the value that went wrong.
 *
 * A value of null is a gap: nothing was measured. `until` names the end of the last bar.
 */
export function barChart(title, bars, { format = String, limit = null, until = null } = {}) {
  const most = Math.max(limit ?? 0, ...bars.map(({ value }) => value ?? 0)) || 1;
  const step = WIDTH / Math.max(1, bars.length);
  const height = (value) => (value / most) * (HEIGHT - 4);
  const measured = bars.filter(({ value }) => value !== null);
  const spoken = measured.length
    ? measured
        .slice(-12)
        .map(({ label, value, bad }) => `${label}: ${format(value)}${bad ? `, ${bad} failed` : ""}`)
        .join("; ")
    : "nothing yet";
  const image = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    class: "chart",
    "aria-label": `${title}. ${spoken}`,
  });
  image.append(shape("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5, class: "axis" }));
  bars.forEach(({ label, value, bad = 0 }, index) => {
    if (!value) return;
    const [x, width] = [index * step + step * 0.1, step * 0.8];
    const bar = shape("rect", {
      x,
      width,
      y: HEIGHT - height(value),
      height: height(value),
      class: "bar-shape",
    });
    bar.append(shape("title", {}, `${label}: ${format(value)}`));
    image.append(bar);
    if (bad)
      image.append(
        shape("rect", { x, width, y: HEIGHT - height(bad), height: height(bad), class: "bad-shape" }),
      );
  });
  if (limit !== null) {
    const y = HEIGHT - height(limit);
    image.append(shape("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: "axis" }));
  }
  const greatest = measured.length
    ? `up to ${format(Math.max(...measured.map(({ value }) => value)))}`
    : "nothing yet";
  return el(
    "figure",
    {},
    el("figcaption", {}, el("strong", { text: title }), el("span", { text: greatest })),
    image,
    until === null
      ? null
      : el(
          "div",
          { class: "chart-ends", "aria-hidden": "true" },
          el("span", { text: bars[0].label }),
          el("span", { text: until }),
        ),
  );
}
