// uPlot with the console's colors; a chart that has no data says so.

const GRID = { stroke: "#243040", width: 1 };
const FONT = '12px system-ui, "DejaVu Sans", sans-serif';
export const COLORS = ["#6fd0ff", "#f2b84b", "#57c99a", "#c78bff"];

async function library() {
  try {
    return (await import("../vendor/uplot/uPlot.esm.js")).default;
  } catch {
    return null;
  }
}

function axis(values, extra = {}) {
  return { stroke: "#9aa8b7", font: FONT, grid: GRID, ticks: { ...GRID, size: 4 }, values, ...extra };
}

export class Chart {
  // series: [{label, color, digits, unit}], x: "utc" (seconds) or "ms" (milliseconds from an instant)
  static async in(id, { series, x = "utc", minSpan = 0, legend = true, emptyText }) {
    const place = document.getElementById(id);
    const chart = new Chart(place, emptyText);
    const UPlot = await library();
    if (!UPlot) {
      chart.say("The chart library is not installed here; `make install` fetches it.");
      return chart;
    }
    // The plot has a fixed height by style sheet; the legend below it may take more than one line.
    const height = () => Number(getComputedStyle(place).getPropertyValue("--plot-height")) || 230;
    chart.say(emptyText);
    const options = {
      width: place.clientWidth,
      height: height(),
      tzDate: (ts) => UPlot.tzDate(new Date(ts * 1e3), "Etc/UTC"),
      // Room for half a time label at the right end.
      padding: [10, 34, 0, 0],
      legend: { show: legend },
      cursor: { y: false, drag: { x: x === "ms", y: false } },
      scales: {
        x: { time: x === "utc" },
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
        axis(x === "utc" ? (_self, splits) => splits.map((s) => new Date(s * 1000).toISOString().slice(11, 19)) : (_self, splits) => splits.map((s) => `${s} ms`.replace("-", "−")), { space: 90, size: 34 }),
        axis((_self, splits) => splits.map((s) => s.toLocaleString("en-US", { maximumFractionDigits: 3 }).replace("-", "−")), { size: 62 }),
      ],
      series: [
        { label: x === "utc" ? "UTC" : "From the decision", value: (_self, v) => (v === null ? "–" : x === "utc" ? new Date(v * 1000).toISOString().slice(11, 19) : `${v.toFixed(1)} ms`) },
        ...series.map((one, index) => ({
          label: one.label,
          stroke: one.color || COLORS[index],
          width: one.width || 2,
          dash: one.dash,
          points: { show: false },
          value: (_self, v) => (v === null || v === undefined ? "–" : `${v.toFixed(one.digits ?? 1)} ${one.unit}`),
        })),
      ],
    };
    chart.plot = new UPlot(options, [[], ...series.map(() => [])], place);
    new ResizeObserver(() => {
      const size = { width: place.clientWidth, height: height() };
      if (size.width !== chart.plot.width || size.height !== chart.plot.height) chart.plot.setSize(size);
    }).observe(place);
    chart.draw();
    return chart;
  }

  constructor(place, emptyText) {
    this.place = place;
    this.emptyText = emptyText;
    this.plot = null;
    this.data = null;
  }

  set(data, window = null) {
    this.data = data;
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
