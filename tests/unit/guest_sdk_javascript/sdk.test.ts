import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { FakeHost } from "@guesthouse/sdk/testing";

const app = new URL("./app.ts", import.meta.url).pathname;

async function started(): Promise<FakeHost> {
  const host = await FakeHost.load(app);
  const kept = new Map<string, Uint8Array>();
  host.processes.set("kv:distro:sys", ({ action }, blob) => {
    const { Set: set, Get: get } = action as Record<string, { key: string }>;
    if (set !== undefined) kept.set(set.key, blob!);
    if (get === undefined) return { body: "Ok" };
    const value = kept.get(get.key);
    return value === undefined ? { body: { Err: "KeyNotFound" } } : { body: { Get: get }, blob: value };
  });
  return host;
}

async function answers(message: string, path = "/"): Promise<[FakeHost, unknown[]]> {
  const host = await started();
  const channel = host.open(path);
  channel.send(message);
  return [host, channel.received];
}

test("text and bytes come back", async () => {
  const host = await started();
  const channel = host.open();
  channel.send("héllo");
  channel.send(Uint8Array.of(0, 255));
  assert.deepEqual(channel.received, ["héllo", Uint8Array.of(0, 255)]);
  assert.deepEqual(host.bound, ["/rooms/:room", "/hello"]);
  assert.deepEqual(host.log, [{ level: "info", text: 'started {list: [1, "x"]} Map {"k" => Set {2}}' }]);
});

for (const message of ["throw", "throw later"]) {
  test(`what a handler throws is logged in the lines of the source: ${message}`, async () => {
    const [host] = await answers(message);
    const { level, text } = host.log.at(-1)!;
    assert.equal(level, "error");
    const line = readFileSync(app, "utf8").split("\n").findIndex((each) => each.includes("thrown on purpose")) + 1;
    assert.ok(text.startsWith(`onMessage failed: TypeError: thrown on purpose\n    at deep (app.ts:${line})\n`), text);
    assert.doesNotMatch(text, /guesthouse-bundle|guest_sdk/);
  });
}

test("a promise that is rejected unheard is logged", async () => {
  const [host] = await answers("unhandled");
  assert.match(host.log.at(-1)!.text, /^a promise failed: RangeError: nobody listens/);
});

test("a channel whose opening fails is closed with 1011", async () => {
  const host = await started();
  const channel = host.open("/refuse");
  assert.equal(channel.closed?.code, 1011);
  assert.match(host.log.at(-1)!.text, /^onOpen failed: Error: no entry/);
});

test("timers fire when they are due, and not after they were cleared", async () => {
  const host = await started();
  const channel = host.open();
  channel.send("timer");
  host.advance(49);
  assert.deepEqual(channel.received, []);
  host.advance(1);
  assert.deepEqual(channel.received, ["due"]);
  channel.send("interval");
  host.advance(1000);
  channel.send("cleared");
  host.advance(1000);
  assert.deepEqual(channel.received.slice(1), ["tick 1", "tick 2", "tick 3", "after it"]);
});

test("a handler that waits holds up the messages of its own channel alone", async () => {
  const host = await started();
  const [channel, other] = [host.open(), host.open()];
  for (const message of ["timer", "second", "throw later", "timer", "third"]) channel.send(message);
  other.send("meanwhile");
  assert.deepEqual(other.received, ["meanwhile"]);
  assert.deepEqual(channel.received, []);
  host.advance(50);
  assert.deepEqual(channel.received, ["due", "second"]);
  host.advance(50);
  assert.deepEqual(channel.received, ["due", "second", "due", "third"]);
  channel.send("at once");
  assert.equal(channel.received.at(-1), "at once");
});

test("what waits for a handler is dropped with its channel, and has a limit", async () => {
  const host = await started();
  const [channel, gone] = [host.open(), host.open()];
  gone.send("timer");
  gone.send("x".repeat(600_000));
  gone.close();
  channel.send("timer");
  channel.send("y".repeat(1_000_000));
  assert.equal(channel.closed, undefined, "what the other had waiting counts no more");
  channel.send("y".repeat(100_000));
  assert.deepEqual(channel.closed, { code: 1013, reason: "too many messages while the process waits" });
  host.advance(100);
  assert.deepEqual([gone.received, channel.received], [[], []]);
});

for (const scenario of ["rights", "no children"]) {
  test(`capabilities and children are as in a node: ${scenario}`, async () => {
    const host = await FakeHost.load(new URL("./modules.ts", import.meta.url).pathname);
    const channel = host.open();
    channel.send(scenario);
    assert.deepEqual(channel.received, ["ok"]);
  });
}

test("kv keeps what it is given", async () => {
  const [, received] = await answers("kv");
  assert.deepEqual(JSON.parse(String(received[0])), [{ a: [1, "é"] }, null]);
});

test("state is there after a restart, and open channels are resumed", async () => {
  const host = await started();
  const channel = host.open();
  channel.send("state");
  await host.start(app);
  channel.send("state");
  assert.deepEqual(channel.received, ['{"kept":1}', "resumed", '{"kept":2}']);
});

test("jobs run in the order in which they were queued", async () => {
  const [, received] = await answers("order");
  assert.deepEqual(received, ["1", "2", "3"]);
});

test("promises have what those of the language have", async () => {
  const [, received] = await answers("promises");
  const settled = [{ status: "rejected", reason: "no" }, { status: "fulfilled", value: 1 }];
  assert.deepEqual(JSON.parse(String(received[0])), [[1, 2], "any", settled, "race", [0, 1, 2]]);
});

