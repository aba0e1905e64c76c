// Package guest is the Guesthouse SDK for processes in Go: a process is a set of handlers, registered in init.
//
//	package main
//
//	import "guesthouse.dev/guest"
//
//	func init() {
//		guest.Register(guest.Handlers{
//			OnMessage: func(channel *guest.Channel, message guest.Payload) { channel.SendPayload(message) },
//		})
//	}
//
//	func main() {}
//
// Handlers run one after the other. Goroutines run while a handler waits for them: the process as a whole waits for
// the next message.
package guest

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// Handlers are what a process does. All are optional.
type Handlers struct {
	// OnStart is called before the first message: it binds paths and loads state. An error ends the process.
	OnStart func() error
	OnOpen  func(*Channel)
	// OnResume is called for a channel that was open before the process was restarted; by default OnOpen is.
	OnResume  func(*Channel)
	OnMessage func(*Channel, Payload)
	// OnClose is called when the client has left, not when the process closed the channel.
	OnClose func(*Channel)
	// OnAway and OnBack tell of clients of resumable channels that have no connection now.
	OnAway func(*Channel)
	OnBack func(*Channel)
	// OnHTTP answers requests on bound paths that are no routes.
	OnHTTP func(*HTTPRequest) HTTPResponse
	// OnRequest answers a request of another process; nil is no answer.
	OnRequest   func(IncomingRequest) *Response
	OnResponse  func(IncomingResponse)
	OnSendError func(SendFailure)
	// OnTimer is called when the time of a durable timer has come: see SetTimer.
	OnTimer func(id string)
	// OnHandover is called when a newer version is about to take over: save what it needs.
	OnHandover func()
	// WhenFull says what happens to messages to clients that read too slowly.
	WhenFull ChannelPolicy
}

// Payload is a message of a client.
type Payload struct {
	Data []byte
	// IsText: Data is UTF-8.
	IsText bool
}

// Text is the message as a string.
func (p Payload) Text() string { return string(p.Data) }

// JSON reads the message into what value points to.
func (p Payload) JSON(value any) error { return json.Unmarshal(p.Data, value) }

func (f SendFailure) Error() string { return f.Err.Error() }

func (e SendError) Error() string {
	return fmt.Sprintf("a request to %s failed: %s", e.Target, e.Kind.Error())
}

func (id ProcessID) String() string {
	return id.ProcessName + ":" + id.PackageName + ":" + id.PublisherNode
}

func (a Address) String() string { return a.Node + "@" + a.Process.String() }

var (
	our        Address
	handlers   Handlers
	registered bool
	channels   = map[uint32]*Channel{}
	away       = map[uint32]bool{}
)

// Register sets the handlers of the process. Call it once, in an init function.
func Register(h Handlers) { handlers, registered = h, true }

// Our is this process's address.
func Our() Address { return our }

// Channels are those that are open, by their ids.
func Channels() map[uint32]*Channel { return channels }

// ModuleAddress is that of a runtime module of this node, such as kv.
func ModuleAddress(name string) Address {
	return Address{our.Node, ProcessID{name, "distro", "sys"}}
}

func run() {
	if !registered {
		Log(VerbosityError, "the process has no handlers: call guest.Register in an init function")
		return
	}
	if handlers.OnStart != nil {
		if err := handlers.OnStart(); err != nil {
			Log(VerbosityError, "OnStart failed: "+err.Error())
			return
		}
	}
	bindRoutes()
	if handlers.OnAway != nil || handlers.OnBack != nil {
		watchPresence()
	}
	for {
		next()
	}
}

func next() {
	if push := callMessagingReceiveWSPush(); push != nil {
		handlePush(*push)
		return
	}
	message, err := callMessagingReceive()
	if err != nil {
		failure := err.(SendFailure)
		guarded("OnSendError", func() { handleFailure(failure) })
		return
	}
	switch message.Kind {
	case MessageHTTPServer:
		handleEvent(message.HTTPServer)
	case MessageRequest:
		guarded("OnRequest", func() { handleRequest(*message.Request) })
	case MessageResponse:
		guarded("OnResponse", func() { handleResponse(*message.Response) })
	}
}

// Calls f; a panic in it is logged. Returns whether there was none.
func guarded(name string, f func()) (well bool) {
	defer func() {
		if problem := recover(); problem != nil {
			Log(VerbosityError, fmt.Sprintf("%s panicked: %v\n%s", name, problem, stack()))
		}
	}()
	f()
	return true
}

