// Numbers with their units, always as wide as need be and no wider.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value) {
  return whole.format(value);
}

function scaled(value, step, units) {
  let size = Math.abs(value);
  let index = 0;
  while (size >= step && index < units.length - 1) {
    size /= step;
    index += 1;
  }
  const digits = index === 0 || size >= 100 ? 0 : 1;
  return [size.toFixed(digits), units[index]];
}

export function number(value) {
  const [text, unit] = scaled(value, 1000, ["", "k", "M", "G"]);
  return Math.abs(value) < 100000 ? [whole.format(value), ""] : [text, unit];
}

export function rate(value) {
  const [text, unit] = value < 10 && value % 1 ? [value.toFixed(1), ""] : number(value);
  return [text, `${unit}/s`];
}

export function bytes(value) {
  return scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
}

export function byteRate(value) {
  const [text, unit] = bytes(value);
  return [text, `${unit}/s`];
}

export function seconds(value) {
  if (value === null || value === undefined) return ["–", ""];
  if (value === 0) return ["0", "ms"];
  if (value < 0.0000995) return ["<0.1", "ms"];
  if (value < 0.1) return [(value * 1000).toFixed(value < 0.01 ? 1 : 0), "ms"];
  if (value < 1) return [(value * 1000).toFixed(0), "ms"];
  if (value < 100) return [value.toFixed(value < 10 ? 1 : 0), "s"];
  return [duration(value), ""];
}

export function duration(value) {
  const total = Math.max(0, Math.floor(value));
  const [days, hours, minutes, rest] = [
    Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60,
  ];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min ${rest} s`;
  return `${rest} s`;
}

export function joined([text, unit]) {
  return unit ? `${text} ${unit}` : text;
}

export function clock(unix, millis = false) {
  const text = new Date(unix * 1000).toLocaleTimeString("en-GB");
  return millis ? `${text}.${String(Math.floor((unix % 1) * 1000)).padStart(3, "0")}` : text;
}
