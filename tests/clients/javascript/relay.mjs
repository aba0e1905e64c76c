// A relay between clients and the node that does what a test says.
import net from "node:net";

export class Relay {
  #pairs = new Set();
  #server;
  refusing = false;
  accepted = 0;

  static async start(target) {
    const relay = new Relay();
    relay.#server = net.createServer((client) => relay.#serve(client, target));
    await new Promise((done) => relay.#server.listen(0, "127.0.0.1", done));
    relay.url = `ws://127.0.0.1:${relay.#server.address().port}`;
    return relay;
  }

  #serve(client, target) {
    this.accepted++;
    if (this.refusing) return client.resetAndDestroy();
    const node = net.connect(target, "127.0.0.1");
    const pair = [client, node];
    this.#pairs.add(pair);
    for (const socket of pair)
      socket.on("error", () => {}).on("close", () => {
        this.#pairs.delete(pair);
        for (const end of pair) end.destroy();
      });
    client.pipe(node);
    node.pipe(client);
  }

  cut() {
    for (const pair of [...this.#pairs]) for (const end of pair) end.resetAndDestroy();
  }

  stall() {
    for (const pair of [...this.#pairs]) for (const end of pair) end.unpipe().pause();
  }

  stop() {
    this.cut();
    this.#server.close();
  }
}
