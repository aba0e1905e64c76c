// The simple JavaScript/JSON example of the WebSocket API. Its names are set here; it sends once it is open.
const nodeId = window.our.node;
const targetProcess = new URLSearchParams(location.search).get("process");
const answers = [];

function getCookie(name) {
    const cookies = document.cookie.split(';');
    for (let i = 0; i < cookies.length; i++) {
        const cookie = cookies[i].trim();
        if (cookie.startsWith(name)) {
            return cookie.substring(name.length + 1);
        }
    }
}

const websocket = new WebSocket(`${location.origin}/`);

const message = JSON.stringify({
    "auth_token": getCookie(`kinode-auth_${nodeId}`),
    "target_process": targetProcess,
    "encrypted": false,
});

websocket.onopen = () => websocket.send(message);
websocket.onmessage = (event) => answers.push(event.data);