test("text is encoded and decoded as Node.js does it", async () => {
  const [, received] = await answers("encoding");
  const bytes = new TextEncoder().encode("aé✓😀\ud800");
  const broken = Uint8Array.of(0x61, 0xf0, 0x9f, 0x92, 0xe2, 0x9c, 0x93, 0xff, 0xc0);
  assert.deepEqual(JSON.parse(String(received[0])), [
    Array.from(bytes),
    new TextDecoder().decode(bytes),
    new TextDecoder().decode(broken),
  ]);
});

test("random values are drawn from the host", async () => {
  const drawn = await Promise.all([answers("random"), answers("random")]);
  const [one, other] = drawn.map(([, received]) => JSON.parse(String(received[0])) as [number, string, number]);
  assert.ok(one![0] >= 0 && one![0] < 1);
  assert.notEqual(one![0], other![0]);
  assert.match(one![1], /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(one![2], 4);
});

test("console writes to the log by level", async () => {
  const [host] = await answers("log");
  const [debug, log, warn, error] = host.log.slice(1);
  assert.deepEqual(debug, { level: "debug", text: "a 1" });
  assert.deepEqual(log, { level: "info", text: "b [undefined, null]" });
  assert.deepEqual(warn, { level: "warning", text: "c {nested: {map: Map {}}}" });
  assert.match(error!.text, /^d Error: shown\n {4}at .*app\.ts:\d+/);
});

test("a message goes to all channels by one call", async () => {
  const host = await started();
  const [one, other] = [host.open(), host.open()];
  one.send("broadcast");
  assert.deepEqual(one.received, ["to all", Uint8Array.of(1, 255)]);
  assert.deepEqual(other.received, one.received);
});

test("a closed channel is closed with code and reason", async () => {
  const host = await started();
  const channel = host.open();
  channel.send("close");
  assert.deepEqual(channel.closed, { code: 4000, reason: "bye" });
});

test("a message of a wrong type is refused by name", async () => {
  const [host] = await answers("wrong");
  assert.match(host.log.at(-1)!.text, /a message is a string or a Uint8Array, not number: see sendJson/);
});

test("requests over a channel are answered, refused, or answered later", async () => {
  const host = await started();
  const channel = host.open();
  ["plain", "refuse", "fail", "wait"].forEach((body, index) => channel.sendJson({ request: index + 1, body }));
  host.advance(50);
  assert.deepEqual(channel.json, [
    { response: 1, body: { body: "plain" } },
    { response: 2, error: "not today" },
    { response: 3, error: "the process failed to answer" },
    { response: 4, body: { body: "wait" } },
  ]);
});

test("HTTP requests are answered, also after awaiting another process", async () => {
  const host = await started();
  const plain = host.http("GET", "/hello");
  assert.deepEqual([plain.status, plain.text], [200, "hello"]);
  assert.deepEqual(plain.headers, [["content-type", "text/plain; charset=utf-8"]]);
  const posted = host.http("POST", "/hello", '{"a":1}');
  assert.deepEqual([posted.status, posted.text], [201, '{"got":{"a":1},"kept":{"a":1}}']);
});

test("an HTTP request whose handler fails, or waits for another message, gets 500", async () => {
  const host = await started();
  assert.equal(host.http("GET", "/hello?fail=now").status, 500);
  assert.match(host.log.at(-1)!.text, /^onHttp failed: TypeError: thrown on purpose/);
  assert.equal(host.http("GET", "/hello?fail=never").status, 500);
  assert.match(host.log.at(-1)!.text, /^onHttp failed: Error: onHttp waits for what a later message brings/);
});

test("another process is answered", async () => {
  const host = await started();
  assert.deepEqual(host.request({}, "p:q:r.os"), { source: "fake.os@p:q:r.os" });
});

test("a process knows what a service says of its clients", async () => {
  const host = await started();
  const claims = { user: "Zoë", roles: ["a"] };
  for (const [channel, told] of [[host.open("/", { claims }), claims], [host.open(), null]] as const) {
    channel.sendJson({ request: 1, body: "claims" });
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual((channel.json[0] as { body?: unknown }).body, told);
  }
  assert.deepEqual(JSON.parse(host.http("GET", "/hello", "", [], claims).text), claims);
  assert.equal(host.http("GET", "/hello").text, "hello");
});

test("a client that reads too slowly is treated as whenFull says", async () => {
  const host = await started();
  const channel = host.open("/", { queryParams: { policy: "close" } });
  channel.stopReading();
  channel.send("hello");
  assert.equal(channel.closed?.code, 1013);
  const waiting = host.open("/", { queryParams: { policy: "wait" } });
  waiting.send("text");
  waiting.send(Uint8Array.of(1));
  assert.deepEqual(waiting.received, ["text", Uint8Array.of(1)]);
});

test("a process may be an object of handlers, or in JavaScript", async () => {
  const host = await FakeHost.load(new URL("./object.js", import.meta.url).pathname);
  const [one, other] = [host.open(), host.open()];
  one.send("hello");
  assert.deepEqual(other.received, ["hello to 2"]);
  assert.equal(host.http("GET", "/").status, 404);
});

test("spans, attributes and events are added to the trace", async () => {
  const host = await started();
  const channel = host.open();
  channel.send("traced");
  assert.match(String(channel.received[0]), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  assert.deepEqual(host.spans, [
    { name: "run", attributes: { whole: true }, events: [{ name: "counted", attributes: {} }] },
    { name: "counting", attributes: { of: "things", count: 3n, half: 0.5, large: 1099511627776n }, events: [] },
  ]);
});
