// Opens a channel on the bound path `/` of its process: the cookie says who asks.
import { connect } from "/guesthouse.js";

const at = (id) => document.getElementById(id);
const channel = connect({ path: "/" });

channel.addEventListener("message", ({ data }) => (at("count").textContent = data));
channel.addEventListener("state", ({ detail: state }) => {
  at("up").disabled = at("down").disabled = state !== "open";
  at("state").textContent = state === "open" ? `Connected to ${location.host}` : "Reconnecting…";
});
at("up").addEventListener("click", () => channel.send("+"));
at("down").addEventListener("click", () => channel.send("-"));
