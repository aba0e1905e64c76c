"""The clients of `guesthouse.v1`, in Python and JavaScript, against real nodes by connections that break anywhere."""
