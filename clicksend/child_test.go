package clicksend

// child runs the part of a test that needs a process of its own, if this
// process was started for it.
func child() bool { return false }
