package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ModuleError is what a runtime module of the node refused.
type ModuleError struct {
	Kind   string // such as Conflict
	Reason string
}

func (e ModuleError) Error() string {
	if e.Reason == "" {
		return e.Kind
	}
	return e.Kind + ": " + e.Reason
}

// AskModule asks a runtime module, such as kv, and reads its answer into what answer points to, unless that is nil. It
// returns the blob of the answer. The error is a ModuleError or a SendError.
func AskModule(name string, body any, blob *LazyLoadBlob, answer any) (*LazyLoadBlob, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	response, err := Ask(ModuleAddress(name), data, blob, 30*time.Second)
	if err != nil {
		var failed SendError
		if errors.As(err, &failed) && failed.Kind == SendErrorKindNotAuthorised {
			return nil, fmt.Errorf("this process may not use %s:distro:sys: add \"%s:distro:sys\" to its "+
				"request-capabilities in package.toml, and have it granted: %w", name, name, err)
		}
		return nil, err
	}
	given := GetBlob()
	var refused struct{ Err json.RawMessage }
	if json.Unmarshal(response.Response.Body, &refused) == nil && refused.Err != nil {
		return given, moduleError(refused.Err)
	}
	if answer == nil {
		return given, nil
	}
	return given, json.Unmarshal(response.Response.Body, answer)
}

func moduleError(raw json.RawMessage) error {
	var kind string
	if json.Unmarshal(raw, &kind) == nil {
		return ModuleError{Kind: kind}
	}
	var more map[string]struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(raw, &more)
	for kind, each := range more {
		return ModuleError{kind, each.Error}
	}
	return ModuleError{Kind: string(raw)}
}

// KeyValues is a database of values by key, which all processes of the package share.
type KeyValues struct{ name string }

// KV is the database of that name. It is there with its first key.
func KV(name string) KeyValues { return KeyValues{name} }

type object map[string]any

func (kv KeyValues) ask(action object, value []byte, hasValue bool, answer any) (*LazyLoadBlob, error) {
	var blob *LazyLoadBlob
	if hasValue {
		blob = &LazyLoadBlob{Bytes: value}
	}
	return AskModule("kv", object{"db": kv.name, "action": action}, blob, answer)
}

// Get returns the value of a key, and whether it has one.
func (kv KeyValues) Get(key string) ([]byte, bool, error) {
	blob, err := kv.ask(object{"Get": object{"key": keyOf(key)}}, nil, false, nil)
	var refused ModuleError
	if errors.As(err, &refused) && refused.Kind == "KeyNotFound" {
		return nil, false, nil
	}
	if err != nil || blob == nil {
		return nil, false, err
	}
	return blob.Bytes, true, nil
}

// Set stores a value: durable once it returns nil. A TTL of 0 is none.
func (kv KeyValues) Set(key string, value []byte, ttl time.Duration) error {
	fields := object{"key": keyOf(key)}
	if ttl > 0 {
		fields["ttl"] = int64((ttl + time.Second - 1) / time.Second)
	}
	_, err := kv.ask(object{"Set": fields}, value, true, nil)
	return err
}

// Delete removes a key; one that is not there is none.
func (kv KeyValues) Delete(key string) error {
	_, err := kv.ask(object{"Delete": object{"key": keyOf(key)}}, nil, false, nil)
	return err
}

// CompareAndSet stores a value only if the present one is as expected, in one step; nil stands for none. It returns
// whether it was.
func (kv KeyValues) CompareAndSet(key string, expected, value []byte) (bool, error) {
	fields := object{"key": keyOf(key), "expected": nil}
	if expected != nil {
		fields["expected"] = numbers(expected)
	}
	_, err := kv.ask(object{"CompareAndSet": fields}, value, value != nil, nil)
	var refused ModuleError
	if errors.As(err, &refused) && refused.Kind == "Conflict" {
		return false, nil
	}
	return err == nil, err
}

// Keys returns at most limit keys in the order of their bytes: those that begin with prefix, after another key.
func (kv KeyValues) Keys(prefix, after string, limit int) ([]string, error) {
	var answer struct{ List struct{ Keys [][]int } }
	fields := object{"prefix": keyOf(prefix), "after": keyOf(after), "limit": limit}
	if _, err := kv.ask(object{"List": fields}, nil, false, &answer); err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(answer.List.Keys))
	for _, raw := range answer.List.Keys {
		key := make([]byte, 0, len(raw))
		for _, each := range raw {
			key = append(key, byte(each))
		}
		keys = append(keys, string(key))
	}
	return keys, nil
}

// Keys and values may be any bytes, so they are written as numbers.
func numbers(data []byte) []int {
	made := make([]int, len(data))
	for i, each := range data {
		made[i] = int(each)
	}
	return made
}

func keyOf(key string) []int { return numbers([]byte(key)) }

// SetTimer sets a durable timer, which comes to OnTimer even if process or node were restarted meanwhile. Setting one
// again moves it.
func SetTimer(id string, after time.Duration) error {
	_, err := AskModule("timer", object{"Set": object{"id": id, "milliseconds": milliseconds(after)}}, nil, nil)
	return err
}

// CancelTimer cancels a durable timer; one that is not set is none.
func CancelTimer(id string) error {
	_, err := AskModule("timer", object{"Cancel": id}, nil, nil)
	return err
}

// Timer is a call that is to come.
type Timer struct{ call func() }

// Stop keeps the call from being made. It returns whether it did.
func (t *Timer) Stop() bool {
	was := t.call != nil
	t.call = nil
	return was
}

var (
	timers     = map[uint64]*Timer{}
	timersMade uint64
	// Begins the contexts of this run's timers: those of earlier runs come, too.
	timerContext = "guesthouse.dev/guest timer " + strconv.FormatInt(time.Now().UnixNano(), 36) + " "
)

const anyTimer = "guesthouse.dev/guest timer "

// AfterFunc calls f after that time, between two messages. The call is lost when this run of the process ends. It
// needs the capability timer:distro:sys.
func AfterFunc(after time.Duration, f func()) *Timer {
	timersMade++
	timer := &Timer{f}
	timers[timersMade] = timer
	body, _ := json.Marshal(object{"SetTimer": milliseconds(after)})
	seconds := uint64(max(after, 0)/time.Second) + 3600
	context := []byte(timerContext + strconv.FormatUint(timersMade, 10))
	Send(ModuleAddress("timer"), Request{Body: body, ExpectsResponse: &seconds}, context, nil)
	return timer
}

func milliseconds(after time.Duration) int64 {
	return int64((max(after, 0) + time.Millisecond - 1) / time.Millisecond)
}

// Calls what a timer is to call. Returns whether the context was a timer's.
func ring(context []byte) bool {
	text := string(context)
	if !strings.HasPrefix(text, anyTimer) {
		return false
	}
	number, _ := strconv.ParseUint(strings.TrimPrefix(text, timerContext), 10, 64)
	timer := timers[number]
	delete(timers, number)
	if timer != nil && timer.call != nil {
		call := timer.call
		timer.call = nil
		guarded("a timer", call)
	}
	return true
}

func failedTimer(context []byte, failed SendError) bool {
	if !strings.HasPrefix(string(context), anyTimer) {
		return false
	}
	if failed.Kind == SendErrorKindTimeout {
		return ring(context)
	}
	Log(VerbosityError, "a timer was not set: "+failed.Kind.Error())
	return true
}
