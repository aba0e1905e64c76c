// One process: what it uses, says, holds and is asked.

import { button, bytes, clean, clock, confirm, day, duration, h, note, number, percent, pill, pillClass, rate, section, setText, sparkline, table } from "./dom.js";
import { logView } from "./log.js";

const CHANNELS = 100;
const EVERY = 3000;

export function showProcess(app, main, signal, process) {
  const [name, ...rest] = clean(process).split(":");
  const state = pill("…");
  const why = h("p", { class: "problem", hidden: true });
  const usage = h("div", { class: "meters" });
  const channels = h("div"), rights = h("div"), versions = h("div");
  const packageId = process.split(":").slice(1).join(":");
  main.append(
    h("p", { class: "back" }, h("a", { href: "#/processes" }, "← Processes")),
    h("div", { class: "title" }, h("h1", {}, name, h("span", { class: "rest" }, rest.length ? `:${rest.join(":")}` : "")), state,
      app.may("admin") && rest.length === 2 ? h("div", { class: "actions" }, button("Restart", restart), button("Stop", stop, "danger")) : null),
    why,
    h("div", { class: "columns" },
      h("div", {}, section("Use", usage), section("Capabilities", rights)),
      h("div", {}, section("Versions", versions), app.may("push") && rest.length === 2 ? section("Console", talk(app, signal, process)) : null)),
    section("Channels", channels), section("Log", logView(app, signal, process)));
  const sparks = { cpu: sparkline(0.05), rate: sparkline() };
  const meters = new Map();
  app.samples.addEventListener("new", live, { signal });
  live();
  const timer = setInterval(refresh, EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
  refresh();
  app.quietly(showVersions());

  function live() {
    const row = app.samples.rows.find((each) => each.process === process);
    if (!row) {
      if (app.samples.told) { setText(state, "not here"); state.className = "pill"; }
      return;
    }
    setText(state, row.state);
    state.className = pillClass(row.state);
    const died = row.last_end;
    why.hidden = !died;
    if (died) { setText(why, `${row.state === "running" ? "The last run ended" : "It ended"} at ${day(died.time)}: ${died.text}`); why.className = row.state === "running" ? "hint" : "problem"; }
    sparks.cpu.show(row.cpus);
    sparks.rate.show(row.rates);
    figure("CPU", percent(row.cpu), "", sparks.cpu.svg);
    figure("Messages/s", rate(row.rate), `${number(row.messages_in)} in, ${number(row.messages_out)} out`, sparks.rate.svg);
  }

  function figure(title, text, beside, extra) {
    let shown = meters.get(title);
    if (!shown) {
      shown = { text: h("b"), beside: h("span", { class: "hint" }) };
      meters.set(title, shown);
      usage.append(h("div", { class: "meter" }, h("span", { class: "name" }, title), shown.text, shown.beside, extra ?? null));
      shown.place = usage.lastChild;
    }
    setText(shown.text, text);
    setText(shown.beside, beside);
    return shown;
  }

  function limit(title, value, most, show) {
    const shown = figure(title, show(value), `of ${show(most)}`);
    if (!shown.bar) {
      shown.bar = h("meter", { min: 0, max: 1, high: 0.85, optimum: 0, "aria-label": title });
      shown.place.append(shown.bar);
    }
    shown.bar.value = most ? (value ?? 0) / most : 0;
  }

  async function refresh() {
    if (!app.node.hello || document.hidden || rest.length !== 2) return;
    try {
      const told = await app.node.ask("getProcess", { process });
      if (signal.aborted) return;
      limit("Memory", told.memory_bytes, told.limits.memory_bytes, bytes);
      limit("State", told.state_bytes, told.limits.state_bytes, bytes);
      limit("Mailbox", told.mailbox_bytes, told.limits.mailbox_bytes, bytes);
      limit("Host calls/s", told.host_calls_per_second, told.limits.host_calls_per_second, number);
      figure("Up", duration(told.up_seconds), told.restarts ? `${number(told.restarts)} restarts` : told.worker ?? "");
    } catch { /* it is not there: the state says so */ }
    await showChannels().catch(() => undefined);
    await showRights().catch(() => undefined);
  }

  async function showChannels() {
    const { channels: listed, next } = await app.node.ask("listChannels", { process, limit: CHANNELS });
    if (signal.aborted || channels.contains(document.activeElement)) return; // a button that has the focus stays
    channels.replaceChildren(table("Open channels", [
      ["Channel", (row) => String(row.channel_id), "num"], ["Client", (row) => clean(row.client), ""], ["Path", (row) => clean(row.path), ""],
      ["Open", (row) => duration(row.open_seconds), "num"], ["In", (row) => number(row.messages_in), "num"], ["Out", (row) => number(row.messages_out), "num"],
      ...(app.may("push") ? [["", (row) => button("Close", () => close(row), "small", `Close channel ${row.channel_id}`), ""]] : []),
    ], listed, "No channel is open."), next ? h("p", { class: "hint" }, `The first ${CHANNELS} are shown.`) : "");
  }

  async function showRights() {
    const { capabilities, refused, public: open } = await app.node.ask("explain", { process });
    if (signal.aborted || rights.contains(document.activeElement)) return;
    const item = (each, beside, kind) => h("li", { class: kind }, h("code", {}, clean(each.issuer)), " ", each.params ? h("code", { class: "rest" }, clean(each.params)) : null, h("span", { class: "hint" }, clean(beside)));
    rights.replaceChildren(
      refused.length ? h("div", { class: "refused" }, h("h3", {}, "Refused"), h("ul", { class: "plain" }, refused.map((each) => item(each, `${number(each.times)} times`, "")))) : h("p", { class: "hint" }, "It was refused nothing."),
      h("p", {}, open ? "Every process of the node may message it." : "Processes with its capability may message it."),
      h("details", {}, h("summary", {}, `It holds ${number(capabilities.length)} capabilities`), h("ul", { class: "plain" }, capabilities.map((each) => item(each, each.from, "")))));
  }

  async function showVersions() {
    const { packages } = await app.node.ask("listPackages");
    const found = packages.find((each) => each.package === packageId);
    if (signal.aborted) return;
    if (!found) { versions.replaceChildren(h("p", { class: "empty" }, "Its package is not installed.")); return; }
    const shown = (version, hash) => (version === null ? "–" : h("span", {}, clean(version), hash ? h("code", { class: "rest" }, ` ${hash.slice(0, 12)}`) : null));
    versions.replaceChildren(h("dl", { class: "pairs" },
      h("dt", {}, "Runs"), h("dd", {}, shown(found.running_version, found.running_hash)),
      h("dt", {}, "Installed"), h("dd", {}, found.version === null ? "no: named to run" : shown(found.version, found.hash)),
      h("dt", {}, "Previous"), h("dd", {}, shown(found.previous_version, found.previous_hash))),
    app.may("admin") ? h("div", { class: "actions" },
      found.previous_version === null ? null : button(`Roll back to ${clean(found.previous_version)}`, () => rollBack(found)),
      h("a", { class: "button", href: "#/packages" }, "Upgrade …")) : "");
  }

  async function restart() {
    await app.quietly(app.ask("restartProcess", { process }).then(({ state: now }) => note(`${name} is ${now}`)));
    refresh();
  }

  async function stop() {
    const text = "Its channels are closed, and it runs again only when it is restarted.";
    if (await confirm(`Stop ${name}?`, [h("p", {}, text)], "Stop", "danger")) await app.quietly(app.ask("stopProcess", { process }).then(() => note(`${name} is stopped`)));
    refresh();
  }

  async function close(row) {
    document.activeElement?.blur();
    await app.quietly(app.ask("closeChannel", { channel_id: row.channel_id }));
    showChannels().catch(() => undefined);
  }

  async function rollBack(found) {
    const text = `${found.package} returns to ${found.previous_version}. Channels stay open.`;
    if (!(await confirm(`Roll back ${found.package}?`, [h("p", {}, clean(text))], "Roll back"))) return;
    await app.quietly(app.ask("rollback", { package: found.package }).then((now) => note(`${now.package} ${now.version} runs`)));
    app.quietly(showVersions());
  }
}

// A channel of the node's own to the process, as a client has it.
function talk(app, signal, process) {
  const heard = h("ol", { class: "talk", tabindex: "0", "aria-label": "Messages", "aria-live": "polite" });
  const path = h("input", { "aria-label": "Path", placeholder: "path (optional)" });
  const text = h("textarea", { rows: 2, "aria-label": "Message", placeholder: "Message: text or JSON; Enter sends", disabled: true, onkeydown: (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); send(); }
  } });
  const open = button("Open channel", toggle);
  const json = h("span", { class: "hint" });
  let isOpen = false;
  text.addEventListener("input", () => { setText(json, /^\s*[[{]/.test(text.value) ? (isJson(text.value) ? "JSON" : "not JSON yet") : ""); });

  const say = (kind, what, beside = "") => {
    heard.append(h("li", { class: kind }, h("span", { class: "hint" }, `${clock(Date.now() / 1000)} ${beside}`), h("pre", {}, clean(pretty(what)))));
    while (heard.children.length > 200) heard.firstChild.remove();
    heard.scrollTop = heard.scrollHeight;
  };
  const ended = (what) => { isOpen = false; text.disabled = true; path.disabled = false; setText(open, "Open channel"); if (what) say("end", what); };

  async function toggle() {
    if (isOpen) { await app.quietly(app.ask("closeConsole")); ended("You closed the channel."); return; }
    try {
      const { channel_id: id } = await app.ask("openConsole", { process, path: path.value.trim() });
      isOpen = true;
      text.disabled = false;
      path.disabled = true;
      setText(open, "Close channel");
      say("end", id ? `Channel ${id} is open.` : "The channel is open.");
      text.focus();
    } catch { /* shown already */ }
  }

  async function send() {
    if (!text.value || !isOpen) return;
    const what = text.value;
    try { await app.ask("sendConsole", { text: what }); say("out", what, "you"); text.value = ""; setText(json, ""); } catch { /* shown already */ }
  }

  app.node.on("console", (told) => {
    if (told.closed !== undefined) { if (isOpen) ended(`The channel was closed with ${told.closed}${told.reason ? `: ${told.reason}` : ""}.`); }
    else if (told.text !== undefined) say("in", told.text, told.size > told.text.length * 4 ? `${bytes(told.size)}, the beginning` : "");
    else say("in", told.base64, `${bytes(told.size)} binary, base64 of the beginning`);
  }, signal);
  app.node.on("lost", () => ended(""), signal);
  signal.addEventListener("abort", () => { if (isOpen && app.node.hello) app.quietly(app.node.ask("closeConsole")); });
  return [h("div", { class: "tools" }, path, open), heard, text, json];
}

function isJson(text) { try { JSON.parse(text); return true; } catch { return false; } }
const pretty = (text) => (/^\s*[[{]/.test(text) && text.length < 20000 && isJson(text) ? JSON.stringify(JSON.parse(text), null, 2) : text);
