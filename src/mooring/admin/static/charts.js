// Charts of the last five minutes, one value a second.

import uPlot from "./vendor/uPlot.js";

const POINTS = 300;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  // series: {key, label, colour, dash}; show: value to [text, unit].
  constructor(box, series, show) {
    this.box = box;
    this.series = series;
    this.show = show;
    this.times = [];
    this.values = series.map(() => []);
    this.plot = null;
    new ResizeObserver(() => this.resize()).observe(box);
  }

  reset(times, columns) {
    this.times = times.slice(-POINTS);
    this.values = this.series.map(({ key }) => (columns?.[key] ?? times.map(() => null)).slice(-POINTS));
    this.draw();
  }

  add(time, point) {
    if (this.times.length && time <= this.times[this.times.length - 1]) return;
    this.times.push(time);
    this.series.forEach(({ key }, index) => this.values[index].push(point[key] ?? null));
    if (this.times.length > POINTS) {
      this.times.shift();
      this.values.forEach((values) => values.shift());
    }
    this.draw();
  }

  draw() {
    if (!this.plot) this.build();
    if (!this.plot) return;
    this.plot.setData([this.times, ...this.values]);
    this.showLatest();
  }

  // The legend tells the latest values, unless somebody points at others.
  showLatest() {
    const { left } = this.plot.cursor;
    if (this.times.length && (left === undefined || left === null || left < 0)) {
      this.plot.setLegend({ idx: this.times.length - 1 });
    }
  }

  build() {
    const width = this.box.clientWidth;
    if (!width) return;
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const text = (value) => {
      if (value === null || value === undefined) return "–";
      const [shown, unit] = this.show(value);
      return unit ? `${shown} ${unit}` : shown;
    };
    const options = {
      width,
      height: 128,
      padding: [8, 26, 0, 0],
      cursor: { y: false, points: { size: 6 } },
      legend: { live: true },
      scales: {
        x: { time: true, range: (_, min, max) => [Math.min(min ?? 0, (max ?? 0) - 60), max ?? 60] },
        y: { range: (_, min, max) => [0, Math.max(1, (max ?? 0) * 1.1)] },
      },
      axes: [
        { ...axis, size: 22, space: 70, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString("en-GB")) },
        { ...axis, size: 56, space: 30, values: (_, ticks) => ticks.map((tick) => (tick % 1 ? "" : text(tick))) },
      ],
      series: [
        { label: "time", value: (_, value) => (value ? new Date(value * 1000).toLocaleTimeString("en-GB") : "–") },
        ...this.series.map(({ label, colour: name, dash }) => ({
          label, stroke: colour(name), width: 1.6, dash, points: { show: false }, value: (_, value) => text(value),
        })),
      ],
    };
    this.plot = new uPlot(options, [this.times, ...this.values], this.box);
  }

  resize() {
    const width = this.box.clientWidth;
    if (!width) return;
    if (this.plot) this.plot.setSize({ width, height: 128 });
    else this.draw();
  }

  restyle() {
    this.plot?.destroy();
    this.plot = null;
    this.draw();
  }
}