// The lines of the stack that are the program's.
func stack() string {
	lines := strings.Split(string(debug.Stack()), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "panic(") && i+2 < len(lines) {
			return strings.Join(lines[i+2:], "\n")
		}
	}
	return strings.Join(lines, "\n")
}

func handleEvent(event *HTTPServerRequest) {
	switch event.Kind {
	case HTTPServerRequestWebSocketOpen:
		handleOpen(*event.WebSocketOpen)
	case HTTPServerRequestWebSocketClose:
		if channel := channels[*event.WebSocketClose]; channel != nil {
			channel.forget()
			if handlers.OnClose != nil {
				guarded("OnClose", func() { handlers.OnClose(channel) })
			}
		}
	case HTTPServerRequestHTTP:
		handleHTTP(event.HTTP)
	}
}

func handleOpen(open WebSocketOpen) {
	channel := &Channel{ID: open.ChannelID, Opened: open, open: true}
	channels[channel.ID] = channel
	if handlers.WhenFull != ChannelPolicyRefuse {
		_ = channel.SetPolicy(handlers.WhenFull)
	}
	name, handler := "OnOpen", handlers.OnOpen
	if open.Resumed && handlers.OnResume != nil {
		name, handler = "OnResume", handlers.OnResume
	}
	if handler != nil && !guarded(name, func() { handler(channel) }) {
		_ = channel.Close(1011, "the process failed to open the channel") // its client would wait for ever
	}
	if away[channel.ID] {
		delete(away, channel.ID)
		present(channel.ID, false)
	}
}

func handlePush(push WSMessage) {
	channel := channels[push.ChannelID]
	if channel == nil || handlers.OnMessage == nil { // closed by the process while the message was under way
		return
	}
	payload := Payload{IsText: push.Text != nil}
	if payload.IsText {
		payload.Data = bytesOf(*push.Text)
	} else if push.Bytes != nil {
		payload.Data = *push.Bytes
	}
	guarded("OnMessage", func() { handlers.OnMessage(channel, payload) })
}

func handleRequest(request IncomingRequest) {
	var told struct {
		Away     *uint32 `json:"WebSocketAway"`
		Back     *uint32 `json:"WebSocketBack"`
		Timer    *struct{ ID string }
		Handover json.RawMessage `json:"handover"`
	}
	if request.Source.Node == our.Node && request.Source.Process.PackageName == "distro" && request.Source.Process.PublisherNode == "sys" {
		_ = json.Unmarshal(request.Request.Body, &told)
	}
	switch from := request.Source.Process.ProcessName; {
	case told.Handover != nil && from == "kernel":
		if handlers.OnHandover != nil {
			handlers.OnHandover()
		}
	case told.Away != nil && from == "http-server":
		present(*told.Away, false)
	case told.Back != nil && from == "http-server":
		present(*told.Back, true)
	case told.Timer != nil && from == "timer" && handlers.OnTimer != nil:
		handlers.OnTimer(told.Timer.ID)
	default:
		if handlers.OnRequest == nil {
			return
		}
		if response := handlers.OnRequest(request); response != nil {
			callMessagingSendResponse(*response, nil)
		}
	}
}

func handleResponse(response IncomingResponse) {
	if response.Context != nil && ring(*response.Context) {
		return
	}
	if handlers.OnResponse != nil {
		handlers.OnResponse(response)
	}
}

func handleFailure(failure SendFailure) {
	if failure.Context != nil && failedTimer(*failure.Context, failure.Err) {
		return
	}
	if handlers.OnSendError != nil {
		handlers.OnSendError(failure)
	} else {
		Log(VerbosityWarning, failure.Error())
	}
}

func watchPresence() {
	answer, err := Ask(ModuleAddress("http-server"), []byte(`{"WebSocketPresence":{"wanted":true}}`), nil, 10*time.Second)
	var told struct{ Ok []uint32 }
	if err == nil {
		err = json.Unmarshal(answer.Response.Body, &told)
	}
	if err != nil {
		Log(VerbosityWarning, "OnAway and OnBack will not be called: "+err.Error())
	}
	for _, id := range told.Ok {
		away[id] = true
	}
}

func present(id uint32, back bool) {
	channel := channels[id]
	if channel == nil || channel.Away == !back {
		return
	}
	channel.Away = !back
	name, handler := "OnAway", handlers.OnAway
	if back {
		name, handler = "OnBack", handlers.OnBack
	}
	if handler != nil {
		guarded(name, func() { handler(channel) })
	}
}
