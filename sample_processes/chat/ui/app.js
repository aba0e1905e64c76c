// Shows what the process says and sends it what the person does: see the README for the messages.
"use strict";

const FIRST_DELAY = 500;
const LONGEST_DELAY = 10_000;
const BAD_TOKEN = 4002;
const PASSING = new Set([4001, 4004]); // too slow, or the process is not there: try again

const at = (id) => document.getElementById(id);
const node = window.our.node;
const processId = decodeURIComponent(location.pathname.split("/")[1]);

let socket = null;
let registered = false;
let delay = FIRST_DELAY;
let myName = "";

function cookie(name) {
  const pair = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return pair ? pair.slice(name.length + 1) : "";
}

function connect() {
  show("connecting", "Connecting…");
  registered = false;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/`);
  socket.onopen = () =>
    send({ auth_token: cookie(`kinode-auth_${node}`), target_process: processId, encrypted: false });
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = closed;
}

function closed(event) {
  if (event.code === BAD_TOKEN) {
    show("closed", "Not connected");
    problem("Your login is no longer valid. ", "Log in again", `/login?redirect=${location.pathname}`);
    return;
  }
  if (event.code >= 4000 && !PASSING.has(event.code)) {
    show("closed", "Not connected");
    problem(`The node refused: ${event.reason || event.code}.`);
    return;
  }
  const wait = delay * (0.75 + Math.random() / 2);
  delay = Math.min(delay * 2, LONGEST_DELAY);
  show("closed", "Reconnecting…");
  setTimeout(connect, wait);
}

function receive(message) {
  if (!registered) {
    registered = "channel_id" in message;
    delay = FIRST_DELAY;
    show("open", "Connected");
    problem("");
    return;
  }
  const take = { welcome, named, said, joined, left, renamed, error: (told) => problem(told.reason) }[message.type];
  if (take) take(message);
}

function welcome(message) {
  named(message);
  people(message.people);
  const kept = localStorage.getItem("chat-name");
  if (kept) myName = kept; // what was said before a reload is one's own
  message.history.forEach(said);
  if (kept && kept !== message.name) send({ type: "name", name: kept });
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

function show(state, text) {
  at("state").dataset.state = state;
  at("state").textContent = text;
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

function send(message) {
  socket.send(JSON.stringify(message));
}

at("say-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text || !registered || socket.readyState !== WebSocket.OPEN) return;
  problem("");
  send({ type: "say", text });
  at("text").value = "";
});

function takeName() {
  const name = at("name").value.trim();
  if (!name || name === myName || !registered || socket.readyState !== WebSocket.OPEN) return;
  localStorage.setItem("chat-name", name);
  problem("");
  send({ type: "name", name });
}

at("name").addEventListener("change", takeName);
at("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  takeName();
  at("text").focus();
});

connect();
