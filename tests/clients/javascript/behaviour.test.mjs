// What docs/clients.md says of the client, against a node that the environment names: run by `node --test`.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, afterEach, beforeEach, test } from "node:test";
import * as client from "../../../clients/javascript/guesthouse.js";
import { Relay } from "./relay.mjs";

const { PORT, TOKEN, OTHER_TOKEN, ECHO, COUNTER, COOKIE } = process.env;
const QUICK = { firstDelay: 5, longestDelay: 20, connectTimeout: 5000 };
const utf8 = (text) => new TextEncoder().encode(text);

let relay;
const open = [];
beforeEach(async () => (relay = await Relay.start(Number(PORT))));
afterEach(async () => {
  for (const channel of open.splice(0)) await channel.close();
  relay.stop();
});

function connect(options = {}) {
  const channel = client.connect({ url: relay.url, process: ECHO, token: TOKEN, ...QUICK, ...options });
  channel.seen = [];
  for (const type of ["state", "open", "lost", "error", "close"])
    channel.addEventListener(type, ({ detail }) => channel.seen.push([type, detail]));
  channel.told = (type) => channel.seen.filter(([told]) => told === type).map(([, detail]) => detail);
  channel.incoming = channel[Symbol.asyncIterator]();
  channel.next = async () => (await channel.incoming.next()).value;
  open.push(channel);
  return channel;
}

/** A class of sockets that notes what they say and hear. */
function recording(notes) {
  return class extends WebSocket {
    send(data) {
      notes.sent.push(data);
      super.send(data);
    }
    set onmessage(does) {
      super.onmessage = does && ((event) => (notes.heard.push(event.data), does(event)));
    }
  };
}
const controls = (notes) => notes.filter((note) => note[0] === "\x10" && note[1] === "{").map((note) => JSON.parse(note.slice(1)));

test("text, bytes and JSON come back as they were sent", async () => {
  const channel = connect();
  assert.equal(channel.state, "connecting");
  await channel.ready;
  assert.deepEqual([channel.state, channel.resumable, channel.subprotocol], ["open", true, ""]);
  assert.equal(typeof channel.channelId, "number");
  const bytes = new Uint8Array([0, 255, 16]);
  const all = ["héllo 🌍", "", "\x10{}", "\x10\x10", bytes, bytes.buffer, new DataView(bytes.buffer, 1, 2)];
  for (const message of all) channel.send(message);
  await channel.sendJson({ a: [1, null] });
  for (const message of all.slice(0, 4)) assert.equal(await channel.next(), message);
  for (const expected of [bytes, bytes, bytes.subarray(1)]) assert.deepEqual(await channel.next(), expected);
  assert.equal(await channel.next(), '{"a":[1,null]}');
  await channel.flush();
  assert.equal(channel.queuedBytes, 0);
  assert.equal(await channel.close().then(() => channel.closed), undefined);
  assert.equal(channel.state, "closed");
  assert.deepEqual(await channel.incoming.next(), { value: undefined, done: true });
  await assert.rejects(channel.send("late"), client.ChannelClosed);
});

test("bytes that are changed after they were sent arrive as they were", async () => {
  const channel = connect();
  const bytes = utf8("abc");
  channel.send(bytes);
  bytes.fill(0);
  assert.deepEqual(await channel.next(), utf8("abc"));
});

test("messages wait for the first who takes them: a listener, or a loop", async () => {
  const channel = connect();
  await channel.send("1");
  await channel.send("2");
  await channel.flush();
  const got = [];
  const both = new Promise((done) =>
    channel.addEventListener("message", ({ data }) => got.push(data) === 2 && done()),
  );
  await both;
  assert.deepEqual(got, ["1", "2"]);
});

test("nothing is acknowledged that nobody took", async () => {
  const notes = { sent: [], heard: [] };
  const channel = connect({ WebSocket: recording(notes) });
  for (let number = 0; number < 200; number++) await channel.send(`${number}`);
  await channel.flush();
  const acknowledged = () => controls(notes.sent).flatMap(({ type, received }) => (type === "ack" ? [received] : []));
  assert.deepEqual(acknowledged(), []);
  for (let number = 0; number < 200; number++) assert.equal(await channel.next(), `${number}`);
  assert.deepEqual(acknowledged(), [64, 128, 192]);
});

test("a plain channel ends with its socket, and says what is lost", async () => {
  const channel = connect({ resumable: false });
  await channel.ready;
  assert.deepEqual([channel.resumable, relay.accepted], [false, 1]);
  await channel.send("\x10plain");
  assert.equal(await channel.next(), "\x10plain");
  relay.cut();
  const [{ detail }] = await once(channel, "lost");
  assert.deepEqual(detail, { received: undefined, dropped: 0, unconfirmed: [] });
  await channel.send("again");
  assert.equal(await channel.next(), "again");
});

