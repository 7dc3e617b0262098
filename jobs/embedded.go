package jobs

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Embedded is a Redis inside the process, for a Postrider without servers. It
// keeps nothing on disk: the ledger does, and dispatches anew after a start.
type Embedded struct {
	server   *miniredis.Miniredis
	password string
	quit     chan struct{}
	done     sync.WaitGroup
}

// StartEmbedded listens on a free port of the loopback interface, behind a
// random password, and drives the server's clock, which does not move by
// itself: without it no lease and no retention would ever end.
func StartEmbedded() (*Embedded, error) {
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	e := &Embedded{server: miniredis.NewMiniRedis(), password: hex.EncodeToString(secret), quit: make(chan struct{})}
	e.server.RequireAuth(e.password)
	if err := e.server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("starting the embedded queue: %w", err)
	}
	e.done.Add(1)
	go e.tick()
	return e, nil
}

func (e *Embedded) tick() {
	defer e.done.Done()
	const step = 250 * time.Millisecond
	t := time.NewTicker(step)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case now := <-t.C:
			e.server.FastForward(now.Sub(last))
			last = now
		case <-e.quit:
			return
		}
	}
}

// Options is how a go-redis client reaches the server.
func (e *Embedded) Options() *redis.UniversalOptions {
	return &redis.UniversalOptions{Addrs: []string{e.server.Addr()}, Password: e.password}
}

// Flush forgets everything, as a Redis does that lost its memory. For tests.
func (e *Embedded) Flush() { e.server.FlushAll() }

// Break lets every command fail, as a Redis does that is away, until Mend. For
// tests.
func (e *Embedded) Break() { e.server.SetError("LOADING broken for a test") }

// Mend ends what Break began.
func (e *Embedded) Mend() { e.server.SetError("") }

// Close ends the server.
func (e *Embedded) Close() {
	close(e.quit)
	e.done.Wait()
	e.server.Close()
}
