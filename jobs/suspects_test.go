package jobs

import (
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

// scripted is a simulation in which what happens is said beforehand: everything
// not in the script is as simple as it can be.
func scripted(t *testing.T, script map[string]int) *simulation {
	t.Helper()
	t.Parallel()
	s := newSimulation(t, modelTemplate(t), modelFolder(t), modelSettle, func(n int, what string) int { return min(script[what], n-1) })
	t.Cleanup(s.end)
	return s
}

// next begins the attempt of the first batch that is due.
func (s *simulation) next() *worker {
	s.sweep()
	for n := len(s.workers); len(s.workers) == n; {
		s.claim(0)
	}
	w := s.workers[len(s.workers)-1]
	s.check()
	s.beginAttempt(w)
	return w
}

// lookNow reads history for the first channel that is due.
func (s *simulation) lookNow() {
	s.sweep()
	s.look(s.looksDue[0], s.processes[0])
	s.check()
}

// What the draws of the simulation mean.
const (
	echoNever      = 1
	providerFails  = 8
	acceptsAndErrs = 18
)

// An answer may name a message without knowing what became of it. In history it
// is found by its id, where no reference is echoed.
func TestARowIsFoundByTheIDThatTheAnswerGaveIt(t *testing.T) {
	script := map[string]int{"references echoed": echoNever, "message": acceptsAndErrs}
	s := scripted(t, script)
	w := s.next()
	s.post(w)
	s.hear(w)
	s.record(w)
	s.advance(modelSettle)
	s.lookNow()
	if p := s.people[w.attempt.Members[0]]; p.state != campaign.Accepted {
		t.Fatalf("the recipient is %s, and the provider has its message", p.state)
	}
}

// A row that may be of a post under way says nothing of another campaign's
// recipient at the same number.
func TestARowOfAPostUnderWayIsNobodyElses(t *testing.T) {
	script := map[string]int{"references echoed": echoNever, "campaigns": 1, "shared": 1, "provider": providerFails}
	s := scripted(t, script)
	lost := s.next()
	s.post(lost)
	s.hear(lost)
	s.record(lost)
	s.advance(modelSettle)

	script["provider"] = 0
	w := s.next()
	s.post(w)
	s.lookNow()
	if p := s.people[lost.attempt.Members[0]]; p.state != campaign.Unknown {
		t.Fatalf("the recipient is %s, and nobody can know that yet", p.state)
	}
	s.runOut()
	for id, p := range s.people {
		if p.state != campaign.Accepted || p.messages != 1 {
			t.Errorf("recipient %d is %s in the end and has %d messages", id, p.state, p.messages)
		}
	}
}

// A message that was sent again, and whose answer is under way, is not taken for
// the one that was shown absent.
func TestAResendUnderWayIsNoLateEvidence(t *testing.T) {
	script := map[string]int{"references echoed": echoNever, "provider": providerFails}
	s := scripted(t, script)
	lost := s.next()
	s.post(lost)
	s.hear(lost)
	s.record(lost)
	s.advance(modelSettle)
	s.lookNow()
	s.advance(5 * modelSettle) // it is read again for what comes late

	script["provider"] = 0
	w := s.next()
	s.post(w)
	s.lookNow()
	s.hear(w)
	s.record(w)
	s.check()
	if s.duplicates != 0 {
		t.Fatalf("%d duplicates are on record", s.duplicates)
	}
	s.advance(time.Second)
	s.runOut()
}
