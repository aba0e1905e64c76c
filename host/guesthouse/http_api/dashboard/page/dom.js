// Elements and texts. What guests say becomes text nodes, never markup: there is no other way to add it here.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Controls that turn the direction of text or that are not seen would let a guest imitate other text.
export const clean = (text) => String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");

export function setText(element, text) {
  const shown = clean(text);
  if (element.textContent !== shown) element.textContent = shown;
}

export function button(text, act, kind = "", label) {
  return h("button", { type: "button", class: kind, onclick: act, "aria-label": label }, text);
}

export function section(title, ...children) {
  return h("section", { class: "card", "aria-label": title }, h("h2", {}, title), ...children);
}

export function table(caption, columns, rows, empty) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const head = columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title || h("span", { class: "unseen" }, "Actions")));
  const body = rows.map((row) => h("tr", {}, columns.map(([title, cell, kind]) => h("td", { class: kind, "data-label": title }, cell(row)))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

export const number = (value) => Math.round(value).toLocaleString("en");
export const rate = (value) => (value === 0 || value >= 10 ? number(value) : value.toFixed(1));
export const percent = (value) => `${(100 * value).toFixed(1)} %`;

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

export const clock = (time) => new Date(1000 * time).toLocaleTimeString("en-GB");
export const day = (time) => new Date(1000 * time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

const STATES = { running: "good", failed: "bad", ended: "", stopped: "", waiting: "wait", starting: "wait", stopping: "wait", pausing: "wait" };
export const pillClass = (state) => `pill ${STATES[state] ?? ""}`;
export const pill = (state) => h("span", { class: pillClass(state) }, clean(state));

export function sparkline(floor = 1) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  const line = document.createElementNS(ns, "polyline");
  svg.setAttribute("viewBox", "0 0 60 20");
  svg.setAttribute("class", "spark");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.append(line);
  return { svg, show: (values) => {
    const top = Math.max(floor, ...values);
    const left = 60 - values.length;
    line.setAttribute("points", values.map((value, at) => `${left + at},${(19 - (18 * value) / top).toFixed(1)}`).join(" "));
  } };
}

export function note(text, kind = "") {
  const shown = h("p", { class: `note ${kind}` }, clean(text));
  document.getElementById("notes").append(shown);
  setTimeout(() => shown.remove(), 8000);
}

// A dialog that resolves to whether its action was chosen.
export function confirm(title, body, action, kind = "main") {
  const dialog = document.getElementById("dialog");
  return new Promise((resolve) => {
    const end = (chosen) => { dialog.close(); resolve(chosen); };
    dialog.replaceChildren(h("h2", { id: "dialog-title" }, clean(title)), ...body,
      h("div", { class: "actions" }, button("Cancel", () => end(false)), button(action, () => end(true), kind)));
    dialog.oncancel = () => resolve(false);
    dialog.showModal();
  });
}
