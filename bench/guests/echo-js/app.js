import { bindWsPath, Process } from "@guesthouse/sdk";

export default class Echo extends Process {
  onStart() {
    bindWsPath("/");
    bindWsPath("/public", { authenticated: false });
  }

  onMessage(channel, message) {
    channel.send(message);
  }
}
