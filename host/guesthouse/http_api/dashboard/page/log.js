// Lines of the log as they come, of the node or of one process.

import { clean, clock, h, section } from "./dom.js";

const KEPT = 500;

export function logView(app, signal, source) {
  const lines = h("ol", { class: "log", tabindex: "0", "aria-label": "Lines of the log" });
  const level = h("select", { "aria-label": "Least severe level", onchange: () => follow() },
    ["debug", "info", "warning", "error"].map((name) => h("option", { value: name, selected: name === "debug" }, name)));
  const search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter lines", oninput: () => { for (const line of lines.children) fits(line); } });
  const empty = h("p", { class: "empty" }, "Nothing is logged yet.");
  const fits = (line) => { line.hidden = !line.textContent.toLowerCase().includes(search.value.trim().toLowerCase()); };
  const follow = () => app.quietly(app.ask("followLog", { source, level: level.value, lines: 300 }));

  app.node.on("log", ({ lines: some, first }) => {
    const atEnd = first || lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    if (first) lines.replaceChildren();
    const added = some.map((line) => {
      const shown = h("li", { class: line.level }, h("time", {}, clock(line.time)), h("span", { class: "level" }, line.level),
        source ? null : h("span", { class: "source" }, clean(line.source)), h("span", { class: "text" }, clean(line.text)));
      fits(shown);
      return shown;
    });
    lines.append(...added);
    while (lines.children.length > KEPT) lines.firstChild.remove();
    empty.hidden = lines.children.length > 0;
    lines.hidden = !lines.children.length;
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  }, signal);
  signal.addEventListener("abort", () => { if (app.node.hello) app.quietly(app.node.ask("leaveLog")); });
  follow();
  return [h("div", { class: "tools" }, level, search), lines, empty];
}

export function showLog(app, main, signal) {
  main.append(h("div", { class: "title" }, h("h1", {}, "Log")), h("div", { class: "card whole" }, logView(app, signal, "")));
}
