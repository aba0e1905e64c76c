// What the client does when the node, the network or its own program are wrong: with sockets of the test's own.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import * as client from "../../../clients/javascript/guesthouse.js";

const OPENED = {
  channel_id: 1,
  session: "k".repeat(64),
  resume_seconds: 60,
  message_bytes: 100_000,
  ack: { messages: 64, bytes: 524_288, seconds: 5 },
};
const channels = [];
const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(error));
afterEach(async () => {
  for (const { sockets, channel } of channels.splice(0)) {
    sockets.forEach((socket) => socket.end(1000));
    await channel.close();
  }
  await turn();
  assert.deepEqual(unhandled.splice(0), []);
});

const turn = () => new Promise(setImmediate);
async function until(is) {
  let found;
  while (!(found = is())) await turn();
  return found;
}

/** A class of sockets, whose other end is the test. */
function socketsOfATest() {
  return class Socket {
    static made = [];
    bufferedAmount = 0;
    protocol = "";
    sent = [];
    constructor(url, offers) {
      Object.assign(this, { url, offers });
      Socket.made.push(this);
    }
    send(data) {
      this.sent.push(data);
    }
    close(code, reason) {
      this.closedWith = [code, reason];
      queueMicrotask(() => this.onclose?.({ code, reason }));
    }
    open(protocol = "guesthouse.v1") {
      this.protocol = protocol;
      this.onopen?.({});
    }
    hear(data) {
      this.onmessage?.({ data });
    }
    say(type, fields) {
      this.hear(`\x10${JSON.stringify({ type, ...fields })}`);
    }
    opened(fields) {
      this.open();
      this.say("opened", { ...OPENED, ...fields });
    }
    end(code, reason = "") {
      this.onclose?.({ code, reason });
    }
    get controls() {
      return this.sent.filter((data) => data[0] === "\x10").map((data) => JSON.parse(data.slice(1)));
    }
    get payloads() {
      return this.sent.filter((data) => data[0] !== "\x10");
    }
  };
}

function connect(options = {}) {
  const Socket = socketsOfATest();
  const channel = client.connect({
    url: "http://node",
    process: "a:b:c",
    token: "t",
    firstDelay: 1,
    longestDelay: 1,
    WebSocket: Socket,
    ...options,
  });
  const seen = [];
  for (const type of ["state", "open", "lost", "error", "close"])
    channel.addEventListener(type, ({ detail }) => seen.push([type, detail]));
  const told = (type) => seen.filter(([one]) => one === type).map(([, detail]) => detail);
  const socket = (number) => until(() => Socket.made[number]);
  channels.push({ channel, sockets: Socket.made });
  return { channel, told, socket, sockets: Socket.made };
}

async function opened(options, fields) {
  const all = connect(options);
  const first = await all.socket(0);
  first.opened(fields);
  await all.channel.ready;
  return { ...all, first };
}

test("an attempt that fails by `error` alone is over at once, and one by `error` and `close` fails once", async () => {
  const { channel, told, socket, sockets } = connect({ connectTimeout: Infinity });
  const first = await socket(0);
  const { onclose } = first;
  first.onerror({});
  onclose({ code: 1006, reason: "" });
  const second = await socket(1);
  assert.deepEqual([told("error").length, sockets.length], [1, 2]);
  assert.deepEqual([told("error")[0].name, told("error")[0].code], ["ConnectionLost", 1006]);
  second.opened();
  second.onerror({}); // its `close` says more
  assert.equal(channel.state, "open");
});

test("an abnormal end without a code is one with 1006: the session goes on", async () => {
  const { channel, first, told, socket } = await opened();
  first.end(0);
  assert.deepEqual([channel.state, told("error")[0].code], ["away", 1006]);
  const second = await socket(1);
  second.open();
  assert.equal(second.controls[0].type, "resume");
});

