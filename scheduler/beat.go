// Package scheduler decides when things happen: it starts campaigns whose hour
// has come, and beats for the sweeper that dispatches what the ledger says is
// due.
package scheduler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/postrider/postrider/jobs"
)

// Beat runs the dispatcher again and again. Any number of them may run, in as
// many processes: the ledger decides who dispatches what.
type Beat struct {
	Dispatcher *jobs.Dispatcher
	Log        *slog.Logger
	// Every is the pause between two sweeps; 250 ms when 0.
	Every time.Duration

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start begins to beat, at once. It never fails: a database or a Redis that is
// away is reported once, and asked again at every beat until it is back.
func (b *Beat) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.done.Add(1)
	go func() {
		defer b.done.Done()
		b.run(ctx)
	}()
}

// Shutdown ends the beat after the sweep under way.
func (b *Beat) Shutdown() {
	if b.cancel != nil {
		b.cancel()
	}
	b.done.Wait()
}

func (b *Beat) run(ctx context.Context) {
	every := b.Every
	if every == 0 {
		every = 250 * time.Millisecond
	}
	var trouble error
	for {
		_, err := b.Dispatcher.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && trouble == nil:
			b.Log.Error("nothing can be dispatched for now; trying again", "error", err)
		case err == nil && trouble != nil:
			b.Log.Info("dispatching goes on")
		}
		trouble = err
		wait := every
		if err != nil {
			wait = max(every, time.Second)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}
