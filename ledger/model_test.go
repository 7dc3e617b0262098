package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
)

// model is what the ledger should hold of one campaign, kept in memory.
type model struct {
	state   campaign.State
	budget  campaign.Micros
	spent   campaign.Micros
	people  map[int64]campaign.RecipientState
	claims  []*Claim
	open    []*Attempt
	lost    []*Attempt // swept; their worker may still answer
	numbers map[string]bool
	due     []Dispatch
}

func (m *model) counts() (c Counts) {
	for _, s := range m.people {
		c.Total++
		switch s {
		case campaign.Pending:
			c.Pending++
		case campaign.Unknown:
			c.Unknown++
		case campaign.Accepted:
			c.Accepted++
		case campaign.Rejected:
			c.Rejected++
		case campaign.Suppressed:
			c.Suppressed++
		case campaign.RecipientCancelled:
			c.Cancelled++
		}
	}
	for _, a := range m.open {
		c.InFlight += len(a.Members)
	}
	c.Pending -= c.InFlight
	return c
}

// done is what the campaign's state becomes when nobody is left.
func (m *model) done() {
	c := m.counts()
	if m.state == campaign.Cancelling {
		for id, s := range m.people {
			if s == campaign.Pending && !m.flying(id) {
				m.people[id] = campaign.RecipientCancelled
			}
		}
		c = m.counts()
	}
	if c.Pending+c.InFlight+c.Unknown > 0 {
		return
	}
	switch m.state {
	case campaign.Sending:
		m.state = campaign.Completed
	case campaign.Cancelling:
		m.state = campaign.Cancelled
	}
}

func (m *model) flying(id int64) bool {
	return slices.ContainsFunc(m.open, func(a *Attempt) bool { return slices.Contains(a.Members, id) })
}

// Whatever happens to a campaign in whatever order, the ledger holds what a
// simple model of it holds, and its invariants.
func TestTheLedgerKeepsItsInvariants(t *testing.T) {
	both(t, func(t *testing.T, base *world) {
		rapid.Check(t, func(r *rapid.T) { runModel(base.in(r), r) })
	})
}