for (const text of [
  "null", "[]", "7", "{nope", "", "x", '"ack"', "{}", '{"type":7}', '{"type":null}',
  ...[0, -5, 1.5, '"3"', "null", "1e400", 2 ** 53].map((count) => `{"type":"lost","count":${count}}`),
  '{"type":"lost"}',
  ...[-1, 99, '"x"', "null", 0.5, "1e400"].map((received) => `{"type":"ack","received":${received}}`),
  '{"type":"ack"}', '{"type":"pong"}', '{"type":"token","expiration":5}', '{"type":"token"}',
  JSON.stringify({ type: "opened", ...OPENED }), JSON.stringify({ type: "resumed", ...OPENED, received: 0 }),
])
  test(`a control message that cannot be ends the channel: ${text.slice(0, 50)}`, async () => {
    const { channel, first } = await opened();
    first.hear(`\x10${text}`);
    const error = await channel.closed;
    assert.deepEqual([error?.name, error.retry, first.closedWith[0]], ["ProtocolViolated", "never", 4009]);
    assert.match(error.message, /^the node broke guesthouse\.v1: /);
    await assert.rejects(channel[Symbol.asyncIterator]().next(), client.ProtocolViolated);
  });

test("more messages lost than can be counted end the channel; unknown types do not", async () => {
  const { channel, first, told } = await opened();
  first.say("__proto__", { any: { thing: [] } });
  first.say("lost", { count: 2 ** 53 - 1 });
  assert.deepEqual(told("lost"), [{ received: 2 ** 53 - 1, dropped: 0, unconfirmed: [] }]);
  first.say("lost", { count: 1 });
  assert.equal((await channel.closed).name, "ProtocolViolated");
});

for (const [name, say] of [
  ["none of its fields", (socket) => socket.say("opened")],
  ...["channel_id", "session", "message_bytes", "ack"].map((field) => [
    `no ${field}`,
    (socket) => socket.opened({ [field]: undefined }),
  ]),
  ["null for a session", (socket) => socket.opened({ session: null })],
  ["a negative limit", (socket) => socket.opened({ message_bytes: -1 })],
  ...[{ messages: 0 }, { bytes: 0 }, { messages: "x" }, { bytes: null }, { seconds: -1 }, { seconds: "x" }].map((wrong) => [
    `ack ${JSON.stringify(wrong)}`,
    (socket) => socket.opened({ ack: { ...OPENED.ack, ...wrong } }),
  ]),
  ["a text message", (socket) => socket.hear("hello")],
  ["an escaped message", (socket) => socket.hear("\x10\x10")],
  ["bytes", (socket) => socket.hear(new ArrayBuffer(2))],
  ["an ack", (socket) => socket.say("ack", { received: 0 })],
  ["resumed", (socket) => socket.say("resumed", { ...OPENED, received: 0 })],
])
  test(`an answer to \`open\` that cannot be ends the channel: ${name}`, async () => {
    const { channel, socket } = connect();
    const first = await socket(0);
    first.open();
    say(first);
    const error = await channel.closed;
    assert.equal(error?.name, "ProtocolViolated");
    assert.ok(!error.message.includes("kkkk"), "the key of a session is a secret");
  });

for (const [name, fields] of [["a higher count", { received: 5 }], ["none", {}], ["no key", { received: 0, session: 1 }]])
  test(`an answer to \`resume\` that cannot be ends the channel: ${name}`, async () => {
    const { channel, first, socket } = await opened();
    first.end(1006);
    const second = await socket(1);
    second.open();
    second.say("resumed", { ...OPENED, ...fields });
    assert.equal((await channel.closed)?.name, "ProtocolViolated");
  });

for (const answer of ["hello", "null", "{}", '{"channel_id":"x"}', new ArrayBuffer(1)])
  test(`an answer to a plain register message that cannot be ends the channel: ${answer}`, async () => {
    const { channel, socket } = connect();
    const first = await socket(0);
    first.open("");
    first.hear(answer);
    assert.equal((await channel.closed)?.name, "ProtocolViolated");
  });

test("closing before the channel is open sends what waits, and ends when the node knows", async () => {
  const { channel, socket, told } = connect();
  channel.send("hello");
  const closed = channel.close(4321, "done");
  const again = channel.close();
  await assert.rejects(channel.send("late"), client.ChannelClosed);
  const first = await socket(0);
  first.opened();
  assert.deepEqual(first.payloads, ["hello"]);
  await turn();
  assert.equal(first.closedWith, undefined);
  first.say("pong", { received: 1 });
  await closed;
  await again;
  assert.deepEqual([first.closedWith, told("lost"), await channel.closed], [[4321, "done"], [], undefined]);
});

