module echo

go 1.24

require guesthouse.dev/guest v0.0.0
