package ledger

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
)

// TestEveryChangeOfStateIsLegalAndOnRecord does to campaigns what people,
// workers and the scheduler do, in any order, and demands after each step that
// the campaign's history leads from draft to where it stands by legal moves,
// each with who, when and why.
func TestEveryChangeOfStateIsLegalAndOnRecord(t *testing.T) {
	both(t, func(t *testing.T, shared *world) {
		seen := map[[2]campaign.State]bool{}
		runs := 0
		rapid.Check(t, func(t *rapid.T) {
			// A server takes its time for each of some thousand statements.
			if runs++; shared.l.Kind() == "postgres" && runs > 30 {
				return
			}
			w := shared.in(t)
			h := &history{world: w, moves: seen}
			at := time.Time{}
			if rapid.Bool().Draw(t, "scheduled") {
				at = w.clock.Now().Add(time.Hour)
			}
			budget := campaign.Micros(rapid.IntRange(2, 8).Draw(t, "budget")) * price
			c := w.draft(6, func(n *NewCampaign) { n.StartAt, n.Budget = at, &budget })
			h.id = c.ID
			w.plan(c, 2)
			if rapid.IntRange(0, 9).Draw(t, "quoted") > 0 {
				w.quote(c)
			}
			h.check()
			// Nobody sends what an earlier one left behind.
			defer func() { _ = w.l.Cancel(w.ctx, c.ID, "test", "the end") }()

			states := rapid.SampledFrom(campaign.States())
			how := rapid.SampledFrom([]string{"accepted", "refused", "pause", "unknown", "not sent", "not sent, pause", "lost", "refused whole", "left open"})
			t.Repeat(map[string]func(*rapid.T){
				"move": func(t *rapid.T) {
					h.may(w.l.MoveCampaign(w.ctx, c.ID, Move{To: states.Draw(t, "to"), Actor: "ann", Reason: "a person wants it"}))
				},
				"begin": func(*rapid.T) {
					h.may(w.l.Approve(w.ctx, c.ID, Approval{Actor: "ann", Reason: "approved"}))
				},
				"resume": func(*rapid.T) { h.may(w.l.Resume(w.ctx, c.ID, "bob")) },
				"cancel": func(t *rapid.T) {
					if rapid.IntRange(0, 5).Draw(t, "really") == 0 {
						h.may(w.l.Cancel(w.ctx, c.ID, "ann", "enough"))
					}
				},
				"budget": func(*rapid.T) {
					budget += price
					h.may(w.l.SetBudget(w.ctx, c.ID, budget, "ann"))
				},
				"reschedule": func(*rapid.T) {
					h.may(w.l.Reschedule(w.ctx, c.ID, Reschedule{StartAt: w.clock.Now().Add(time.Hour), Actor: "ann"}))
				},
				"wait": func(t *rapid.T) {
					w.clock.advance(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 9 * time.Hour}).Draw(t, "wait"))
				},
				"scheduler": func(*rapid.T) {
					_, _, err := w.l.StartDue(w.ctx)
					w.ok(err)
					_, err = w.l.SweepAttempts(w.ctx)
					w.ok(err)
					_, err = w.l.PauseStopped(w.ctx)
					w.ok(err)
				},
				"send": func(t *rapid.T) {
					a := h.attempt()
					if a == nil {
						return
					}
					switch how := how.Draw(t, "how"); how {
					case "accepted":
						w.answered(a, accepted)
					case "refused":
						ans := answer(a, rejected)
						ans.Brake = 0.2
						w.ok(w.l.CloseAnswered(w.ctx, a, ans))
					case "pause":
						ans := answer(a, pending)
						ans.Pause = "credit: none left"
						w.ok(w.l.CloseAnswered(w.ctx, a, ans))
					case "unknown":
						w.answered(a, unknown)
					case "not sent":
						w.ok(w.l.CloseNotSent(w.ctx, a, how, 0, ""))
					case "not sent, pause":
						w.ok(w.l.CloseNotSent(w.ctx, a, how, 0, "credentials: refused"))
					case "lost":
						w.ok(w.l.CloseUnknown(w.ctx, a, how))
					case "refused whole":
						w.ok(w.l.CloseRefused(w.ctx, a, "BAD_REQUEST", how, 0.2))
					case "left open": // for the sweeper
					}
				},
				"look": func(*rapid.T) {
					due, err := w.l.LooksDue(w.ctx, settle)
					w.ok(err)
					if len(due) == 0 {
						return
					}
					if k, err := w.l.BeginLook(w.ctx, due[0], settle, lease, "finder"); err == nil && k != nil {
						w.end(k, true, nil)
					}
				},
				"": func(*rapid.T) { h.check() },
			})
			w.check(c.ID)
		})
		shared.wholeLives(seen)
		for _, move := range [][2]campaign.State{
			{campaign.Draft, campaign.Quoted}, {campaign.Quoted, campaign.Scheduled}, {campaign.Quoted, campaign.Sending}, {campaign.Scheduled, campaign.Sending},
			{campaign.Scheduled, campaign.Paused}, {campaign.Sending, campaign.Paused}, {campaign.Paused, campaign.Sending}, {campaign.Sending, campaign.Completed},
			{campaign.Sending, campaign.Cancelling}, {campaign.Cancelling, campaign.Cancelled},
		} {
			if !seen[move] {
				t.Errorf("no campaign went from %s to %s", move[0], move[1])
			}
		}
	})
}