test("a bound path needs no token, and headers are given by the class of sockets", async () => {
  const channel = connect({
    process: COUNTER,
    path: "/",
    token: undefined,
    WebSocket: class extends WebSocket {
      constructor(url, protocols) {
        super(url, { protocols, headers: { cookie: COOKIE } });
      }
    },
  });
  const count = Number(await channel.next());
  relay.cut();
  await channel.send("+");
  assert.equal(Number(await channel.next()), count + 1);
});

test("a token is asked for before each connection, and once more when it was refused", async () => {
  const asked = [];
  const channel = connect({
    token: async (question) => {
      asked.push(question.rejected);
      return asked.length === 1 ? "wrong" : TOKEN;
    },
  });
  await channel.ready;
  assert.deepEqual(asked, [false, true]);
  relay.cut();
  await once(channel, "state");
  await channel.send("x");
  assert.equal(await channel.next(), "x");
  assert.deepEqual(asked, [false, true, false]);
});

for (const [name, token] of [
  ["a fixed one", "wrong"],
  ["two in a row", () => "wrong"],
  ["none", () => null],
])
  test(`a refused token ends the channel: ${name}`, async () => {
    const channel = connect({ token });
    await assert.rejects(channel.ready, client.TokenRefused);
    assert.equal((await channel.closed).name, "TokenRefused");
    await assert.rejects(channel.incoming.next(), client.TokenRefused);
  });

test("a process that is not there ends a channel that was never open", async () => {
  const channel = connect({ process: "none:none:none.os" });
  const error = await channel.closed;
  assert.deepEqual([error instanceof client.ChannelRefused, error.code], [true, 4004]);
});

test("a full queue throws, drops, or waits", async () => {
  relay.refusing = true;
  const queueBytes = 3 * (64 + 1);
  const [throws, drops, waits] = ["error", "drop-oldest", "wait"].map((queuePolicy) => connect({ queueBytes, queuePolicy }));
  for (const channel of [throws, drops, waits]) for (const text of "abc") await channel.send(text);
  await assert.rejects(throws.send("d"), client.QueueFull);
  for (const text of "de") await drops.send(text);
  let accepted = false;
  const room = waits.send("d").then(() => (accepted = true));
  waits.send("e");
  await new Promise(setImmediate);
  assert.deepEqual([accepted, waits.queuedBytes], [false, queueBytes]);
  relay.refusing = false;
  await room;
  const take = async (channel, count) => {
    const got = [];
    while (got.length < count) got.push(await channel.next());
    return got.join("");
  };
  assert.deepEqual([await take(throws, 3), await take(drops, 3), await take(waits, 5)], ["abc", "cde", "abcde"]);
  assert.deepEqual(drops.told("lost"), [{ received: 0, dropped: 2, unconfirmed: [] }]);
});

test("what was dropped while the client was away is told to the node, and the count goes on", async () => {
  const channel = connect({ queueBytes: 3 * 65, queuePolicy: "drop-oldest" });
  await channel.send("0");
  assert.equal(await channel.next(), "0");
  await channel.flush();
  relay.refusing = true;
  relay.cut();
  await once(channel, "state");
  for (const text of "abcdefg") await channel.send(text);
  relay.refusing = false;
  for (const text of "efg") assert.equal(await channel.next(), text);
  assert.deepEqual(channel.told("lost"), [{ received: 0, dropped: 4, unconfirmed: [] }]);
  await channel.send("h");
  assert.equal(await channel.next(), "h");
  await channel.flush();
  assert.deepEqual(channel.told("open").length, 1);
});

test("a message that the node would refuse is refused here", async () => {
  const channel = connect();
  await channel.ready;
  await assert.rejects(channel.send(new Uint8Array(2 ** 20 + 1)), client.MessageTooBig);
  await assert.rejects(channel.send("é".repeat(2 ** 19) + "x"), client.MessageTooBig);
  await channel.send("\x10" + "🌍".repeat(2 ** 18 - 1) + "abc");
  assert.equal((await channel.next()).length, 2 ** 19 - 2 + 4);
});

