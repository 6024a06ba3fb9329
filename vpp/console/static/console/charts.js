// uPlot with the console's colors; a chart that has no data says so.

const FONT = '12px system-ui, "DejaVu Sans", sans-serif';
const grid = { stroke: () => color("--line"), width: 1 };

// Read anew whenever something is drawn: the page may change between dark and light.
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

async function library() {
  try {
    return (await import("../vendor/uplot/uPlot.esm.js")).default;
  } catch {
    return null;
  }
}

function axis(values, extra = {}) {
  return { stroke: () => color("--muted"), font: FONT, grid, ticks: { ...grid, size: 4 }, values, ...extra };
}

function figure(value) {
  return value.toLocaleString("en-US", { maximumFractionDigits: 3 }).replace("-", "−");
}

// Values between two gaps would be seen nowhere: a line needs two of them.
function alone(plot, index, _show, gaps) {
  if (!gaps || !gaps.length) return null;
  // What is undefined is drawn over: it parts nothing.
  const told = [...plot.data[index].entries()].filter(([, value]) => value !== undefined);
  const known = (entry) => entry !== undefined && entry[1] !== null;
  const found = told.filter((entry, at) => known(entry) && !known(told[at - 1]) && !known(told[at + 1]));
  return found.length ? found.map(([at]) => at) : null;
}

export class Chart {
  // series: [{label, color, digits, unit}], colors by the style sheet's names.
  // x: "ms" (milliseconds from an instant), or instants in seconds with a zone and a function that writes them.
  static async in(id, { series, x = "time", zone = "Etc/UTC", time = utcClock, minSpan = 0, legend = true, emptyText, bands = [] }) {
    const place = document.getElementById(id);
    const chart = new Chart(place, emptyText);
    chart.time = time;
    const UPlot = await library();
    if (!UPlot) {
      chart.say("The chart library is not installed here; `make install` fetches it.");
      return chart;
    }
    const isTime = x === "time";
    // The plot has a fixed height by style sheet; the legend below it may take more than one line.
    const height = () => Number(getComputedStyle(place).getPropertyValue("--plot-height")) || 230;
    const options = {
      width: place.clientWidth,
      height: height(),
      tzDate: (ts) => UPlot.tzDate(new Date(ts * 1e3), zone),
      // Room for half a time label at the right end.
      padding: [10, 34, 0, 0],
      legend: { show: legend },
      cursor: { y: false, drag: { x: !isTime, y: false } },
      bands: bands.map((pair) => ({ series: pair, fill: () => color("--band") })),
      scales: {
        x: { time: isTime },
        y: {
          // Noise of a few millihertz must not fill the whole height.
          range: (_self, low, high) => {
            if (low === null) return [0, 1];
            const lack = Math.max(0, minSpan - (high - low)) / 2;
            const pad = Math.max((high - low) * 0.08, minSpan * 0.04, 1e-6);
            return [low - lack - pad, high + lack + pad];
          },
        },
      },
      axes: [
        axis((_self, splits) => splits.map((at) => (isTime ? chart.time(at) : `${at} ms`.replace("-", "−"))), { space: 90, size: 34 }),
        axis((_self, splits) => splits.map(figure), { size: 62 }),
      ],
      series: [
        { label: isTime ? "Time" : "From the decision", value: (_self, v) => (v === null ? "–" : isTime ? chart.time(v, true) : `${v.toFixed(1)} ms`) },
        ...series.map((one) => ({
          label: one.label,
          stroke: () => color(one.color || "--accent"),
          width: one.width ?? 2,
          dash: one.dash,
          points: { show: false, ...(one.isolated ? { size: 5, filter: alone } : {}) },
          value: (_self, v) => (v === null || v === undefined ? "–" : `${v.toFixed(one.digits ?? 1).replace("-", "−")} ${one.unit}`),
        })),
      ],
    };
    chart.plot = new UPlot(options, [[], ...series.map(() => [])], place);
    // Also where an empty plot stands behind it.
    chart.say(emptyText);
    new ResizeObserver(() => {
      const size = { width: place.clientWidth, height: height() };
      if (size.width !== chart.plot.width || size.height !== chart.plot.height) chart.plot.setSize(size);
    }).observe(place);
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => chart.plot.redraw(false, true));
    chart.draw();
    return chart;
  }

  constructor(place, emptyText) {
    this.place = place;
    this.emptyText = emptyText;
    this.plot = null;
    this.data = null;
  }

  set(data, window = null, emptyText = this.emptyText) {
    this.data = data;
    this.emptyText = emptyText;
    this.draw();
    if (this.plot && window) this.plot.setScale("x", window);
  }

  draw() {
    if (!this.plot || !this.data) return;
    const isEmpty = this.data[0].length < 2;
    this.say(isEmpty ? this.emptyText : "");
    if (!isEmpty) this.plot.setData(this.data);
  }

  say(text) {
    let note = this.place.querySelector(".empty");
    if (!note) {
      note = document.createElement("p");
      note.className = "empty";
      this.place.append(note);
    }
    if (note.textContent !== text) note.textContent = text;
    note.hidden = !text;
    if (this.plot) this.plot.root.style.visibility = text ? "hidden" : "visible";
  }
}

function utcClock(seconds) {
  return new Date(seconds * 1000).toISOString().slice(11, 19);
}