// wholeLives leads campaigns through their states on the usual ways.
func (w *world) wholeLives(moves map[[2]campaign.State]bool) {
	w.t.Helper()
	for _, life := range []func(h *history){
		func(h *history) { // late, resumed, answered
			h.to(campaign.Scheduled)
			w.clock.advance(9 * time.Hour)
			_, _, err := w.l.StartDue(w.ctx)
			w.ok(err)
			h.check()
			w.ok(w.l.Resume(w.ctx, h.id, "ann"))
			w.answered(h.attempt(), accepted)
		},
		func(h *history) { // on time, paused and cancelled while it is in flight
			h.to(campaign.Scheduled)
			w.clock.advance(2 * time.Hour)
			_, _, err := w.l.StartDue(w.ctx)
			w.ok(err)
			a := h.attempt()
			h.to(campaign.Paused)
			w.ok(w.l.Resume(w.ctx, h.id, "ann"))
			w.ok(w.l.Cancel(w.ctx, h.id, "ann", "enough"))
			h.check()
			w.answered(a, accepted)
		},
		func(h *history) { // at once, since its hour has come
			w.clock.advance(time.Hour)
			h.to(campaign.Sending)
			w.answered(h.attempt(), accepted)
		},
	} {
		c := w.draft(2, func(n *NewCampaign) { n.StartAt = w.clock.Now().Add(time.Hour) })
		h := &history{world: w, id: c.ID, moves: moves}
		w.plan(c, 2)
		w.quote(c)
		h.check()
		life(h)
		h.check()
		w.check(c.ID)
	}
}

// to moves the campaign, which must be possible.
func (h *history) to(to campaign.State) {
	h.t.Helper()
	if to == campaign.Scheduled || to == campaign.Sending {
		h.ok(h.l.Approve(h.ctx, h.id, Approval{To: to, Actor: "ann"}))
	} else {
		h.ok(h.l.MoveCampaign(h.ctx, h.id, Move{To: to, Actor: "ann", Reason: "a person wants it"}))
	}
	h.check()
}

// history follows the events of one campaign.
type history struct {
	*world
	id    int64
	read  int // events that were checked
	state campaign.State
	moves map[[2]campaign.State]bool
}

// may takes an error that refuses, and no other.
func (h *history) may(err error) {
	h.t.Helper()
	if code := campaign.ErrorCode(err); err != nil && code != campaign.CodeConflict && code != campaign.CodeInvalid {
		h.t.Fatal(err)
	}
	h.check()
}

// attempt begins one of the campaign's; nil when none may.
func (h *history) attempt() *Attempt {
	h.t.Helper()
	for _, d := range h.due() {
		cl, err := h.l.Claim(h.ctx, d.Batch, d.Number, "worker", lease)
		h.ok(err)
		if cl == nil || cl.Campaign.ID != h.id {
			continue
		}
		if a, err := h.tryBegin(cl); err == nil {
			return a
		}
		h.check()
	}
	return nil
}

// check demands that what is new in the campaign's history are legal moves that
// are told of in full, and that they lead to its state.
func (h *history) check() {
	h.t.Helper()
	events, err := h.l.Events(h.ctx, h.id)
	h.ok(err)
	for _, e := range events[h.read:] {
		if e.Actor == "" || !e.At.Equal(h.clock.Now()) {
			h.t.Fatalf("%q was done by %q at %s, and it is %s", e.Action, e.Actor, e.At, h.clock.Now())
		}
		to := campaign.State(e.Action)
		switch {
		case e.Action == "created":
			h.state = campaign.Draft
			continue
		case !isState(to):
			continue
		case !campaign.CanMove(h.state, to):
			h.t.Fatalf("the campaign went from %s to %s", h.state, to)
		case e.Reason == "" && to != campaign.Quoted:
			h.t.Fatalf("the campaign went from %s to %s, and nobody says why", h.state, to)
		}
		h.moves[[2]campaign.State{h.state, to}] = true
		h.state = to
	}
	h.read = len(events)
	if c := h.campaign(h.id); c.State != h.state {
		h.t.Fatalf("the campaign is %s, and its history leads to %s", c.State, h.state)
	}
}

func isState(s campaign.State) bool {
	for _, known := range campaign.States() {
		if s == known {
			return true
		}
	}
	return false
}

// TestOneStatementChangesACampaignsState holds the source to it: whatever else
// wrote the state would have no event and could not be held to the table.
func TestOneStatementChangesACampaignsState(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	update := regexp.MustCompile(`(?is)UPDATE\s+campaigns\s+SET\s(.*?)(\sWHERE\s|` + "`" + `)`)
	var found []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range update.FindAllSubmatch(source, -1) {
			if regexp.MustCompile(`(^|[\s,])state\s*=`).Match(m[1]) {
				found = append(found, name)
			}
		}
	}
	if len(found) != 1 || found[0] != "campaigns.go" {
		t.Errorf("the state of a campaign is written in %v, want one statement, in moveCampaign", found)
	}
}
