// How the WebSocket API opens a channel with @kinode/client-api.
import KinodeEncryptorApi from "./client-api.js";

window.answers = [];

window.api = new KinodeEncryptorApi({
  nodeId: window.our.node, // this is set if the /our.js script is present in index.html
  processId: new URLSearchParams(location.search).get("process"),
  onOpen: (_event, api) => {
    // Send a message to the node via WebSocket
    api.send({ data: 'Hello World' })
  },
  onMessage: async (data) => window.answers.push(typeof data === "string" ? data : await data.text()),
})