func runModel(w *world, r *rapid.T) {
	const people = 9
	m := &model{state: campaign.Sending, budget: campaign.Micros(rapid.IntRange(people/2, 3*people).Draw(r, "budget")) * price,
		people: map[int64]campaign.RecipientState{}, numbers: map[string]bool{}}
	account := Provider{URL: "http://127.0.0.1/v3", User: fmt.Sprint(rand.Uint64())} // a probe brake of its own
	c := w.sending(people, rapid.IntRange(1, people).Draw(r, "batch size"), func(n *NewCampaign) { n.Budget, n.Provider = &m.budget, account })
	rows, err := w.l.store.read().QueryContext(w.ctx, `SELECT r.id FROM recipients r JOIN batches b ON b.id = r.batch_id WHERE b.campaign_id = $1`, c.ID)
	w.ok(err)
	ids, err := scanIDs(rows)
	w.ok(err)
	for _, id := range ids {
		m.people[id] = campaign.Pending
	}
	pick := func(n int, what string) int {
		if n == 0 {
			r.Skip("no " + what)
		}
		return rapid.IntRange(0, n-1).Draw(r, what)
	}
	takeOpen := func() *Attempt {
		i := pick(len(m.open), "attempt")
		a := m.open[i]
		m.open = slices.Delete(m.open, i, i+1)
		return a
	}
	draw := func(a *Attempt) Answer {
		return answer(a, func(i int) Outcome {
			return rapid.SampledFrom([]func(int) Outcome{accepted, accepted, rejected, unknown, pending, passing}).Draw(r, "outcome")(i)
		})
	}
	take := func(a *Attempt, ans Answer, late bool) {
		for i, o := range ans.Outcomes {
			if late && o.State == campaign.Unknown {
				continue
			}
			m.people[a.Members[i]] = o.State
			if o.State == campaign.Accepted {
				m.spent += o.Price
			}
		}
	}
	r.Repeat(map[string]func(*rapid.T){
		"dispatch": func(*rapid.T) {
			for _, d := range w.due() {
				if m.state != campaign.Sending {
					w.t.Fatalf("batch %d of a campaign that is %s is due", d.Batch, m.state)
				}
				m.due = append(m.due, d)
			}
		},
		"claim": func(*rapid.T) {
			i := pick(len(m.due), "dispatch")
			d := m.due[i] // it stays: the queue hands tasks out twice
			cl, err := w.l.Claim(w.ctx, d.Batch, d.Number, "worker", lease)
			w.ok(err)
			if cl != nil {
				if m.state != campaign.Sending {
					w.t.Fatalf("a batch of a campaign that is %s was claimed", m.state)
				}
				m.claims = append(m.claims, cl)
			}
		},
		"begin": func(*rapid.T) {
			i := pick(len(m.claims), "claim")
			cl := m.claims[i] // it stays: a worker that lost its lease tries as well
			a, err := w.tryBegin(cl)
			switch {
			case err == nil:
				if m.state != campaign.Sending {
					w.t.Fatalf("an attempt began while the campaign was %s", m.state)
				}
				for _, id := range a.Members {
					key := fmt.Sprint(id, " ", a.Number)
					if m.people[id] != campaign.Pending || m.flying(id) || m.numbers[key] {
						w.t.Fatalf("recipient %d, who is %s, leaves under number %d", id, m.people[id], a.Number)
					}
					m.numbers[key] = true
				}
				m.open = append(m.open, a)
			case errors.Is(err, ErrBudget):
				m.state = campaign.Paused
			case !errors.Is(err, ErrLostLease) && !errors.Is(err, ErrNotSending) && !errors.Is(err, ErrProbing):
				w.t.Fatal(err)
			}
		},
		"release": func(*rapid.T) {
			cl := m.claims[pick(len(m.claims), "claim")]
			w.ok(w.l.Release(w.ctx, cl, rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(r, "wait")))
		},
		"answer": func(*rapid.T) {
			a := takeOpen()
			ans := draw(a)
			w.ok(w.l.CloseAnswered(w.ctx, a, ans))
			take(a, ans, false)
			w.is(w.l.CloseAnswered(w.ctx, a, ans), ErrClosedAttempt)
		},
		"answer late": func(*rapid.T) {
			i := pick(len(m.lost), "lost attempt")
			a := m.lost[i]
			m.lost = slices.Delete(m.lost, i, i+1)
			ans := draw(a)
			w.ok(w.l.CloseAnswered(w.ctx, a, ans))
			take(a, ans, true)
		},
		"not sent": func(*rapid.T) {
			w.ok(w.l.CloseNotSent(w.ctx, takeOpen(), "no connection", 0, ""))
		},
		"unknown": func(*rapid.T) {
			a := takeOpen()
			w.ok(w.l.CloseUnknown(w.ctx, a, "no answer"))
			for _, id := range a.Members {
				m.people[id] = campaign.Unknown
			}
		},
		"refused": func(*rapid.T) {
			a := takeOpen()
			w.ok(w.l.CloseRefused(w.ctx, a, "BAD_REQUEST", "", 0))
			if len(a.Members) == 1 {
				m.people[a.Members[0]] = campaign.Rejected
			}
		},
		"time passes": func(*rapid.T) {
			w.clock.advance(rapid.SampledFrom([]time.Duration{time.Second, lease, time.Minute}).Draw(r, "time"))
			_, err := w.l.SweepAttempts(w.ctx)
			w.ok(err)
			now := w.clock.Now()
			m.open = slices.DeleteFunc(m.open, func(a *Attempt) bool {
				if a.claim.Until.After(now) {
					return false
				}
				for _, id := range a.Members {
					m.people[id] = campaign.Unknown
				}
				m.lost = append(m.lost, a)
				return true
			})
		},
		"flush": func(*rapid.T) { w.ok(w.l.ForgetDispatches(w.ctx)) },
		"pause": func(*rapid.T) {
			err := w.l.MoveCampaign(w.ctx, c.ID, Move{To: campaign.Paused, Actor: "test"})
			if m.state != campaign.Sending {
				w.code(err, campaign.CodeConflict)
				return
			}
			w.ok(err)
			m.state = campaign.Paused
		},
		"resume": func(*rapid.T) {
			err := w.l.Resume(w.ctx, c.ID, "test")
			if m.state != campaign.Paused {
				w.code(err, campaign.CodeConflict)
				return
			}
			w.ok(err)
			m.state = campaign.Sending
		},
		"cancel": func(*rapid.T) {
			if rapid.IntRange(0, 9).Draw(r, "cancel") > 0 {
				r.Skip("most campaigns are not cancelled")
			}
			err := w.l.Cancel(w.ctx, c.ID, "test", "")
			if m.state.Final() {
				w.code(err, campaign.CodeConflict)
				return
			}
			w.ok(err)
			m.state = campaign.Cancelling
		},
		"": func(*rapid.T) {
			m.done()
			w.equal(w.counts(c.ID), m.counts())
			got := w.campaign(c.ID)
			w.equal([]any{got.State, got.Spent}, []any{m.state, m.spent})
			w.check(c.ID)
		},
	})
	// Out of the way of the next campaign on the same ledger.
	if s := w.campaign(c.ID).State; s == campaign.Sending {
		w.move(c.ID, campaign.Paused)
	}
	for _, a := range m.open {
		w.ok(w.l.CloseUnknown(w.ctx, a, ""))
	}
}

