// Shows what the process says. `?with=NODE` names the other node.
import { connect } from "/guesthouse.js";

const at = (id) => document.getElementById(id);
const channel = connect({ path: "/" });
const other = new URLSearchParams(location.search).get("with");

channel.addEventListener("message", ({ data }) => {
  const message = JSON.parse(data);
  if (message.type === "people") show(message);
  else problem(message.error);
});
channel.addEventListener("state", ({ detail: state }) => {
  at("state").textContent = state === "open" ? `Connected to ${location.host}` : "Reconnecting…";
  if (state !== "open") return;
  if (other) channel.sendJson({ type: "meet", node: other });
  takeName();
});

function show({ here, there }) {
  list("here", here.node, here.names);
  list("there", there ? there.node : "no other node yet", there ? there.names : []);
  at("meet-form").hidden = there !== null;
}

function list(id, node, names) {
  at(`${id}-node`).textContent = node;
  const lines = names === null ? ["cannot be reached"] : names.length ? names : ["nobody"];
  const items = lines.map((line) => Object.assign(document.createElement("li"), { textContent: line }));
  at(id).classList.toggle("away", !names?.length);
  at(id).replaceChildren(...items);
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

function takeName() {
  const name = at("name").value.trim();
  localStorage.setItem("duo-name", name);
  problem("");
  if (name && channel.state === "open") channel.sendJson({ type: "name", name });
}

at("name").value = localStorage.getItem("duo-name") ?? "";
at("name").addEventListener("change", takeName);
at("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  takeName();
});
at("meet-form").addEventListener("submit", (event) => {
  event.preventDefault();
  problem("");
  channel.sendJson({ type: "meet", node: at("node").value.trim() });
});