test("closing while away comes back, sends what waits and what was not acknowledged, and closes", async () => {
  const { channel, first, socket, told } = await opened();
  channel.send("1");
  first.end(1006);
  channel.send("2");
  const closed = channel.close();
  const second = await socket(1);
  second.open();
  second.say("resumed", { ...OPENED, received: 0 });
  assert.deepEqual(second.payloads, ["1", "2"]);
  second.say("pong", { received: 2 });
  await closed;
  assert.deepEqual([second.closedWith[0], told("lost")], [1000, []]);
});

test("closing while away with nothing to send tells the node, too", async () => {
  const { channel, first, socket } = await opened();
  first.end(1006);
  const closed = channel.close();
  const second = await socket(1);
  second.open();
  assert.equal(second.closedWith, undefined);
  second.say("resumed", { ...OPENED, received: 0 });
  await closed;
  assert.deepEqual(second.closedWith, [1000, ""]);
});

test("what could not be sent before the time was over is told", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { channel, first, told } = await opened();
  channel.send("sent");
  const flushed = channel.flush();
  first.end(1006);
  channel.send("never");
  channel.send("never");
  const closed = channel.close();
  await turn();
  assert.deepEqual(told("lost"), []);
  context.mock.timers.tick(5000);
  await closed;
  assert.deepEqual(told("lost"), [{ received: 0, dropped: 2, unconfirmed: ["sent"] }]);
  assert.deepEqual([channel.dropped, channel.state], [2, "closed"]);
  await assert.rejects(flushed, client.ChannelClosed);
});

test("closing what has nothing to send and no channel is done at once", async () => {
  const { channel, sockets } = connect();
  await channel.close();
  assert.equal(channel.state, "closed");
  assert.ok(sockets.every(({ closedWith }) => closedWith));
});

test("a message over the limit that was sent too early is rejected, and the channel goes on", async () => {
  const { channel, socket, told } = connect();
  const results = [];
  const small = "s";
  for (const message of ["first", "x".repeat(100_001), small, "y".repeat(99_999)])
    channel.send(message).then(
      () => results.push(message[0]),
      (error) => results.push(error.name),
    );
  await turn();
  assert.deepEqual(results, ["f", "s"]);
  const first = await socket(0);
  first.opened();
  await turn();
  assert.deepEqual(results.slice(2).sort(), ["MessageTooBig", "y"]);
  assert.deepEqual(first.payloads.map((text) => text[0]), ["f", "s", "y"]);
  assert.deepEqual([told("lost"), channel.state], [[{ received: 0, dropped: 1, unconfirmed: [] }], "open"]);
  first.say("ack", { received: 3 });
  assert.deepEqual([channel.queuedBytes, channel.state], [0, "open"]);
});

test("bad reception alone makes no channel plain: each attempt offers guesthouse.v1", async () => {
  const { channel, socket, sockets, told } = connect({ subprotocols: ["own"] });
  for (let number = 0; number < 6; number++) (await socket(number)).onerror({});
  const plain = await socket(6);
  assert.deepEqual([...new Set(sockets.map(({ offers }) => offers.join()))], ["own,guesthouse.v1"]);
  plain.open("own"); // this node does not know it
  plain.hear('{"channel_id":7}');
  await channel.ready;
  assert.deepEqual(told("open"), [{ channelId: 7, resumable: false, subprotocol: "own" }]);
});

test("a channel that must be resumable is refused by a node that has none", async () => {
  const { channel, socket } = connect({ resumable: true });
  const first = await socket(0);
  first.open("");
  const error = await channel.closed;
  assert.deepEqual([error.name, error.message], ["ChannelRefused", "the node has no guesthouse.v1"]);
  assert.deepEqual(first.sent, []);
});

test("a plain channel is to be had without the offer", async () => {
  const { channel, socket } = connect({ resumable: false });
  const first = await socket(0);
  assert.deepEqual(first.offers, []);
  first.open("");
  first.hear('{"channel_id":7}');
  await channel.ready;
  assert.equal(channel.resumable, false);
});

