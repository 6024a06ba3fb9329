// The dispatcher's page: figures, charts and lists from the fleet's websocket.

import { Chart } from "./charts.js";
import { STALE_AFTER_S, age, countdown, mark, number, period, put, quantity, utcTime } from "./format.js";
import { Link } from "./socket.js";

const HISTORY_S = 600;
const NOMINAL_HZ = 50;
const columns = { t: [], frequency: [], required: [], delivered: [] };
let frame = null;
let frameAtMs = 0;
let clockOffsetMs = 0;

const frequencyChart = Chart.in("frequency-chart", {
  series: [{ label: "Frequency", unit: "Hz", digits: 3 }],
  minSpan: 0.1,
  emptyText: "No site has reported a frequency yet.",
});
const powerChart = Chart.in("power-chart", {
  series: [
    { label: "Required", unit: "kW", color: "--series-2", width: 3 },
    { label: "Delivered", unit: "kW", color: "--series-1" },
  ],
  minSpan: 10,
  emptyText: "No site has reported its service yet.",
});

function receive(message) {
  if (message.type === "history") {
    columns.t = message.t_s;
    columns.frequency = message.frequency_hz;
    columns.required = message.required_kw;
    columns.delivered = message.service_kw;
    redraw();
    return;
  }
  if (message.type !== "fleet") return;
  frame = message;
  frameAtMs = Date.now();
  clockOffsetMs = message.at_ms - frameAtMs;
  link.warn(message.is_linked ? "" : "The broker cannot be reached: live figures stand still. Sites go on by themselves.");
  if (message.data_at_ms !== null) extend(message);
  showNow(message);
  showModes(message);
  showIslanded(message.islanded, message.islanded_total);
  if (message.figures.enrolled !== undefined) showDispatch(message.figures);
  tick();
}

function extend(message) {
  // Two frames may carry the same measurement: one point for each.
  const t = message.data_at_ms / 1000;
  const last = columns.t.length ? columns.t[columns.t.length - 1] : 0;
  if (t <= last) return;
  columns.t.push(t);
  columns.frequency.push(message.frequency_hz);
  columns.required.push(message.required_kw);
  columns.delivered.push(message.service_kw);
  const old = columns.t.findIndex((at) => at >= t - HISTORY_S);
  if (old > 0) for (const name of Object.keys(columns)) columns[name].splice(0, old);
  redraw();
}

async function redraw() {
  (await frequencyChart).set([columns.t, columns.frequency]);
  (await powerChart).set([columns.t, columns.required, columns.delivered]);
}

function showNow(message) {
  const hz = message.frequency_hz;
  put("frequency", number(hz, 3));
  const deviation = hz === null ? null : hz - NOMINAL_HZ;
  const sign = deviation > 0 ? "+" : "";
  put("deviation", deviation === null ? "no measurement yet" : `${sign}${number(deviation * 1000, 0)} mHz from ${NOMINAL_HZ} Hz`);
  const size = Math.abs(deviation ?? 0);
  mark(document.getElementById("frequency").closest(".tile"), "level", size >= 0.5 ? "alarm" : size >= 0.2 ? "warn" : "");
  put("required", number(message.required_kw, 1));
  put("delivered", number(message.service_kw, 1));
  const due = Math.abs(message.required_kw);
  put("delivered-share", due >= 1 ? `${number((100 * message.service_kw) / message.required_kw, 1)} % of what is required` : "above the baselines");
  put("fresh", number(message.sites_fresh, 0));
  const total = Math.max(message.sites_total, message.figures.enrolled ?? 0);
  put("total", `of ${number(total, 0)}`);
  const silent = message.workers.filter((worker) => worker.age_s > 5).map((worker) => worker.name);
  const heard = message.workers.length - silent.length;
  const workers = silent.length ? `silent: ${silent.join(", ")}` : heard ? `${heard} ingest worker${heard === 1 ? "" : "s"}` : "no ingest worker heard";
  put("workers", workers);
  mark(document.getElementById("fresh").closest(".tile"), "level", total && message.sites_fresh < total ? "warn" : "");
}

function showModes(message) {
  const total = Math.max(message.sites_total, message.figures.enrolled ?? 0);
  for (const row of document.querySelectorAll(".modes tr")) {
    const mode = row.dataset.mode;
    const count = mode === "silent" ? Math.max(0, total - message.sites_fresh) : (message.by_mode[mode] ?? 0);
    if (mode === "unknown") row.hidden = !count;
    row.querySelector(".number").textContent = number(count, 0);
    row.querySelector("progress").value = total ? count / total : 0;
    mark(row, "empty", count ? "" : "yes");
  }
}

function list(id, items, emptyText) {
  const place = document.getElementById(id);
  const key = JSON.stringify(items.map((item) => item.key));
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(
    ...(items.length ? items.map((item) => item.make()) : [Object.assign(document.createElement("li"), { className: "empty", textContent: emptyText })]),
  );
}

