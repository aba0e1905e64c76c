// Opens a channel on the bound path `/` of its process: the cookie says who asks.
"use strict";

const at = (id) => document.getElementById(id);
const processId = location.pathname.split("/")[1];
let socket = null;
let delay = 500;

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/${processId}/`);
  socket.onopen = () => {
    delay = 500;
    show(true, `Connected to ${window.our.node}`);
  };
  socket.onmessage = (event) => (at("count").textContent = event.data);
  socket.onclose = () => {
    show(false, "Reconnecting…");
    setTimeout(connect, delay * (0.75 + Math.random() / 2));
    delay = Math.min(delay * 2, 10_000);
  };
}

function show(open, text) {
  at("up").disabled = at("down").disabled = !open;
  at("state").textContent = text;
}

at("up").addEventListener("click", () => socket.send("+"));
at("down").addEventListener("click", () => socket.send("-"));
connect();
