// Does what a message says; the tests know the answers.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"guesthouse.dev/guest"
)

var (
	closed uint32
	timed  *guest.Channel
)

func init() {
	guest.Route("GET", "/rooms/:room", guest.HTTPBinding{}, func(request *guest.HTTPRequest) guest.HTTPResponse {
		return guest.JSONResponse(200, map[string]string{
			"room": request.Param("room"), "query": request.Query("q"), "agent": request.Header("USER-AGENT"),
		})
	})
	guest.Route("POST", "/rooms/:room", guest.HTTPBinding{}, func(request *guest.HTTPRequest) guest.HTTPResponse {
		var value struct{ A any }
		if request.JSON(&value) != nil {
			return guest.TextResponse(400, "no JSON\n")
		}
		if value.A == "panic" {
			panic("on purpose")
		}
		return guest.JSONResponse(201, value.A)
	})
	guest.Register(guest.Handlers{
		OnStart: func() error { return guest.BindHTTPPath("/raw", guest.HTTPBinding{}) },
		OnOpen:  func(*guest.Channel) {},
		OnResume: func(channel *guest.Channel) {
			say(channel, "resumed")
		},
		OnMessage: onMessage,
		OnClose:   func(channel *guest.Channel) { closed = channel.ID },
		OnHTTP: func(request *guest.HTTPRequest) guest.HTTPResponse {
			return guest.HTTPResponse{
				MIME: "application/octet-stream", Headers: []guest.Pair{{Name: "X-Method", Value: request.Method}}, Body: request.Body,
			}
		},
		OnTimer: func(id string) { say(timed, "durable "+id) },
	})
}

func main() {}

func say(channel *guest.Channel, text string) {
	if err := channel.Send(text); err != nil {
		guest.Log(guest.VerbosityError, err.Error())
	}
}

func onMessage(channel *guest.Channel, message guest.Payload) {
	if !message.IsText {
		_ = channel.SendBytes(message.Data)
		return
	}
	switch text := message.Text(); text {
	case "json":
		_ = channel.SendJSON(map[string]any{"text": "\"\\\n\x01é😀", "whole": -9007199254740993, "none": nil, "items": []any{1, "two"}})
	case "state":
		kept := string(guest.LoadState())
		fmt.Println("kept", kept)
		if err := guest.SaveState([]byte(kept + "x")); err != nil {
			panic(err)
		}
		say(channel, kept)
	case "kv":
		_ = channel.SendJSON(kv())
	case "timer":
		guest.AfterFunc(0, func() { say(channel, "stopped") }).Stop()
		guest.AfterFunc(time.Millisecond, func() { say(channel, "due") })
	case "durable":
		timed = channel
		if err := guest.SetTimer("é", time.Millisecond); err != nil {
			panic(err)
		}
	case "random":
		var drawn [16]byte
		_, _ = rand.Read(drawn[:])
		say(channel, hex.EncodeToString(drawn[:])+time.Now().Format(time.RFC3339Nano))
	case "print":
		fmt.Println("printed", 42)
		fmt.Fprintln(os.Stderr, "to the log\xff!")
		say(channel, "printed")
	case "not utf-8":
		say(channel, channel.Send("\xff").Error())
	case "goroutines":
		sum, done := 0, make(chan int)
		for number := range 100 {
			go func() {
				time.Sleep(time.Duration(number%3) * time.Millisecond)
				done <- number
			}()
		}
		for range 100 {
			sum += <-done
		}
		say(channel, fmt.Sprint(sum))
	case "garbage":
		for range 2000 {
			_ = strings.Repeat("x", 100_000)
		}
		say(channel, fmt.Sprint(len(guest.OurCapabilities())))
	case "all":
		guest.Broadcast("to all")
		guest.BroadcastBytes([]byte{1, 255}, channel)
		guest.SendToPath("/", "to the path")
		guest.SendBytesToPath("/", []byte{2})
	case "close":
		guest.CloseChannels(4001, "as you wish", channel)
	case "closed":
		say(channel, fmt.Sprint(closed, len(guest.Channels())))
	case "trace":
		span := guest.StartSpan("app's part")
		span.Set(guest.TextAttribute("text", "é"), guest.IntegerAttribute("whole", -1), guest.NumberAttribute("real", 0.5), guest.TruthAttribute("yes", true))
		span.AddEvent("event")
		span.End(nil)
		say(channel, guest.Traceparent())
	case "claims":
		var claims struct{ Name string }
		_, err := channel.Claims(&claims)
		say(channel, fmt.Sprint(claims.Name, err))
	case "ask":
		none := guest.Address{Node: guest.Our().Node, Process: guest.ProcessID{ProcessName: "none", PackageName: "test", PublisherNode: "os"}}
		_, err := guest.Ask(none, []byte("hello"), nil, 5*time.Second)
		say(channel, err.Error())
	case "panic":
		var none map[string]int
		none["a"] = 1
	case "exit":
		os.Exit(3)
	case "overflow":
		say(channel, fmt.Sprint(deep(0)))
	default:
		say(channel, channel.Opened.Path+": "+text)
	}
}

func deep(depth int) int { return deep(depth+1) + depth }

func kv() []any {
	values, told := guest.KV("values"), []any{}
	value := []byte("1\x00\xff")
	told = append(told, values.Set("a", value, 0) == nil)
	found, has, err := values.Get("a")
	told = append(told, string(found) == string(value), has, err == nil)
	_, has, err = values.Get("b")
	told = append(told, has, err == nil)
	set, _ := values.CompareAndSet("a", value, []byte("2"))
	unset, _ := values.CompareAndSet("a", []byte("1"), []byte("3"))
	_ = values.Set("b", []byte{}, 0)
	keys, _ := values.Keys("", "a", 10)
	told = append(told, set, unset, keys)
	_, err = guest.AskModule("vfs", map[string]any{}, nil, nil)
	return append(told, strings.Contains(err.Error(), "request-capabilities"))
}
