// How figures and times read, and how elements are made.

export const DAY = 86400;
const MINUTE = 60, HOUR = 3600;
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export const byId = (id) => document.getElementById(id);

export function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

export function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text; // else it would be read aloud again
}

export function show(id, shown) {
  byId(id).hidden = !shown;
}

const two = (number) => String(number).padStart(2, "0");

export function duration(seconds) {
  if (seconds == null) return "–";
  const whole = Math.floor(seconds);
  if (whole < MINUTE) return `${whole}s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)}m ${two(whole % MINUTE)}s`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)}h ${two(Math.floor((whole % HOUR) / MINUTE))}m`;
  return `${Math.floor(whole / DAY)}d ${Math.floor((whole % DAY) / HOUR)}h`;
}

export function bytes(size) {
  if (size == null) return "–";
  const units = ["kB", "MB", "GB", "TB"];
  let value = size / 1000, unit = 0;
  while (Math.round(value) >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(unit < 2 ? 0 : 1).replace(/\.0$/, "")} ${units[unit]}`;
}

export const cpus = (value) => (value == null ? "–" : value.toFixed(value < 99.95 ? 1 : 0));
export const percent = (part) => (part == null ? "–" : `${Math.round(100 * part)} %`);
export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

export function clock(time) {
  const at = new Date(1000 * time);
  return `${two(at.getHours())}:${two(at.getMinutes())}`;
}

export function day(time) {
  const at = new Date(1000 * time);
  const year = at.getFullYear() === new Date().getFullYear() ? "" : ` ${at.getFullYear()}`;
  return `${DAYS[at.getDay()]} ${at.getDate()} ${MONTHS[at.getMonth()]}${year}`;
}

export function month(time) {
  const at = new Date(1000 * time);
  return `${MONTHS[at.getMonth()]} ${at.getFullYear()}`;
}

export function moment(time) {
  return `${day(time)} ${clock(time)}`;
}
