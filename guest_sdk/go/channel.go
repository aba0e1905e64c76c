package guest

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Channel is a client's WebSocket.
type Channel struct {
	ID     uint32
	Opened WebSocketOpen
	// Away says that the client of a resumable channel has no connection now, if the process has OnAway or OnBack.
	Away bool

	open   bool
	policy ChannelPolicy
}

// IsOpen says whether it is open, as far as the process was told.
func (c *Channel) IsOpen() bool { return c.open }

// Param is a parameter of the path that it was opened on, such as room of /rooms/:room; empty if there is none.
func (c *Channel) Param(name string) string { return valueOf(c.Opened.URLParams, name) }

// Query is a parameter of the query; empty if there is none.
func (c *Channel) Query(name string) string { return valueOf(c.Opened.QueryParams, name) }

// Claims reads the custom claims of the token that it was opened with into what value points to: what the service that
// issued it says of its bearer. It returns whether there are any. Once the channel is closed there are none.
func (c *Channel) Claims(value any) (bool, error) {
	return claims(callHTTPServerChannelClaims(c.ID), value)
}

func claims(text *string, value any) (bool, error) {
	if text == nil {
		return false, nil
	}
	return true, json.Unmarshal([]byte(*text), value)
}

// Send sends text. The error is a PushError, such as PushErrorChannelFull.
func (c *Channel) Send(text string) error {
	if !utf8.ValidString(text) {
		return PushErrorNotUTF8 // the host would end the process
	}
	if c.policy == ChannelPolicyWait {
		return callHTTPServerSendWSPushWaiting(c.ID, WSMessageTypeText, LazyLoadBlob{Bytes: bytesOf(text)})
	}
	return callHTTPServerSendWSText(c.ID, text)
}

// SendBytes sends a binary message.
func (c *Channel) SendBytes(data []byte) error {
	if c.policy == ChannelPolicyWait {
		return callHTTPServerSendWSPushWaiting(c.ID, WSMessageTypeBinary, LazyLoadBlob{Bytes: data})
	}
	return callHTTPServerSendWSPush(our.Node, c.ID, WSMessageTypeBinary, LazyLoadBlob{Bytes: data})
}

// SendPayload sends a message of the same type and bytes.
func (c *Channel) SendPayload(p Payload) error {
	if p.IsText {
		return c.Send(unsafe.String(unsafe.SliceData(p.Data), len(p.Data)))
	}
	return c.SendBytes(p.Data)
}

// SendJSON sends a value as text.
func (c *Channel) SendJSON(value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.Send(string(data))
}

// Close closes it. OnClose is not called.
func (c *Channel) Close(code uint16, reason string) error {
	err := callHTTPServerCloseChannel(c.ID, &code, strings.ToValidUTF8(reason, "?"))
	if err == nil || err == CloseErrorChannelNotFound {
		c.forget()
	}
	return err
}

// SetPolicy says what happens to messages when the client reads too slowly.
func (c *Channel) SetPolicy(policy ChannelPolicy) error {
	err := callHTTPServerSetChannelPolicy(c.ID, policy)
	if err == nil {
		c.policy = policy
	}
	return err
}

func (c *Channel) forget() {
	c.open = false
	if channels[c.ID] == c {
		delete(channels, c.ID)
	}
}

// At most so many channels are passed at once.
const mostAtOnce = 65536

// Broadcast sends text to all channels, or those given; it is copied once. It returns those that refused it.
func Broadcast(text string, to ...*Channel) map[*Channel]error {
	ids := idsOf(to)
	if len(to) == 0 {
		for id := range channels {
			ids = append(ids, id)
		}
	}
	refused := map[*Channel]error{}
	if !utf8.ValidString(text) {
		Log(VerbosityError, "a broadcast was not sent: it is not UTF-8")
		return refused
	}
	for len(ids) > 0 {
		some := ids[:min(len(ids), mostAtOnce)]
		ids = ids[len(some):]
		note(refused, callHTTPServerSendWSTextMany(some, text))
	}
	return refused
}

// BroadcastJSON sends a value as text to all channels, or those given.
func BroadcastJSON(value any, to ...*Channel) (map[*Channel]error, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return Broadcast(string(data), to...), nil
}

// PushTo pushes to a channel of another node, or of this one.
func PushTo(node string, channelID uint32, kind WSMessageType, data []byte) error {
	return callHTTPServerSendWSPush(node, channelID, kind, LazyLoadBlob{Bytes: data})
}

// BindWSPath accepts WebSockets on a path, such as /rooms/:room.
func BindWSPath(path string, binding WSBinding) error {
	return callHTTPServerBindWSPath(strings.ToValidUTF8(path, "?"), binding)
}

// UnbindWSPath accepts no more.
func UnbindWSPath(path string) { callHTTPServerUnbindWSPath(strings.ToValidUTF8(path, "?")) }

// Log writes a line to the process's log.
func Log(verbosity Verbosity, text string) {
	callSystemPrint(verbosity, strings.ToValidUTF8(text, "?"))
}

// LoadState returns the stored bytes; nil if there are none.
func LoadState() []byte {
	if bytes := callSystemGetState(); bytes != nil {
		return *bytes
	}
	return nil
}

// SaveState replaces the stored bytes; durable once it returns nil.
func SaveState(bytes []byte) error { return callSystemSetState(bytes) }

// ClearState deletes the stored bytes.
func ClearState() error { return callSystemClearState() }

// OnExit is what the host does when the process ends.
func GetOnExit() OnExit { return callSystemGetOnExit() }

// SetOnExit changes it.
func SetOnExit(onExit OnExit) { callSystemSetOnExit(onExit) }

