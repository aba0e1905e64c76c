// The frame around the views: logging in, the bar, and which view is shown.

import { button, clean, h, note, setText } from "./dom.js";
import { Node, stored } from "./node.js";
import { Processes, Samples } from "./processes.js";
import { showProcess } from "./process.js";
import { showPackages } from "./packages.js";
import { showKeys, showTokens } from "./access.js";
import { showLog } from "./log.js";

const VIEWS = [
  ["processes", "Processes", () => true],
  ["packages", "Packages", () => true],
  ["tokens", "Tokens", (who) => !who.process],
  ["keys", "Keys", (who) => !who.process && who.role === "admin"],
  ["log", "Log", () => true],
];
const $ = (id) => document.getElementById(id);
const node = new Node();
const samples = new Samples();
let leaving = new AbortController();

const app = {
  node, samples,
  may: (role) => ["read", "push", "admin"].indexOf(node.hello?.role) >= ["read", "push", "admin"].indexOf(role),
  // Asks, and shows what went wrong.
  ask: (what, args) => node.ask(what, args).catch((problem) => { note(problem.message, "bad"); throw problem; }),
  quietly: (promise) => promise.catch(() => undefined),
};

function route() {
  let [view, argument = ""] = location.hash.slice(2).split("/").map(decoded);
  view ||= "processes";
  leaving.abort();
  leaving = new AbortController();
  const main = $("main");
  main.replaceChildren();
  $("nav").replaceChildren(...VIEWS.filter(([, , shown]) => shown(node.hello)).map(([name, title]) =>
    h("a", { href: `#/${name}`, "aria-current": name === view || (view === "process" && name === "processes") ? "page" : null }, title)));
  const signal = leaving.signal;
  const shown = new Map([
    ["packages", showPackages], ["tokens", showTokens], ["keys", showKeys], ["log", showLog],
    ["process", (...rest) => showProcess(...rest, argument)],
  ]).get(view) ?? ((...rest) => new Processes(...rest));
  document.title = `${view === "process" ? argument.split(":")[0] : (VIEWS.find(([name]) => name === view) ?? VIEWS[0])[1]} – ${node.hello.node}`;
  scrollTo(0, 0);
  shown(app, main, signal);
}

function decoded(text) { try { return decodeURIComponent(text); } catch { return text; } }

function login(reason) {
  leaving.abort();
  $("bar").hidden = $("lost").hidden = true;
  document.title = "Log in – Guesthouse";
  const key = h("input", { id: "key", type: "password", autocomplete: "off", required: true, spellcheck: "false", placeholder: "ghk_…" });
  const form = h("form", { class: "login card", onsubmit: (event) => {
    event.preventDefault();
    stored.key = key.value.trim();
    node.connect({ key: stored.key });
  } },
  h("img", { src: "icon.svg", alt: "", width: 40, height: 40 }), h("h1", {}, "Guesthouse"),
  reason ? h("p", { class: "problem", role: "alert" }, clean(reason)) : null,
  h("label", { for: "key" }, "API key"), key, h("button", { class: "main" }, "Log in"),
  h("p", { class: "hint" }, "Or run ", h("code", {}, "guesthouse dashboard"), " on the node’s machine, and open the link that it prints."));
  $("main").replaceChildren(form);
  key.focus();
}

function entered(hello) {
  setText($("node"), hello.node);
  setText($("who"), `${hello.name} · ${{ read: "read only", push: "push", admin: "admin" }[hello.role]}`);
  $("who").title = hello.expires ? `until ${new Date(1000 * hello.expires).toLocaleString("en-GB")}` : "";
  $("bar").hidden = false;
  $("lost").hidden = true;
  samples.forget();
  watch();
  route();
}

// A tab that nobody sees costs the node nothing.
function watch() {
  app.quietly(node.ask(document.hidden ? "leave" : "watch"));
}

document.addEventListener("visibilitychange", watch);
node.on("hello", entered);
node.on("lost", ({ over, reason }) => {
  $("dialog").close();
  if (over) login(reason || "The connection was closed");
  else { setText($("lost"), "The connection to the node was lost. Trying again …"); $("lost").hidden = false; }
});
node.on("processes", (told) => {
  const failed = told.processes.filter((row) => row.state === "failed").length;
  const text = told.reasons.length ? `not ready: ${told.reasons.join(", ")}` : failed ? `${failed} failed` : "ready";
  setText($("health"), text);
  $("health").className = `pill ${told.reasons.length || failed ? "bad" : "good"}`;
  samples.add(told);
});
$("leave").addEventListener("click", () => { node.leave(); login(""); });
$("skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
addEventListener("hashchange", () => { if (node.hello) route(); });
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    const filter = document.querySelector("input[type=search]");
    if (filter) { event.preventDefault(); filter.focus(); }
  }
});

// A link’s ticket comes after the #, which no server sees, and stays in no history.
const ticket = location.hash.slice(1);
if (ticket && !ticket.startsWith("/")) {
  history.replaceState(null, "", location.pathname);
  node.connect({ ticket });
} else if (stored.key) node.connect({ key: stored.key });
else login("");
