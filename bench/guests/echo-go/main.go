package main

import "guesthouse.dev/guest"

func init() {
	guest.Register(guest.Handlers{
		OnStart: func() error {
			if err := guest.BindWSPath("/", guest.WSBinding{Authenticated: true}); err != nil {
				return err
			}
			return guest.BindWSPath("/public", guest.WSBinding{})
		},
		OnMessage: func(channel *guest.Channel, message guest.Payload) {
			if err := channel.SendPayload(message); err != nil {
				guest.Log(guest.VerbosityWarning, err.Error())
			}
		},
	})
}

func main() {}