function showIslanded(siteIds, total) {
  put("islanded-count", number(total, 0));
  mark(document.getElementById("islanded-panel"), "level", siteIds.length ? "alarm" : "");
  const items = siteIds.map((siteId) => ({
    key: siteId,
    make: () => {
      const line = document.createElement("li");
      const link = Object.assign(document.createElement("a"), { href: `/sites/${encodeURIComponent(siteId)}/`, textContent: siteId });
      const chip = Object.assign(document.createElement("span"), { className: "chip" });
      chip.dataset.mode = "islanded";
      line.append(chip, link, " carries its own load");
      return line;
    },
  }));
  list("islanded", items, "No site is islanded.");
}

function showDispatch(figures) {
  const { obligation, event, statement, arming } = figures;
  const phase = document.getElementById("phase");
  phase.hidden = !obligation;
  if (obligation) {
    put("phase", { ahead: "Ahead", running: "Running", ended: "Ended", settled: "Settled", cancelled: "Cancelled" }[obligation.phase] ?? obligation.phase);
    mark(phase, "phase", obligation.phase);
  }
  put("dispatch-id", obligation ? `${obligation.dispatch_id} (${obligation.program})` : event ? event.event_id : "none received");
  put("window", obligation ? period(obligation.starts_at, obligation.ends_at, Date.now() + clockOffsetMs) : "–");
  put("answer", event ? `${event.opt === "optIn" ? "accepted" : "declined"}: ${event.reason}` : "–");
  put("settled", statement ? `${statement.amount} ${statement.currency} (${statement.basis})` : "not yet");
  put("owed", obligation ? quantity(obligation.power_kw, "kW", 0) : "–");
  put("armed-kw", arming ? quantity(arming.armed_kw, "kW", 0) : "–");
  put("firm-kw", arming ? quantity(arming.firm_kw, "kW", 0) : "–");
  put("upper-kw", arming ? quantity(arming.upper_kw, "kW", 0) : "–");
  put("limit-kw", arming ? `limit ${quantity(arming.limit_kw, "kW", 0)}` : "");
  put("available-kw", quantity(figures.available_kw, "kW", 0));
  mark(document.getElementById("firm-kw"), "level", arming && arming.is_short ? "warn" : "");
  mark(document.getElementById("upper-kw"), "level", arming && arming.upper_kw > arming.limit_kw + 0.001 ? "alarm" : "");
  put("acknowledged", arming ? number(arming.acknowledged, 0) : "–");
  put("armed-of", arming ? `of ${number(arming.armed, 0)}` : "of –");
  put("armed-note", !arming ? "nothing armed" : arming.is_unheard ? "nobody sends the signal" : arming.refused ? `${arming.refused} refused by their sites` : "assignments armed");
  put("arming", !arming || arming.p50_ms === null ? "–" : `p50 ${number(arming.p50_ms, 0)} ms, p99 ${number(arming.p99_ms, 0)} ms`);
  mark(document.getElementById("armed-tile"), "level", arming && arming.is_unheard ? "alarm" : arming && arming.acknowledged < arming.armed ? "warn" : "");
  put("refused-total", number(figures.refused_total, 0));
  const items = figures.refused.map((row) => ({
    key: `${row.error} ${row.count}`,
    make: () => {
      const line = document.createElement("li");
      const name = Object.assign(document.createElement("code"), { textContent: row.error });
      line.append(name, Object.assign(document.createElement("span"), { textContent: number(row.count, 0) }));
      return line;
    },
  }));
  list("refused", items, "None refused.");
}

function tick() {
  const nowMs = Date.now() + clockOffsetMs;
  put("clock", utcTime(nowMs));
  if (!frame) return;
  const dataAge = frame.data_age_s === null ? null : frame.data_age_s + (Date.now() - frameAtMs) / 1000;
  put("data-age", dataAge === null ? "no live data" : `data ${age(dataAge)} old`);
  mark(document.getElementById("data-dot"), "state", dataAge !== null && dataAge < STALE_AFTER_S ? "good" : "stale");
  const obligation = frame.figures.obligation;
  if (!obligation) return;
  const startsIn = (Date.parse(obligation.starts_at) - nowMs) / 1000;
  const endsIn = (Date.parse(obligation.ends_at) - nowMs) / 1000;
  put("countdown-label", startsIn > 0 ? "Begins in" : endsIn > 0 ? "Ends in" : "Ended");
  put("countdown", startsIn > 0 ? countdown(startsIn) : endsIn > 0 ? countdown(endsIn) : `${age(-endsIn)} ago`);
}

const link = new Link("/ws/fleet/", receive);
setInterval(tick, 500);
tick();
