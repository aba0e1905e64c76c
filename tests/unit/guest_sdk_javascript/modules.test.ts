import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeHost } from "@guesthouse/sdk/testing";

const app = new URL("./modules.ts", import.meta.url).pathname;
const counting = new URL("./counting.ts", import.meta.url).pathname;

for (const scenario of ["files", "keys"]) {
  test(`the modules of the fake host do as those of a node: ${scenario}`, async () => {
    const host = await FakeHost.load(app);
    host.grant("kv:distro:sys");
    host.grant("vfs:distro:sys");
    const channel = host.open();
    channel.send(scenario);
    assert.deepEqual(channel.received, ["ok"]);
  });
}

for (const [scenario, module] of [["files", "vfs"], ["keys", "kv"]]) {
  test(`without a grant ${module} is refused with what to request`, async () => {
    const host = await FakeHost.load(app);
    const channel = host.open();
    channel.send(scenario!);
    assert.match(String(channel.received[0]), new RegExp(`^NotAuthorised: .*add "${module}:distro:sys" to its request-capabilities`));
  });
}

test("values outlive a restart, expire, and are read in a request of HTTP, too", async () => {
  const host = await FakeHost.load(counting);
  host.grant("kv:distro:sys");
  assert.equal(host.http("PUT", "/count", "3").text, "stored");
  await host.start(counting);
  assert.equal(host.http("GET", "/count").text, "3");
  host.advance(59_999);
  assert.equal(host.http("GET", "/count").text, "3");
  host.advance(1);
  assert.equal(host.http("GET", "/count").text, "none");
  host.kv.quota = 100;
  assert.equal(host.http("PUT", "/count", "x".repeat(200)).text, "QuotaExceeded");
});

test("files of the package can be read and drives have a quota", async () => {
  const host = await FakeHost.load(counting);
  host.grant("vfs:distro:sys");
  host.packageFiles.set("texts/hello.txt", "hello");
  assert.equal(host.http("GET", "/file").text, "hello [texts]");
  host.vfs.quota = 500;
  assert.equal(host.http("PUT", "/file", "x".repeat(600)).text, "DriveFull");
  assert.equal(host.http("PUT", "/file", "x").text, "stored");
});

test("what the host does not have cannot be granted", async () => {
  const host = await FakeHost.load(counting);
  assert.throws(() => host.grant("email:distro:sys"), /it has kv:distro:sys and vfs:distro:sys/);
});
