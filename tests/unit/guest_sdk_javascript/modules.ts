/**
 * What the SDK promises of the node's modules, of capabilities and children: a client sends the name of a scenario, and gets
 * `ok`, or how it failed. Run in a real node by `tests/e2e/test_javascript_sdk.py`; what needs none of its modules, in the
 * fake host, too.
 */

import {
  capability,
  type Channel,
  Drive,
  dropCapabilities,
  GuestError,
  hashPassword,
  isOutdated,
  Kv,
  KvError,
  messagingCapability,
  NameTaken,
  NoFileAtPath,
  NotEmpty,
  NotFound,
  our,
  ourCapabilities,
  PasswordError,
  Process,
  ReadOnly,
  request,
  saveCapabilities,
  type Sent,
  spawn,
  SpawnNotAuthorised,
  verifyPassword,
} from "@guesthouse/sdk";

class Wrong extends Error {}

function same(found: unknown, expected: unknown): void {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
  if (one !== other) throw new Wrong(`${one} instead of ${other}`);
}

async function refused(kind: new (...given: never[]) => Error, call: () => unknown): Promise<Error> {
  try {
    await call();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Wrong(`no ${kind.name}`);
}

const SCENARIOS: Record<string, () => Promise<void>> = {
  async files() {
    const drive = new Drive("notes");
    await drive.write("a/b.txt", "hé");
    await drive.append("a/b.txt", Uint8Array.of(33));
    await drive.append("a/new.txt", "new");
    same(await drive.readText("a/b.txt"), "hé!");
    same([await drive.size("a/b.txt"), await drive.exists("a"), await drive.exists("b")], [4, true, false]);
    same(await drive.list(), [{ name: "a", isFolder: true }]);
    await drive.copy("a/b.txt", "c.txt");
    await drive.rename("c.txt", "d.txt");
    await drive.makeFolder("e/f");
    same((await drive.list()).map((entry) => entry.name), ["a", "d.txt", "e"]);
    const error = await refused(NotFound, () => drive.read("c.txt"));
    same(error.message, "notes/c.txt: there is none");
    await refused(NotEmpty, () => drive.deleteFolder("a"));
    await refused(ReadOnly, () => new Drive("pkg").write("x", "y"));
    await refused(RangeError, () => drive.read("../pkg/package.toml"));
    await refused(RangeError, () => new Drive("a/b"));
    await drive.deleteFolder("a", { withContent: true });
    await drive.deleteFolder("e", { withContent: true });
    await drive.delete("d.txt");
    same(await drive.list(), []);
  },

  async passwords() {
    const stored = await hashPassword("secret");
    same([await verifyPassword("secret", stored), await verifyPassword("wrong", stored)], [true, false]);
    same(await isOutdated("secret", stored), false);
    await refused(PasswordError, () => hashPassword(""));
    await refused(PasswordError, () => verifyPassword("secret", "no hash"));
  },

  async keys() {
    const values = new Kv("values");
    await values.set("gone", "soon", 3600);
    await values.delete("gone");
    same(await values.get("gone"), undefined);
    await values.setJson("count", { n: 1 });
    same(await values.getJson("count"), { n: 1 });
    const error = await refused(KvError, () => values.set("", ""));
    same((error as KvError).kind, "InputError");
    await refused(GuestError, () => values.set("k".repeat(1025), ""));
    await values.delete("count");
  },

  async rights() {
    const shelf = capability(our(), { shelf: 7, a: { d: 1, c: 2 } });
    same(shelf.params, '{"a":{"c":2,"d":1},"shelf":7}');
    const held = (): string[] => ourCapabilities().map(({ params, issuer }) => `${params} ${issuer.process.processName}`);
    saveCapabilities([shelf]);
    const ours = `${shelf.params} ${shelf.issuer.process.processName}`;
    same(held().includes(ours), true);
    dropCapabilities([shelf]);
    same(held().includes(ours), false);
    same(messagingCapability("kv:distro:sys").params, '"messaging"');
  },

  async "no children"() {
    const error = await refused(SpawnNotAuthorised, () => spawn("/build/modules.wasm"));
    same((error as SpawnNotAuthorised).missing?.params, '"spawn"');
  },

  async children() {
    const child = spawn("/build/modules.wasm", { name: "child", requestCapabilities: [capability("kernel:distro:sys", "spawn")] });
    same(child, "child:modules:test.os");
    same((await request(child, { body: "who" })).json(), child);
    await refused(NameTaken, () => spawn("/build/modules.wasm", { name: "child" }));
    await refused(NoFileAtPath, () => spawn("/none.wasm"));
  },
};

export default class Modules extends Process {
  override async onMessage(channel: Channel, message: string | Uint8Array): Promise<void> {
    const run = SCENARIOS[String(message)];
    if (run === undefined) return channel.send("there is no such scenario");
    try {
      await run();
      channel.send("ok");
    } catch (error) {
      channel.send(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
    }
  }

  override onRequest(): Sent {
    return { body: JSON.stringify(our().split("@")[1]) };
  }
}
