/** What the tests of the SDK run: in the fake host here, and in a real node in `tests/e2e/test_javascript_sdk.py`. */

import {
  bindHttpPath,
  bindWsPath,
  type Channel,
  type ChannelPolicy,
  type ChannelRequest,
  getStateJson,
  type HttpRequest,
  HttpResponse,
  type IncomingRequest,
  Kv,
  Process,
  request,
  RequestRefused,
  type Sent,
  setStateJson,
  tracing,
} from "@guesthouse/sdk";

const notes = new Kv("notes");

function deep(): never {
  throw new TypeError("thrown on purpose");
}

async function later(): Promise<never> {
  await null;
  return deep();
}

export default class App extends Process {
  override onStart(): void {
    bindWsPath("/rooms/:room");
    bindHttpPath("/hello", { authenticated: false });
    console.info("started", { list: [1, "x"] }, new Map([["k", new Set([2])]]));
  }

  override onOpen(channel: Channel): void {
    if (channel.path === "/refuse") throw new Error("no entry");
    const { policy } = channel.queryParams;
    if (policy !== undefined) channel.setPolicy(policy as ChannelPolicy);
  }

  override onResume(channel: Channel): void {
    channel.send("resumed");
  }

  override async onMessage(channel: Channel, message: string | Uint8Array): Promise<void> {
    switch (message) {
      case "throw":
        return deep();
      case "traced":
        tracing.setAttributes({ whole: true });
        tracing.inSpan("counting", (span) => span.set({ count: 3, half: 0.5, large: 2n ** 40n }), { of: "things" });
        tracing.addEvent("counted");
        return channel.send(tracing.traceparent() ?? "untraced");
      case "throw later":
        return later();
      case "unhandled":
        void Promise.reject(new RangeError("nobody listens"));
        return;
      case "timer":
        await new Promise((resolve) => setTimeout(resolve, 50));
        return channel.send("due");
      case "interval": {
        let times = 0;
        const id = setInterval(() => {
          channel.send(`tick ${++times}`);
          if (times === 3) clearInterval(id);
        }, 10);
        return;
      }
      case "cleared":
        clearTimeout(setTimeout(() => channel.send("never"), 10));
        setTimeout((text: string) => channel.send(text), 20, "after it");
        return;
      case "kv":
        await notes.setJson("key", { a: [1, "é"] });
        return channel.sendJson([await notes.getJson("key"), await notes.get("none")]);
      case "state":
        setStateJson({ kept: (getStateJson<{ kept: number }>()?.kept ?? 0) + 1 });
        return channel.sendJson(getStateJson());
      case "order":
        queueMicrotask(() => channel.send("2"));
        void Promise.resolve().then(() => channel.send("3"));
        channel.send("1");
        return;
      case "promises": {
        const all = await Promise.all([1, Promise.resolve(2)]);
        const any = await Promise.any([Promise.reject(new Error("x")), Promise.resolve("any")]);
        const settled = await Promise.allSettled([Promise.reject("no"), 1]);
        const race = await Promise.race([new Promise<string>(() => undefined), Promise.resolve("race")]);
        const numbers: number[] = [];
        for await (const number of counted(3)) numbers.push(number);
        return channel.sendJson([all, any, settled, race, numbers]);
      }
      case "encoding": {
        const text = "aé✓😀\ud800";
        const bytes = new TextEncoder().encode(text);
        const decoded = new TextDecoder().decode(Uint8Array.of(0x61, 0xf0, 0x9f, 0x92, 0xe2, 0x9c, 0x93, 0xff, 0xc0));
        return channel.sendJson([Array.from(bytes), new TextDecoder().decode(bytes), decoded]);
      }
      case "random":
        return channel.sendJson([Math.random(), crypto.randomUUID(), crypto.getRandomValues(new Uint8Array(4)).length]);
      case "log":
        console.debug("a", 1);
        console.log("b", [undefined, null]);
        console.warn("c", { nested: { map: new Map() } });
        console.error("d", new Error("shown"));
        return;
      case "broadcast":
        this.broadcast("to all");
        return this.broadcast(Uint8Array.of(1, 255)).size === 0 ? undefined : deep();
      case "close":
        return channel.close(4000, "bye");
      case "wrong":
        return channel.send(5 as unknown as string);
      case "no right":
        await request("vfs:distro:sys");
        return;
    }
    channel.send(message);
  }

  override async onChannelRequest(channel: Channel, { body }: ChannelRequest): Promise<unknown> {
    if (body === "claims") return channel.claims;
    if (body === "refuse") throw new RequestRefused("not today");
    if (body === "fail") deep();
    if (body === "wait") await new Promise((resolve) => setTimeout(resolve, 50));
    return { body };
  }

  override async onHttp(http: HttpRequest): Promise<HttpResponse | string> {
    if (http.queryParams["fail"] === "now") deep();
    if (http.queryParams["fail"] === "never") await new Promise((resolve) => setTimeout(resolve, 10));
    if (http.claims !== undefined) return HttpResponse.json(http.claims);
    if (http.method === "GET") return "hello";
    await notes.set("posted", http.body);
    return HttpResponse.json({ got: http.json(), kept: await notes.getJson("posted") }, { status: 201 });
  }

  override onRequest(source: string, _request: IncomingRequest): Sent {
    return { body: { source } };
  }
}

async function* counted(end: number): AsyncGenerator<number> {
  for (let number = 0; number < end; number++) yield number;
}