// SaveCapabilities keeps capabilities for later runs too.
func SaveCapabilities(capabilities []Capability) { callCapabilitiesSave(capabilities) }

// DropCapabilities drops them, for later runs too.
func DropCapabilities(capabilities []Capability) { callCapabilitiesDrop(capabilities) }

// OurCapabilities are those that this process holds.
func OurCapabilities() []Capability { return callCapabilitiesOurs() }

// Child is how to start a process of this package.
type Child struct {
	Name                *string // without one it gets a free one
	WasmPath            string  // in the package, such as /child.wasm
	OnExit              OnExit
	RequestCapabilities []Capability // for the child, of those that this process holds
	GrantCapabilities   []ProcessID  // who may message the child
	Public              bool         // everyone may
}

// Spawn starts a process of this package.
func Spawn(child Child) (ProcessID, error) {
	return callSpawningSpawn(child.Name, child.WasmPath, child.OnExit, child.RequestCapabilities, child.GrantCapabilities, child.Public)
}

// Send sends a request; what comes of it arrives at OnResponse or OnSendError, if it expects a response.
func Send(target Address, request Request, context []byte, blob *LazyLoadBlob) {
	var with *[]byte
	if context != nil {
		with = &context
	}
	callMessagingSendRequest(target, request, with, blob)
}

// SendAll sends several requests, in order.
func SendAll(requests []Sending) { callMessagingSendRequests(requests) }

// Respond answers the request received last that expects an answer.
func Respond(response Response, blob *LazyLoadBlob) { callMessagingSendResponse(response, blob) }

// Ask sends a request and waits for its response, while other messages queue. GetBlob then has the response's. The
// error is a SendError.
func Ask(target Address, body []byte, blob *LazyLoadBlob, patience time.Duration) (IncomingResponse, error) {
	seconds := uint64((patience + time.Second - 1) / time.Second)
	message, err := callMessagingSendAndAwaitResponse(target, Request{Body: body, ExpectsResponse: &seconds}, blob)
	if err != nil {
		return IncomingResponse{}, err
	}
	return *message.Response, nil
}

// GetBlob is the payload of the message received last; nil if it has none.
func GetBlob() *LazyLoadBlob { return callMessagingGetBlob() }

func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

func valueOf(pairs []Pair, name string) string {
	for _, pair := range pairs {
		if pair.Name == name {
			return pair.Value
		}
	}
	return ""
}

// BroadcastBytes sends a binary message to channels; it is copied once. It returns those that refused it.
func BroadcastBytes(data []byte, to ...*Channel) map[*Channel]error {
	refused := map[*Channel]error{}
	for ids := idsOf(to); len(ids) > 0; {
		some := ids[:min(len(ids), mostAtOnce)]
		ids = ids[len(some):]
		note(refused, callHTTPServerSendWSPushMany(some, WSMessageTypeBinary, LazyLoadBlob{Bytes: data}))
	}
	return refused
}

// SendToPath sends text to all channels of a path, as bound or as requested. It returns those that refused it.
func SendToPath(path, text string) map[*Channel]error {
	refused := map[*Channel]error{}
	if !utf8.ValidString(text) {
		Log(VerbosityError, "a message to a path was not sent: it is not UTF-8")
		return refused
	}
	note(refused, callHTTPServerSendWSTextToPath(strings.ToValidUTF8(path, "?"), text))
	return refused
}

// SendBytesToPath sends a binary message to all channels of a path.
func SendBytesToPath(path string, data []byte) map[*Channel]error {
	refused := map[*Channel]error{}
	blob := LazyLoadBlob{Bytes: data}
	note(refused, callHTTPServerSendWSPushToPath(strings.ToValidUTF8(path, "?"), WSMessageTypeBinary, blob))
	return refused
}

// CloseChannels closes many channels. It returns those that were not closed.
func CloseChannels(code uint16, reason string, which ...*Channel) map[*Channel]error {
	refused := map[*Channel]error{}
	for ids := idsOf(which); len(ids) > 0; {
		some := ids[:min(len(ids), mostAtOnce)]
		ids = ids[len(some):]
		for _, each := range callHTTPServerCloseChannels(some, &code, strings.ToValidUTF8(reason, "?")) {
			if channel := channels[each.ChannelID]; channel != nil {
				refused[channel] = each.Err
			}
		}
	}
	for _, channel := range which {
		if err := refused[channel]; err == nil || err == CloseErrorChannelNotFound {
			channel.forget()
		}
	}
	return refused
}

// PushToExtension pushes to an extension in its framing. With seconds it is a request: it waits for the extension's
// answer, which is nil when it did not come in time.
func PushToExtension(channelID uint32, blob LazyLoadBlob, seconds *uint32) (*LazyLoadBlob, error) {
	return callHTTPServerSendWSExtensionPush(channelID, blob, seconds)
}

// GetBlobText is the payload of the message received last as text; nil if it has none or is not UTF-8.
func GetBlobText() *string { return callMessagingGetBlobText() }

// HasBlob says whether the message received last has a payload.
func HasBlob() bool { return callMessagingHasBlob() }

// LastBlob is the payload seen last, kept while messages without one arrive.
func LastBlob() *LazyLoadBlob { return callMessagingLastBlob() }

func idsOf(some []*Channel) []uint32 {
	ids := make([]uint32, len(some))
	for i, channel := range some {
		ids[i] = channel.ID
	}
	return ids
}

func note(refused map[*Channel]error, by []Refused) {
	for _, each := range by {
		if channel := channels[each.ChannelID]; channel != nil {
			refused[channel] = each.Err
		}
	}
}
