// Figures as people read them: units, a typographic minus, ages, UTC times.

export const NOTHING = "–";

const MODES = {
  grid_tied: "Grid-tied",
  islanding: "Islanding",
  islanded: "Islanded",
  resynchronizing: "Resynchronizing",
  black_start: "Black start",
  lockout: "Lockout",
  maintenance: "Maintenance",
};

export const STALE_AFTER_S = 10;

export function number(value, digits = 1) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  const text = value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  // A rounded −0.0 reads like a fault.
  return /^-[0.,]+$/.test(text) ? text.slice(1) : text.replace("-", "−");
}

export function quantity(value, unit, digits = 1) {
  const text = number(value, digits);
  return text === NOTHING ? NOTHING : `${text} ${unit}`;
}

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "never";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function modeName(mode) {
  return MODES[mode] || mode || NOTHING;
}

export function utcTime(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}

// Both ends in UTC; a day is told only where it is not the one before it, first of all today.
export function period(startsAt, endsAt, nowMs) {
  let day = new Date(nowMs).toISOString().slice(0, 10);
  const ends = [startsAt, endsAt].map((at) => {
    const text = new Date(at).toISOString();
    const isSameDay = text.slice(0, 10) === day;
    day = text.slice(0, 10);
    return isSameDay ? text.slice(11, 19) : `${day} ${text.slice(11, 19)}`;
  });
  return `${ends[0]} to ${ends[1]} UTC`;
}

export function countdown(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const minutes = Math.floor(whole / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${minutes}:${String(whole % 60).padStart(2, "0")}`;
}

// Writes only what changed, so that a selection or a screen reader is not disturbed twice a second.
export function put(id, text) {
  const element = document.getElementById(id);
  if (element && element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (!element) return;
  if (value) {
    if (element.dataset[name] !== value) element.dataset[name] = value;
  } else if (name in element.dataset) {
    delete element.dataset[name];
  }
}
