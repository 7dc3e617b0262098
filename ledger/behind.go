package ledger

// behind runs one write at a time while its owner prepares the next. An error
// is told once, by the next start or by wait; everything after it fails too.
type behind struct {
	done chan error // nil: nothing is under way
	err  error
}

// start waits for the write before, and begins this one.
func (b *behind) start(fn func() error) error {
	if err := b.wait(); err != nil {
		return err
	}
	done := make(chan error, 1)
	b.done = done
	go func() { done <- fn() }()
	return nil
}

// wait returns when nothing is under way.
func (b *behind) wait() error {
	if b.done != nil {
		b.err = <-b.done
		b.done = nil
	}
	return b.err
}
