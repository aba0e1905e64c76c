// Shows what the process says and sends it what the person does: see the README for the messages.
import { TokenRefused, connect } from "/guesthouse.js";

const at = (id) => document.getElementById(id);
const STATES = { connecting: "Connecting…", open: "Connected", away: "Reconnecting…", closed: "Not connected" };

const channel = connect();
let myName = "";

channel.addEventListener("state", ({ detail }) => show(detail));
channel.addEventListener("open", () => problem(""));
channel.addEventListener("message", ({ data }) => receive(JSON.parse(data)));
channel.addEventListener("lost", ({ detail }) => {
  const unsent = detail.unconfirmed.map((message) => JSON.parse(message)).filter(({ type }) => type === "say");
  if (unsent.length) problem(`This may not have arrived: ${unsent.map(({ text }) => text).join(" · ")}`);
});
channel.addEventListener("close", ({ detail: error }) => {
  if (error instanceof TokenRefused)
    problem("Your login is no longer valid. ", "Log in again", `/login?redirect=${location.pathname}`);
  else if (error) problem(`The node refused: ${error.message}.`);
});

function receive(message) {
  const take = { welcome, named, said, joined, left, renamed, error: (told) => problem(told.reason) }[message.type];
  if (take) take(message);
}

function welcome(message) {
  named(message);
  people(message.people);
  const kept = localStorage.getItem("chat-name");
  if (kept) myName = kept; // what was said before a reload is one's own
  message.history.forEach(said);
  if (kept && kept !== message.name) channel.sendJson({ type: "name", name: kept });
}

function named(message) {
  myName = message.name;
  if (document.activeElement !== at("name")) at("name").value = myName;
}

function said(message) {
  const key = `message-${message.at}-${message.id}`; // ids begin anew when the process is started again
  if (at(key)) return; // history told again after reconnecting
  const time = new Date(message.at * 1000);
  const stamp = element("time", "", time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  stamp.dateTime = time.toISOString();
  const by = element("div", "by");
  by.append(element("strong", "", message.name), stamp);
  const entry = element("article", message.name === myName ? "message mine" : "message");
  entry.id = key;
  entry.append(by, element("p", "", message.text));
  append(entry);
}

function joined(message) {
  people(message.people);
  append(element("p", "notice", `${message.name} joined`));
}

function left(message) {
  people(message.people);
  append(element("p", "notice", `${message.name} left`));
}

function renamed(message) {
  people(message.people);
  append(element("p", "notice", `${message.before} is now ${message.name}`));
}

function people(names) {
  at("people").textContent = names.length ? names.join(", ") : "Nobody here yet";
}

function append(entry) {
  const log = at("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  at("empty")?.remove();
  log.append(entry);
  while (log.children.length > 500) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function show(state) {
  at("state").dataset.state = state;
  at("state").textContent = STATES[state];
  at("send").disabled = state !== "open";
}

function problem(text, linkText = "", href = "") {
  const box = at("problem");
  box.textContent = text;
  box.hidden = !text;
  if (href) {
    const link = element("a", "", linkText);
    link.href = href;
    box.append(link);
  }
}

at("say-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text || channel.state !== "open") return;
  problem("");
  channel.sendJson({ type: "say", text });
  at("text").value = "";
});

function takeName() {
  const name = at("name").value.trim();
  if (!name || name === myName || channel.state !== "open") return;
  localStorage.setItem("chat-name", name);
  problem("");
  channel.sendJson({ type: "name", name });
}

at("name").addEventListener("change", takeName);
at("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  takeName();
  at("text").focus();
});
