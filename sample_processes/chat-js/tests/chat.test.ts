import assert from "node:assert/strict";
import { test } from "node:test";

import { type FakeChannel, FakeHost } from "@guesthouse/sdk/testing";

const app = new URL("../app.ts", import.meta.url).pathname;

interface Told {
  type: string;
  name?: string;
  text?: string;
  reason?: string;
  people?: string[];
  history?: { name: string; text: string }[];
}

function told(channel: FakeChannel, type: string): Told[] {
  return (channel.json as Told[]).filter((message) => message.type === type);
}

function enter(host: FakeHost, name: string): FakeChannel {
  const channel = host.open();
  channel.sendJson({ type: "name", name });
  return channel;
}

test("a newcomer is welcomed with a name, the people and the history", async () => {
  const host = await FakeHost.load(app);
  enter(host, "Ada").sendJson({ type: "say", text: "anyone?" });
  const [welcome] = told(host.open(), "welcome");
  assert.equal(welcome?.name, "guest");
  assert.deepEqual(welcome?.people, ["Ada"]);
  assert.deepEqual(welcome?.history?.map(({ name, text }) => [name, text]), [["Ada", "anyone?"]]);
});

test("everyone gets what anyone says in one order", async () => {
  const host = await FakeHost.load(app);
  const people = ["Ada", "Ben", "Cy"].map((name) => enter(host, name));
  [...people, ...people].forEach((person, number) => person.send(JSON.stringify(String(number))));
  for (const person of people) {
    assert.deepEqual(told(person, "said").map(({ text }) => text), ["0", "1", "2", "3", "4", "5"]);
  }
});

test("a taken name gets a number, and who leaves is announced", async () => {
  const host = await FakeHost.load(app);
  const ada = enter(host, "Ada");
  const other = enter(host, "ada");
  assert.equal(told(other, "named")[0]?.name, "ada 2");
  other.close();
  assert.deepEqual(told(ada, "left").map(({ name, people }) => [name, people]), [["ada 2", ["Ada"]]]);
});

test("what breaks a rule is told to its sender alone", async () => {
  const host = await FakeHost.load(app);
  const ada = enter(host, "Ada");
  const ben = enter(host, "Ben");
  for (const message of ["{", "[]", '" "', JSON.stringify("x".repeat(2001)), '{"type": "name", "name": "a\\u202eb"}']) {
    ada.send(message);
  }
  ada.send(new Uint8Array([0xff]));
  assert.equal(told(ada, "error").length, 6);
  assert.deepEqual(told(ben, "error"), []);
  assert.deepEqual(host.log, []);
});

test("a client that reads too slowly is closed, and announced as gone", async () => {
  const host = await FakeHost.load(app);
  const ada = enter(host, "Ada");
  const slow = enter(host, "Slow");
  slow.stopReading();
  ada.send('"hello"');
  assert.equal(slow.closed?.code, 1013);
  assert.deepEqual(told(ada, "left").map(({ name }) => name), ["Slow"]);
});