test("requests are answered by number, in any order, and time out", async () => {
  const channel = connect();
  const first = channel.request({ of: 1 });
  const second = channel.request("two");
  assert.equal(await channel.next(), '{"request":1,"body":{"of":1}}');
  assert.equal(await channel.next(), '{"request":2,"body":"two"}');
  // The echo answers as it is told to.
  await channel.send('{"response":2,"error":"no such thing"}');
  await channel.send('{"response":1,"body":["one"]}');
  await assert.rejects(second, (error) => error instanceof client.RequestFailed && error.message === "no such thing");
  assert.deepEqual(await first, ["one"]);
  await assert.rejects(channel.request("late", { timeout: 1 }), client.RequestTimedOut);
  await channel.send('{"response":3,"body":1}'); // nobody's any more
  const stop = new AbortController();
  const stopped = channel.request("never", { signal: stop.signal });
  stop.abort(new Error("changed my mind"));
  await assert.rejects(stopped, /changed my mind/);
  await channel.send('{"response": 9}');
  const rest = [await channel.next(), await channel.next(), await channel.next()];
  assert.deepEqual(rest, ['{"request":3,"body":"late"}', '{"request":4,"body":"never"}', '{"response": 9}']);
});

test("requests outlive a cut", async () => {
  const channel = connect();
  const answer = channel.request("slow");
  await channel.next();
  relay.cut();
  await once(channel, "state");
  await channel.send('{"response":1,"body":7}');
  assert.equal(await answer, 7);
});

test("a silent connection is given up and another taken", async () => {
  const channel = connect({ pingAfter: 30, pongTimeout: 300 });
  await channel.send("before");
  assert.equal(await channel.next(), "before");
  relay.stall();
  channel.send("into the void");
  assert.equal(await channel.next(), "into the void");
  assert.deepEqual(channel.told("state"), ["open", "away", "open"]);
  assert.equal(channel.told("error")[0].message, "no sign of life (1006)");
});

test("who loses the session to another socket is told, and does not fight for it", async () => {
  const notes = { sent: [], heard: [] };
  const channel = connect({ WebSocket: recording(notes) });
  await channel.ready;
  const { session } = controls(notes.heard).find(({ type }) => type === "opened");
  const thief = new WebSocket(relay.url, ["guesthouse.v1"]);
  await once(thief, "open");
  thief.send(`\x10${JSON.stringify({ type: "resume", session, received: 0, auth_token: TOKEN })}`);
  const error = await channel.closed;
  assert.deepEqual([error instanceof client.SessionTaken, error.code], [true, 4011]);
  thief.close();
  await once(thief, "close");
});

test("a session that ended while the client was away is lost, and another opens", async () => {
  const notes = { sent: [], heard: [] };
  const channel = connect({ WebSocket: recording(notes) });
  await channel.ready;
  const { session } = controls(notes.heard).find(({ type }) => type === "opened");
  relay.refusing = true;
  relay.cut();
  await once(channel, "state");
  const pending = channel.request("pending");
  const other = new WebSocket(`ws://127.0.0.1:${PORT}`, ["guesthouse.v1"]);
  await once(other, "open");
  other.send(`\x10${JSON.stringify({ type: "resume", session, received: 0, auth_token: TOKEN })}`);
  await once(other, "message");
  other.close(1000);
  await once(other, "close");
  relay.refusing = false;
  await assert.rejects(pending, client.SessionLost);
  assert.deepEqual(channel.told("lost"), [{ received: undefined, dropped: 0, unconfirmed: [] }]);
  assert.equal(await channel.next(), '{"request":1,"body":"pending"}'); // it had not been sent before
  assert.equal(channel.told("open").length, 2);
});

test("a session belongs to another token when it is shown, and to the old one when that is wrong", async () => {
  const channel = connect({ token: () => token });
  let token = TOKEN;
  await channel.ready;
  await assert.rejects(channel.renewToken("wrong"), client.TokenRefused);
  token = OTHER_TOKEN;
  assert.ok((await channel.renewToken()) > Date.now() / 1000);
  relay.cut();
  await channel.send("mine still");
  assert.equal(await channel.next(), "mine still");
  assert.deepEqual(channel.told("lost"), []);
});

test("closing waits for what was sent", async () => {
  const channel = connect();
  await channel.ready;
  const last = "x".repeat(500_000);
  for (let number = 0; number < 5; number++) channel.send(last);
  const flushed = channel.flush();
  await channel.close(4321, "enough");
  await flushed;
  await assert.rejects(async () => channel.close(4100), TypeError);
});

test("options that make no sense are refused at once", () => {
  assert.throws(() => client.connect({ url: "ws://127.0.0.1", process: "a", path: "/", encrypted: true }), TypeError);
  assert.throws(() => client.connect({}), TypeError);
});

after(() => setTimeout(() => process.exit(9), 5000).unref()); // nothing keeps Node from ending