for (const given of [[1001], [4100], [2999], [5000], [99], [3000.5], ["x"], [1000, "r".repeat(124)], [1000, "é".repeat(62)]])
  test(`close(${given.map((one) => `${one}`.slice(0, 5))}) is refused, and the channel is as before`, async () => {
    const { channel, first } = await opened();
    await assert.rejects(channel.close(...given), TypeError);
    await channel.send("still here");
    assert.deepEqual([channel.state, first.payloads], ["open", ["still here"]]);
    const closed = channel.close(3000, "r".repeat(123));
    await turn();
    first.say("pong", { received: 1 });
    await closed;
    assert.deepEqual(first.closedWith, [3000, "r".repeat(123)]);
  });

test("only messages are sent: all else is a TypeError", async () => {
  const { channel, first } = await opened();
  for (const none of [5, null, undefined, {}, [1], true, new Date(0), Symbol("x"), new Blob([])])
    await assert.rejects(channel.send(none), TypeError);
  for (const none of [undefined, () => {}, 1n]) await assert.rejects(channel.sendJson(none), TypeError);
  await channel.send(new Uint16Array([1]));
  assert.deepEqual(first.payloads, [new Uint8Array([1, 0])]);
});

test("a text that is no Unicode counts as it is sent", async () => {
  const { channel } = await opened({}, { message_bytes: 3 });
  await channel.send("\ud800");
  await assert.rejects(channel.send("\ud800x"), client.MessageTooBig);
});

test("a send whose result nobody awaits fails silently", async () => {
  const { channel, first } = await opened({ queuePolicy: "error", queueBytes: 1 });
  channel.send("a");
  channel.send("b");
  channel.send(7);
  channel.sendJson(undefined);
  channel.flush();
  await turn();
  await turn();
  first.end(4009);
  assert.equal(channel.state, "closed");
});

test("a node on which nothing is of use is asked less and less often", async () => {
  const real = globalThis.setTimeout;
  const delays = [];
  globalThis.setTimeout = (does, delay) => {
    if (delay % 1 || delay === 0) delays.push(delay); // those by chance are pauses
    return real(does, delay > 100_000 ? 2 ** 30 : 0);
  };
  try {
    const never = { connectTimeout: 1_000_000, pingAfter: 1_000_000 };
    const { socket } = connect({ firstDelay: 100.5, longestDelay: 60_000.5, ...never });
    for (let number = 0; number < 16; number++) {
      const next = await socket(number);
      next.open();
      if (next.controls[0].type === "resume") next.end(4008);
      else {
        next.say("opened", OPENED);
        next.end(1011, "no pong within the deadline");
      }
    }
    assert.ok(delays.at(-1) >= 30_000, delays.join());
    assert.ok(delays.filter((delay) => delay < 50).length <= 2, delays.join());
  } finally {
    globalThis.setTimeout = real;
  }
});

test("nor is a node that resumes the session and drops it each time asked without a pause", async () => {
  const real = globalThis.setTimeout;
  const delays = [];
  globalThis.setTimeout = (does, delay) => {
    if (delay % 1 || delay === 0) delays.push(delay); // those by chance are pauses
    return real(does, delay > 100_000 ? 2 ** 30 : 0);
  };
  try {
    const never = { connectTimeout: 1_000_000, pingAfter: 1_000_000 };
    const { channel, first, socket } = await opened({ firstDelay: 100.5, longestDelay: 60_000.5, ...never });
    channel.send("x");
    first.say("ack", { received: 1 });
    first.end(1006);
    for (let number = 1; number < 12; number++) {
      const next = await socket(number);
      next.open();
      next.say("resumed", { ...OPENED, received: 1 });
      next.end(1006);
    }
    assert.ok(delays.at(-1) >= 30_000, delays.join());
    assert.ok(delays.filter((delay) => delay < 50).length <= 1, delays.join());
  } finally {
    globalThis.setTimeout = real;
  }
});

test("a session that was of use and is lost is replaced at once", async () => {
  const { channel, first, socket } = await opened({ firstDelay: 1_000_000, longestDelay: 1_000_000 });
  channel.send("x");
  first.say("ack", { received: 1 });
  first.end(1006);
  const second = await socket(1);
  second.open();
  second.end(4008);
  const third = await socket(2);
  third.opened();
  assert.equal(channel.state, "open");
});

