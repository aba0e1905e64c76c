// A chat room, as the sample chat is in Python. Every behaviour is here; the page in ui/ only shows what it is told.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"guesthouse.dev/guest"
)

const (
	maxHistory  = 50
	maxName     = 32
	maxText     = 2000
	maxChannels = 10_000
)

type entry struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Text string `json:"text"`
	At   int64  `json:"at"`
}

// One room for all channels.
var (
	names = map[*guest.Channel]string{}
	// Those who took a name or said something: only they are announced.
	people  = map[*guest.Channel]bool{}
	history = []entry{}
	said    int
)

func init() {
	guest.Register(guest.Handlers{
		OnStart:   func() error { return guest.BindWSPath("/", guest.WSBinding{Authenticated: true}) },
		OnOpen:    onOpen,
		OnMessage: onMessage,
		OnClose:   func(channel *guest.Channel) { left(channel) },
	})
}

func main() {}

func onOpen(channel *guest.Channel) {
	if len(names) >= maxChannels {
		_ = channel.Close(1013, "the chat is full: come back later")
		return
	}
	names[channel] = freeName("guest", nil)
	tell(channel, map[string]any{"type": "welcome", "name": names[channel], "people": everyone(), "history": history})
}

func onMessage(channel *guest.Channel, message guest.Payload) {
	if err := obey(channel, message); err != nil {
		tell(channel, map[string]any{"type": "error", "reason": err.Error()})
	}
}

// The error is for the user.
func obey(channel *guest.Channel, message guest.Payload) error {
	var text string
	if utf8.Valid(message.Data) && message.JSON(&text) == nil && strings.HasPrefix(strings.TrimSpace(message.Text()), `"`) {
		return say(channel, text)
	}
	if !utf8.Valid(message.Data) || !json.Valid(message.Data) {
		return errors.New("Messages are JSON.")
	}
	var order struct {
		Type string
		Text *string
		Name *string
	}
	err := message.JSON(&order)
	switch {
	case err == nil && order.Type == "say" && order.Text != nil:
		return say(channel, *order.Text)
	case err == nil && order.Type == "name" && order.Name != nil:
		return rename(channel, *order.Name)
	}
	return errors.New(`Send {"type": "say", "text": …} or {"type": "name", "name": …}.`)
}

func say(channel *guest.Channel, given string) error {
	text := strings.TrimSpace(given)
	length := utf8.RuneCountInString(text)
	if length == 0 {
		return errors.New("An empty message says nothing.")
	}
	if length > maxText {
		return fmt.Errorf("A message may have %d characters; yours has %d.", maxText, length)
	}
	join(channel)
	if !channel.IsOpen() { // it was too slow for that
		return nil
	}
	said++
	history = append(history, entry{said, names[channel], text, time.Now().Unix()})
	if len(history) > maxHistory {
		history = slices.Delete(history, 0, 1)
	}
	tellAll(struct {
		Type string `json:"type"`
		entry
	}{"said", history[len(history)-1]})
	return nil
}

func rename(channel *guest.Channel, given string) error {
	name := strings.Join(strings.Fields(given), " ")
	if name == "" || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("A name has 1 to %d visible characters.", maxName)
	}
	before, isNew := names[channel], !people[channel]
	if name != before {
		name = freeName(name, channel)
	}
	names[channel] = name
	if name != before || isNew {
		tell(channel, map[string]any{"type": "named", "name": name})
	}
	if !channel.IsOpen() {
		return nil
	}
	join(channel)
	if !isNew && name != before {
		tellAll(map[string]any{"type": "renamed", "before": before, "name": name, "people": everyone()})
	}
	return nil
}

// Announces a channel, if it was not yet.
func join(channel *guest.Channel) {
	if !people[channel] {
		people[channel] = true
		tellAll(map[string]any{"type": "joined", "name": names[channel], "people": everyone()})
	}
}

func everyone() []string {
	all := []string{}
	for channel := range people {
		all = append(all, names[channel])
	}
	slices.SortFunc(all, func(one, other string) int { return strings.Compare(strings.ToLower(one), strings.ToLower(other)) })
	return all
}

func freeName(wanted string, but *guest.Channel) string {
	taken := map[string]bool{}
	for channel, name := range names {
		if channel != but {
			taken[strings.ToLower(name)] = true
		}
	}
	beginning := []rune(wanted)
	beginning = beginning[:min(len(beginning), maxName-5)]
	name := wanted
	for number := 2; taken[strings.ToLower(name)]; number++ {
		name = fmt.Sprintf("%s %d", string(beginning), number)
	}
	return name
}

func tell(channel *guest.Channel, message any) {
	if err := channel.SendJSON(message); err == guest.PushErrorChannelFull {
		drop(channel)
	}
}

func tellAll(message any) {
	refused, err := guest.BroadcastJSON(message)
	if err != nil {
		guest.Log(guest.VerbosityError, err.Error())
	}
	slow := []*guest.Channel{}
	for channel, err := range refused {
		if err == guest.PushErrorChannelFull {
			slow = append(slow, channel)
		}
	}
	drop(slow...)
}

// Closes channels of clients that read too slowly, so that nobody misses a message unknowingly.
func drop(slow ...*guest.Channel) {
	for _, channel := range slow {
		_ = channel.Close(1013, "you read too slowly: connect again")
	}
	left(slow...)
}

func left(channels ...*guest.Channel) {
	gone := []string{}
	for _, channel := range channels {
		if people[channel] {
			gone = append(gone, names[channel])
		}
		delete(people, channel)
		delete(names, channel)
	}
	for _, name := range gone {
		tellAll(map[string]any{"type": "left", "name": name, "people": everyone()})
	}
}
