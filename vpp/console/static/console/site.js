// One site's page: live values, and the waveform of an islanding.

import { Chart } from "./charts.js";
import { NOTHING, STALE_AFTER_S, age, mark, modeName, put, quantity } from "./format.js";
import { Link } from "./socket.js";

const siteId = document.getElementById("site").dataset.site;
const AROUND_DECISION_MS = { min: -40, max: 120 };
let row = null;
let rowAtMs = 0;

function receive(message) {
  if (message.type !== "sites" || !message.rows.length) return;
  row = message.rows[0];
  rowAtMs = Date.now();
  for (const name of ["pcc_kw", "battery_kw", "pv_kw", "genset_kw", "load_kw"]) {
    put(name, quantity(row[name], "kW"));
    put(`p-${name}`, quantity(row[name], "kW"));
  }
  for (const name of ["service_kw", "required_kw", "discharge_kw", "charge_kw"]) put(name, quantity(row[name], "kW"));
  for (const name of ["usable_energy_kwh", "absorbable_energy_kwh"]) put(name, quantity(row[name], "kWh"));
  put("soc_ratio", row.soc_ratio === null ? "–" : quantity(100 * row.soc_ratio, "%", 0));
  put("frequency_hz", quantity(row.frequency_hz, "Hz", 3));
  put("voltage_pu", quantity(row.voltage_pu, "pu", 3));
  if (message.standing) showStanding(message.standing);
  if (message.commands) showCommands(message.commands);
  tick();
}

function showStanding(standing) {
  for (const [name, text] of Object.entries(standing)) put(`s-${name}`, text);
  const isTold = standing.alarms !== NOTHING;
  document.getElementById("told").hidden = !isTold;
  document.getElementById("not-told").hidden = isTold;
  const isLatched = !["none", NOTHING].includes(standing.alarms);
  mark(document.getElementById("standing"), "level", isLatched ? "lockout" : "");
  const isSafe = standing.outbox === "–" || standing.outbox.startsWith("safe");
  mark(document.getElementById("s-outbox"), "level", isSafe ? "" : "warn");
}

let commandsShown = "";

function showCommands(commands) {
  // Drawn anew only when something changed, so that a selection stays.
  const key = JSON.stringify(commands);
  if (key === commandsShown) return;
  commandsShown = key;
  document.getElementById("commands").hidden = !commands.length;
  document.getElementById("no-commands").hidden = commands.length > 0;
  document.querySelector("#commands tbody").replaceChildren(...commands.map((command) => {
    const row = document.createElement("tr");
    for (const [name, kind] of [["request", "nowrap"], ["answer", ""], ["issued_at", "nowrap"], ["who", ""], ["took", "number"]]) {
      const cell = row.insertCell();
      cell.textContent = command[name];
      if (kind) cell.className = kind;
      if (name === "answer") cell.dataset.answer = command.state;
    }
    return row;
  }));
}

function tick() {
  if (!row) return;
  const seconds = row.age_s === null ? null : row.age_s + (Date.now() - rowAtMs) / 1000;
  const isStale = seconds === null || seconds > STALE_AFTER_S;
  put("age", age(seconds));
  put("mode", isStale ? (seconds === null ? "Never heard" : `Silent, was ${modeName(row.mode).toLowerCase()}`) : modeName(row.mode));
  mark(document.getElementById("mode-chip"), "mode", isStale ? "stale" : row.mode);
}

function phases(prefix) {
  return ["a", "b", "c"].map((phase, index) => ({ label: `${prefix} ${phase.toUpperCase()}`, unit: "pu", digits: 3, color: `--series-${index + 1}`, width: 1.5 }));
}

const buttons = [...document.querySelectorAll("[data-waveform]")];

async function showWaveform(button, charts) {
  for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
  put("waveform-title", "loading");
  let found;
  try {
    const answer = await fetch(button.dataset.waveform, { headers: { Accept: "application/json" } });
    found = await answer.json();
    if (!answer.ok) throw new Error(found.detail || `answer ${answer.status}`);
  } catch (error) {
    put("waveform-title", `this record cannot be shown: ${error.message}`);
    return;
  }
  put("waveform-title", `${found.cause}, decided at ${found.trigger_at} (0 ms); drag to zoom, double-click for all`);
  const none = found.times_ms.map(() => null);
  for (const [key, chart] of Object.entries(charts)) {
    chart.set([found.times_ms, ...["a", "b", "c"].map((phase) => found.columns[`${key}${phase}_pu`] ?? none)], AROUND_DECISION_MS);
  }
}

async function start() {
  if (!buttons.length) return;
  const emptyText = "Loading the record.";
  const charts = {
    v: await Chart.in("waveform-load", { series: phases("Load bus"), x: "ms", minSpan: 2, emptyText }),
    u: await Chart.in("waveform-utility", { series: phases("Utility side"), x: "ms", minSpan: 2, emptyText }),
  };
  for (const button of buttons) button.addEventListener("click", () => showWaveform(button, charts));
  await showWaveform(buttons[0], charts);
}

new Link(`/ws/sites/${encodeURIComponent(siteId)}/`, receive);
setInterval(tick, 1000);
start();