const page = "http://node";
for (const [name, options] of [
  ["no WebSocket", { WebSocket: undefined }],
  ["a URL of another kind", { url: "ftp://node" }],
  ["no process", { process: "" }],
  ["a policy that is none", { queuePolicy: "dropoldest" }],
  ["a token for a path", { path: "/x" }],
])
  test(`options that make no sense are refused at once: ${name}`, () => {
    const url = options.url ?? page;
    const WebSocket = socketsOfATest();
    assert.throws(() => client.connect({ process: "a:b:c", token: "t", WebSocket, ...options, url }), TypeError);
  });

test("a socket that cannot be made ends the channel", async () => {
  class Refusing {
    constructor() {
      throw new SyntaxError("not like this");
    }
  }
  const { channel } = connect({ WebSocket: Refusing });
  const error = await channel.closed;
  assert.deepEqual([error.name, error.message], ["ChannelRefused", "no WebSocket: SyntaxError: not like this"]);
});

test("what a program does not read is bounded", async () => {
  const { channel, first } = await opened({ receiveBytes: 1000 });
  for (let number = 0; number < 50 && channel.state === "open"; number++) first.hear("x".repeat(136));
  const error = await channel.closed;
  assert.deepEqual([error.name, error.message], ["QueueFull", "1200 bytes wait for the program"]);
  const got = [];
  await assert.rejects(async () => {
    for await (const message of channel) got.push(message);
  }, client.QueueFull);
  assert.equal(got.length, 6);
});

test("what a program reads is not counted", async () => {
  const { channel, first } = await opened({ receiveBytes: 1000 });
  const messages = channel[Symbol.asyncIterator]();
  for (let number = 0; number < 50; number++) {
    first.hear("x".repeat(500));
    assert.equal((await messages.next()).value.length, 500);
  }
  assert.equal(channel.state, "open");
});

test("times that no timer has are long ones", async () => {
  const { channel, first } = await opened({ pingAfter: Infinity, pongTimeout: 2 ** 40 });
  const answers = [Infinity, 2 ** 31, 3e9].map((timeout) => channel.request("x", { timeout }));
  await new Promise((done) => setTimeout(done, 20));
  for (const response of [1, 2, 3]) first.hear(`{"response":${response},"body":${response}}`);
  assert.deepEqual(await Promise.all(answers), [1, 2, 3]);
  assert.deepEqual(first.controls.map(({ type }) => type), ["open"]);
});

test("requests are not among what was not confirmed: they fail themselves", async () => {
  const { channel, first, told, socket } = await opened();
  channel.send("mine");
  const request = assert.rejects(channel.request("asked"), client.SessionLost);
  first.end(1006);
  const second = await socket(1);
  second.open();
  second.end(4008);
  await request;
  assert.deepEqual(told("lost"), [{ received: undefined, dropped: 0, unconfirmed: ["mine"] }]);
});

test("when the function for tokens fails its error is told, and it is asked again", async () => {
  const cause = new Error("backend down");
  let asked = 0;
  const token = () => {
    if (asked++) return "t";
    throw cause;
  };
  const { channel, socket, told } = connect({ token });
  (await socket(0)).opened();
  await channel.ready;
  const [error] = told("error");
  assert.deepEqual([error.message, error.retry], ["`token` failed: Error: backend down (1006)", "resume"]);
  assert.equal(error.cause, cause);
});

test("an error that ends the channel says that nothing is tried after it", async () => {
  for (const [code, options] of [[4004], [4002], [4003], [4008 - 1000, {}]]) {
    const { channel, socket } = connect(options);
    const first = await socket(0);
    first.open();
    first.end(code);
    assert.equal((await channel.closed).retry, "never");
  }
});

test("two tokens that are shown at once get each its answer", async () => {
  const { channel, first } = await opened();
  const renewals = [channel.renewToken("a"), channel.renewToken("b"), channel.renewToken("c")];
  const cut = assert.rejects(renewals[2], client.ConnectionLost);
  await turn();
  first.say("token", { error: "not valid" });
  first.say("token", { expiration: 5 });
  await assert.rejects(renewals[0], client.TokenRefused);
  assert.equal(await renewals[1], 5);
  first.end(1006);
  await cut;
});
