// A site's last hour, day or 30 days: frequency, powers and energy content, with a gap where nothing was measured.

import { Chart } from "./charts.js";
import { put } from "./format.js";

const SPANS = {
  hour: { s: 3600, refreshS: 15, title: "by the second" },
  day: { s: 86_400, refreshS: 60, title: "means of a minute" },
  month: { s: 30 * 86_400, refreshS: 300, title: "means of a quarter of an hour" },
};
// Seconds without a value that are still one line: a site's second may begin early or late. The page calls it silent after that.
const JOINED_S = 10;
const POWERS = [
  ["pcc", "Grid", "--series-1"],
  ["battery", "Battery", "--series-2"],
  ["load", "Load", "--series-3"],
  ["pv", "PV", "--series-4"],
  ["genset", "Genset", "--series-5"],
];
const place = document.getElementById("history");
const { site, zone } = document.getElementById("site").dataset;
const assets = new Set(place.dataset.assets.split(","));
const capacityKwh = Number(place.dataset.capacity);
const reserveKwh = Number(place.dataset.reserve);
const powers = POWERS.filter(([asset]) => assets.has(asset));
const buttons = [...place.querySelectorAll("[data-span]")];
let span = "hour";
let asked = 0;

const clocks = {
  hour: clock({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
  month: clock({ day: "numeric", month: "short" }),
  full: clock({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }),
};

function clock(parts) {
  return new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: zone });
}

function time(seconds, isWhole = false) {
  const form = isWhole ? clocks.full : span === "month" ? clocks.month : clocks.hour;
  return form.format(new Date(seconds * 1000));
}

const emptyText = "Loading.";
const charts = {
  frequency: Chart.in("history-frequency", {
    series: [
      { label: "Frequency", unit: "Hz", digits: 3, color: "--series-1", isolated: true },
      { label: "least", unit: "Hz", digits: 3, color: "--band", width: 0 },
      { label: "greatest", unit: "Hz", digits: 3, color: "--band", width: 0 },
    ],
    bands: [[3, 2]], minSpan: 0.1, zone, time, emptyText,
  }),
  power: Chart.in("history-power", {
    series: powers.map(([, label, color]) => ({ label, unit: "kW", color, width: 1.5, isolated: true })),
    minSpan: 1, zone, time, emptyText,
  }),
  energy: capacityKwh > 0 ? Chart.in("history-energy", {
    series: [
      { label: "Energy content", unit: "kWh", color: "--series-2", isolated: true },
      { label: "kept for the load", unit: "kWh", color: "--muted", width: 1, dash: [6, 6] },
    ],
    minSpan: capacityKwh / 10, zone, time, emptyText,
  }) : null,
};

async function series(metrics, figures, endsAt) {
  const query = new URLSearchParams({ from: new Date(endsAt - SPANS[span].s * 1000).toISOString(), to: new Date(endsAt).toISOString() });
  for (const metric of metrics) query.append("metric", metric);
  for (const name of figures) query.append("figure", name);
  const answer = await fetch(`/api/v1/sites/${encodeURIComponent(site)}/history/?${query}`, { headers: { Accept: "application/json" } });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.detail || `answer ${answer.status}`);
  return found;
}

// A short hole is no gap: undefined is drawn over, null is not.
function line(values, stepS) {
  const joined = Math.max(1, Math.round(JOINED_S / stepS));
  const out = values.slice();
  let last = -1;
  values.forEach((value, at) => {
    if (value === null) return;
    if (last >= 0 && at - last <= joined) out.fill(undefined, last + 1, at);
    last = at;
  });
  return out;
}

function instants(found) {
  const first = Date.parse(found.starts_at) / 1000;
  return Array.from({ length: found.steps }, (_, step) => first + step * found.step_s);
}

async function load() {
  const mine = (asked += 1);
  const endsAt = Date.now();
  const battery = capacityKwh > 0 ? ["battery/soc_ratio"] : [];
  let frequency;
  let rest;
  try {
    [frequency, rest] = await Promise.all([
      series(["frequency_hz"], ["mean", "low", "high"], endsAt),
      series([...powers.map(([asset]) => `${asset}/power_kw`), ...battery], ["mean"], endsAt),
    ]);
  } catch (error) {
    if (mine === asked) put("history-note", `history cannot be shown: ${error.message}`);
    return;
  }
  // Another span was chosen meanwhile.
  if (mine !== asked) return;
  put("history-note", `${SPANS[span].title}, times in ${zone}`);
  const lines = new Map(rest.series.map((one) => [one.metric, line(one.mean, rest.step_s)]));
  const [hz] = frequency.series;
  draw(charts.frequency, instants(frequency), [hz.mean, hz.low, hz.high].map((values) => line(values, frequency.step_s)));
  draw(charts.power, instants(rest), powers.map(([asset]) => lines.get(`${asset}/power_kw`)));
  if (charts.energy) {
    const kwh = lines.get("battery/soc_ratio").map((ratio) => (typeof ratio === "number" ? ratio * capacityKwh : ratio));
    draw(charts.energy, instants(rest), [kwh, reserveKwh > 0 ? kwh.map(() => reserveKwh) : kwh.map(() => null)], 1);
  }
}

async function draw(waiting, at, columns, measured = columns.length) {
  const chart = await waiting;
  const isEmpty = columns.slice(0, measured).every((column) => column.every((value) => typeof value !== "number"));
  chart.set(isEmpty ? [[]] : [at, ...columns], null, "Nothing was measured in this time.");
}

function choose(name) {
  span = name;
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.span === name));
  // What is drawn belongs to the span before.
  put("history-note", "loading");
  for (const waiting of Object.values(charts)) waiting?.then((chart) => chart.set([[]], null, "Loading."));
  load();
}

for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.span));
let loadedAt = Date.now();
setInterval(() => {
  if (document.hidden || Date.now() - loadedAt < SPANS[span].refreshS * 1000) return;
  loadedAt = Date.now();
  load();
}, 1000);
choose("hour");
