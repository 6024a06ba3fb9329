// The owner's page: each of the own sites, safe or not, with its charge.

import { STALE_AFTER_S, age, mark, modeName, quantity } from "./format.js";
import { Link } from "./socket.js";

const VERDICTS = {
  grid_tied: "Safe, on the grid",
  islanding: "Grid lost, taking over",
  islanded: "Safe, on its own power",
  resynchronizing: "Safe, going back to the grid",
  black_start: "Starting up again",
  lockout: "Needs service: locked out",
  maintenance: "Being worked on: own power blocked",
};

function receive(message) {
  if (message.type !== "sites") return;
  for (const row of message.rows) {
    const card = document.querySelector(`[data-site="${CSS.escape(row.site_id)}"]`);
    if (card) show(card, row);
  }
}

function show(card, row) {
  const isStale = row.age_s === null || row.age_s > STALE_AFTER_S;
  const set = (name, text) => {
    const field = card.querySelector(`[data-field="${name}"]`);
    if (field && field.textContent !== text) field.textContent = text;
  };
  const verdict = VERDICTS[row.mode] ?? modeName(row.mode);
  set("verdict", row.age_s === null ? "Never heard" : isStale ? `No data for ${age(row.age_s)}` : verdict);
  mark(card.querySelector(".verdict .chip"), "mode", isStale ? "stale" : row.mode);
  set("soc", row.soc_ratio === null ? "–" : quantity(100 * row.soc_ratio, "%", 0));
  set("load", quantity(row.load_kw, "kW"));
  set("battery", quantity(row.battery_kw, "kW"));
  set("pcc", quantity(row.pcc_kw, "kW"));
  set("age", age(row.age_s));
  card.querySelector('[data-field="soc-bar"]').value = 100 * (row.soc_ratio ?? 0);
}

new Link("/ws/sites/", receive);
