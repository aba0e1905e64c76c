// An echo server by the contract's own WIT, with no SDK. `!` and a name asks for something else than an echo.
import { getBlob, getBlobText, receive } from "guesthouse:process/messaging@0.1.0";
import { bindWsPath, sendWsPush, sendWsText } from "guesthouse:process/http-server@0.1.0";
import { getState, print, setState } from "guesthouse:process/system@0.1.0";

const PLAIN = { authenticated: false, secure: false, extension: false, subprotocols: [] };
let opened = 0;

const asked = {
  "!opened": () => String(opened),
  "!time": () => String(Date.now()),
  "!random": () => String(Math.random()),
  "!log": () => (globalThis.console?.log("through the console"), print("warning", "through the contract"), "logged"),
  "!keep": () => (setState(new Uint8Array([1, 2, 255])), "kept"),
  "!kept": () => JSON.stringify(Array.from(getState() ?? [])),
  "!throw": () => { throw new Error("thrown on purpose"); },
};

function push({ channelId, messageType }, our) {
  if (messageType !== "text") {
    sendWsPush(our.node, channelId, messageType, getBlob());
    return;
  }
  const text = getBlobText();
  sendWsText(channelId, text in asked ? asked[text]() : text);
}

function take(message, our) {
  if (message.tag !== "http-server") return;
  const event = message.val;
  if (event.tag === "web-socket-open") opened += 1;
  if (event.tag === "web-socket-push") push(event.val, our);
}

export const guest = {
  run(our) {
    bindWsPath("/", PLAIN);
    for (;;) take(receive(), our);
  },
};
