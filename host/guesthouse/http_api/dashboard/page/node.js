// The one WebSocket to the node: requests with their answers, and events.

const PLACE = "guesthouse-key";
const NO_ACCESS = [4401, 4429];
export const stored = {
  get key() { return sessionStorage.getItem(PLACE); },
  set key(key) { if (key) sessionStorage.setItem(PLACE, key); else sessionStorage.removeItem(PLACE); },
};

export class Problem extends Error {
  constructor({ code, title, detail }) {
    super(detail ? `${title}: ${detail}` : title);
    this.code = code;
  }
}

export class Node extends EventTarget {
  #socket = null;
  #waiting = new Map();
  #next = 1;
  #pause = 500;
  hello = null;

  connect(login) {
    const url = new URL("socket", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = url.search = "";
    const socket = (this.#socket = new WebSocket(url));
    socket.onopen = () => socket.send(JSON.stringify(login));
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(socket, login, code, reason);
  }

  leave() {
    stored.key = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  ask(what, args = {}) {
    return new Promise((resolve, reject) => {
      if (!this.hello || this.#socket?.readyState !== WebSocket.OPEN) {
        reject(new Problem({ title: "Not connected to the node" }));
        return;
      }
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, do: what, with: args }));
    });
  }

  on(name, act, signal) {
    this.addEventListener(name, ({ detail }) => act(detail), { signal });
  }

  #receive(message) {
    if (message.event) {
      if (message.event === "hello") {
        if (message.key) stored.key = message.key;
        this.hello = message;
        this.#pause = 500;
      }
      this.dispatchEvent(new CustomEvent(message.event, { detail: message }));
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.problem) waiting?.reject(new Problem(message.problem));
    else waiting?.resolve(message.gives);
  }

  #closed(socket, login, code, reason) {
    for (const { reject } of this.#waiting.values()) reject(new Problem({ title: "The connection was lost" }));
    this.#waiting.clear();
    this.hello = null;
    if (socket !== this.#socket) return;
    this.#socket = null;
    const over = NO_ACCESS.includes(code);
    if (code === 4401) stored.key = null;
    this.dispatchEvent(new CustomEvent("lost", { detail: { over: over || !stored.key, reason } }));
    if (over || !stored.key) return;
    setTimeout(() => { if (!this.#socket && stored.key) this.connect({ key: stored.key }); }, this.#pause);
    this.#pause = Math.min(10000, 2 * this.#pause);
  }
}