// Eight workers claim and close what they get, with every kind of outcome,
// until the campaign is through.
func TestManyWorkersBringACampaignThrough(t *testing.T) {
	for kind, target := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "ledger.db") },
		"postgres": func(t *testing.T) string { return migratedPostgres(t) },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, target(t), "")
			w.l.clock = nil // the database's own
			const people = 600
			c := w.sending(people, 10)
			var posts atomic.Int64
			var g errgroup.Group
			for i := range 8 {
				rng := rand.New(rand.NewPCG(uint64(i), 1))
				g.Go(func() error {
					for {
						n, err := w.l.Counts(w.ctx, c.ID)
						if err != nil || n.Left() == 0 {
							return err
						}
						due, err := w.l.Due(w.ctx, DueQuery{Channel: campaign.SMS, Window: 16, Again: 50 * time.Millisecond})
						if err != nil {
							return err
						}
						for _, d := range due {
							if err := workOn(w, d, rng, &posts); err != nil {
								return err
							}
						}
					}
				})
			}
			w.ok(g.Wait())
			w.check(c.ID)
			n := w.counts(c.ID)
			if n.Accepted == 0 || n.Unknown == 0 || n.Rejected == 0 || n.Accepted+n.Unknown+n.Rejected != people {
				t.Errorf("%+v after %d posts", n, posts.Load())
			}
		})
	}
}

func workOn(w *world, d Dispatch, rng *rand.Rand, posts *atomic.Int64) error {
	cl, err := w.l.Claim(w.ctx, d.Batch, d.Number, fmt.Sprint(rng.Uint64()), lease)
	if err != nil || cl == nil {
		return err
	}
	a, err := w.tryBegin(cl)
	if errors.Is(err, ErrProbing) {
		return nil
	}
	if err != nil {
		return err
	}
	posts.Add(1)
	switch rng.IntN(10) {
	case 0:
		return w.l.CloseNotSent(w.ctx, a, "", 0, "")
	case 1:
		return w.l.CloseRefused(w.ctx, a, "BAD_REQUEST", "", 0)
	}
	return w.l.CloseAnswered(w.ctx, a, answer(a, func(i int) Outcome {
		switch rng.IntN(12) {
		case 0:
			return rejected(i)
		case 1:
			return unknown(i)
		case 2:
			return pending(i)
		}
		return accepted(i)
	}))
}
