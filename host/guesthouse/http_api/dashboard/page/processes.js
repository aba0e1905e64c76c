// All processes: what the node counts, as rates of the last minute.

import { bytes, clean, h, number, percent, pill, pillClass, rate, setText, sparkline } from "./dom.js";

const KEPT = 60;

// The node sends totals; what happens each second is counted here, while somebody looks.
export class Samples extends EventTarget {
  rows = [];
  told = null;
  #last = new Map();

  forget() { this.#last.clear(); this.told = null; this.rows = []; }

  add(told) {
    const kept = new Map();
    this.rows = told.processes.map((row) => {
      const old = this.#last.get(row.process);
      const seconds = old ? told.at - old.at : 0;
      const messages = row.messages_in + row.messages_out;
      const used = { cpu: 0, rate: 0, rates: old ? old.rates : [], cpus: old ? old.cpus : [] };
      if (seconds > 0) {
        used.cpu = Math.max(0, row.cpu_seconds - old.cpu_seconds) / seconds;
        used.rate = Math.max(0, messages - old.messages) / seconds;
        used.rates = [...used.rates, used.rate].slice(-KEPT);
        used.cpus = [...used.cpus, used.cpu].slice(-KEPT);
      }
      kept.set(row.process, { at: told.at, cpu_seconds: row.cpu_seconds, messages, rates: used.rates, cpus: used.cpus });
      return { ...row, ...used };
    });
    this.#last = kept;
    this.told = told;
    this.dispatchEvent(new Event("new"));
  }
}

const COLUMNS = [
  ["process", "Process", ""], ["state", "State", ""], ["version", "Version", ""], ["cpu", "CPU", "num"], ["memory_bytes", "Memory", "num"],
  ["rate", "Messages/s", "num"], ["mailbox_messages", "Mailbox", "num"], ["channels", "Channels", "num"], ["restarts", "Restarts", "num"],
];
const TEXTS = {
  version: (row) => row.version ?? "–", cpu: (row) => percent(row.cpu), memory_bytes: (row) => bytes(row.memory_bytes), rate: (row) => rate(row.rate),
  mailbox_messages: (row) => number(row.mailbox_messages), restarts: (row) => number(row.restarts),
  channels: (row) => number(row.channels) + (row.away ? ` (${number(row.away)} away)` : ""),
};

export class Processes {
  #lines = new Map();
  #sort = "process";
  #down = false;

  constructor(app, main, signal) {
    this.app = app;
    this.filter = h("input", { type: "search", id: "filter", placeholder: "Filter  /", "aria-label": "Filter processes", oninput: () => this.show() });
    this.figures = h("dl", { class: "figures" });
    this.heads = COLUMNS.map(([name, title, kind]) => h("th", { scope: "col", class: kind, "aria-sort": "none" },
      h("button", { type: "button", class: "sort", onclick: () => this.sort(name) }, title)));
    this.body = h("tbody");
    this.empty = h("p", { class: "empty" }, "Waiting for the node …");
    this.table = h("table", { class: "processes" }, h("caption", { class: "unseen" }, "Processes"), h("thead", {}, h("tr", {}, this.heads)), this.body);
    main.append(h("div", { class: "title" }, h("h1", {}, "Processes"), this.filter), this.figures,
      h("div", { class: "card flush" }, this.table, this.empty));
    app.samples.addEventListener("new", () => this.show(), { signal });
    if (app.samples.told) this.show();
  }

  sort(name) {
    this.#down = this.#sort === name ? !this.#down : !["process", "state", "version"].includes(name);
    this.#sort = name;
    this.show();
  }

  show() {
    const { rows, told } = this.app.samples;
    this.sums(rows, told);
    const wanted = this.filter.value.trim().toLowerCase();
    const chosen = rows.filter((row) => `${row.process} ${row.state}`.toLowerCase().includes(wanted));
    const value = (row) => row[this.#sort] ?? "";
    chosen.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (this.#down ? -1 : 1) || (a.process < b.process ? -1 : 1));
    COLUMNS.forEach(([name], at) => this.heads[at].setAttribute("aria-sort", name !== this.#sort ? "none" : this.#down ? "descending" : "ascending"));
    const there = new Set(chosen.map((row) => row.process));
    for (const [name, line] of this.#lines) if (!there.has(name)) { line.row.remove(); this.#lines.delete(name); }
    chosen.forEach((row, at) => {
      const line = this.line(row);
      if (this.body.children[at] !== line.row) this.body.insertBefore(line.row, this.body.children[at] ?? null);
    });
    this.table.hidden = !chosen.length;
    this.empty.hidden = chosen.length > 0;
    setText(this.empty, rows.length ? "No process matches the filter." : "This node runs no process. Install a package to begin.");
  }

  line(row) {
    let line = this.#lines.get(row.process);
    if (!line) {
      const [name, ...rest] = clean(row.process).split(":");
      const link = h("a", { href: `#/process/${encodeURIComponent(row.process)}` }, h("b", {}, name), h("span", { class: "rest" }, rest.length ? `:${rest.join(":")}` : ""));
      line = { cells: {}, state: pill(row.state), why: h("span", { class: "why" }), spark: sparkline() };
      line.row = h("tr", {}, COLUMNS.map(([key, title, kind]) => {
        const text = (line.cells[key] = h("span"));
        const inside = key === "process" ? [link, line.why] : key === "state" ? [line.state] : key === "rate" ? [line.spark.svg, text] : [text];
        return h("td", { class: `${kind} c-${key}`, "data-label": title }, inside);
      }));
      this.#lines.set(row.process, line);
    }
    for (const [key, text] of Object.entries(TEXTS)) setText(line.cells[key], text(row));
    setText(line.state, row.state);
    line.state.className = pillClass(row.state);
    const died = row.state !== "running" && row.last_end;
    setText(line.why, died ? row.last_end.text : "");
    line.spark.show(row.rates);
    return line;
  }

  sums(rows, told) {
    const sum = (key) => rows.reduce((total, row) => total + (row[key] ?? 0), 0);
    const shown = [
      ["Running", `${number(rows.filter((row) => row.state === "running").length)} of ${number(rows.length)}`],
      ["CPU", percent(sum("cpu"))], ["Memory", bytes(sum("memory_bytes"))], ["Messages/s", rate(sum("rate"))], ["Channels", number(sum("channels"))],
      ...(told?.workers === undefined ? [] : [["Workers", number(told.workers)]]),
    ];
    if (this.figures.children.length !== shown.length) this.figures.replaceChildren(...shown.map(([title]) => h("div", {}, h("dt", {}, title), h("dd"))));
    shown.forEach(([, text], at) => setText(this.figures.children[at].lastChild, text));
  }
}
