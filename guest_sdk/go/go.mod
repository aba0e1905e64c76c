module guesthouse.dev/guest

go 1.24
