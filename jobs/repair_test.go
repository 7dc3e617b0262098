package jobs_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// backUp backs the ledger up.
func (r *rig) backUp() (file string) {
	r.t.Helper()
	file = filepath.Join(r.t.TempDir(), "backup")
	_, err := ledger.MakeBackup(r.ctx, r.target, file)
	r.ok(err)
	return file
}

// restore makes the backup the rig's ledger; the one before is lost.
func (r *rig) restore(file string) {
	r.t.Helper()
	target := filepath.Join(r.t.TempDir(), "restored.db")
	_, err := ledger.Restore(r.ctx, target, file, false)
	r.ok(err)
	r.reopen(target)
}

// reopen makes the ledger at target the rig's.
func (r *rig) reopen(target string) {
	r.t.Helper()
	r.ok(r.l.Close())
	var err error
	r.l, err = ledger.Open(r.ctx, target, ledger.Options{})
	r.ok(err)
	r.target, r.sender.Ledger = target, r.l
}

// leave sends n batches of a channel, or all with 0.
func (r *rig) leave(ch campaign.Channel, n int) {
	r.t.Helper()
	for i, d := range r.dispatched(ch) {
		if n == 0 || i < n {
			r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
		}
	}
	r.ok(r.l.ForgetDispatches(r.ctx))
}

func (r *rig) repair() *jobs.RepairResult {
	r.t.Helper()
	res, err := (&jobs.Repairer{Ledger: r.l, Provider: r.p, Actor: "test"}).Repair(r.ctx)
	r.ok(err)
	return res
}

// repaired repairs, and goes on with the ledger that may send again.
func (r *rig) repaired() *jobs.RepairResult {
	r.t.Helper()
	res := r.repair()
	if res.Ledger == "" {
		r.t.Fatalf("the quarantine stays: %q", res.Problems())
	}
	r.reopen(r.target)
	r.equal(r.l.ID(), res.Ledger)
	return res
}

func TestWhatWasSentAfterTheBackupIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for _, ch := range []campaign.Channel{campaign.SMS, campaign.MMS, campaign.Letter, campaign.Postcard} {
		for _, mode := range []sandbox.HistoryMode{{}, {NoReference: true, Order: sandbox.ByID, IgnoreOrderBy: true}} {
			t.Run(fmt.Sprint(ch, mode.NoReference), func(t *testing.T) {
				r := newRig(t, setup{sandbox: sandbox.Options{History: mode}})
				c := r.begun(ch, 2500) // three batches
				r.leave(ch, 1)
				file := r.backUp()
				r.leave(ch, 1)
				r.equal(r.counts(c.ID).Accepted, 2000)
				r.restore(file)
				r.equal(r.counts(c.ID).Accepted, 1000)
				r.leave(ch, 0)
				r.equal(r.sb.Stats().Accepted, int64(2000)) // nothing leaves in quarantine
				res := r.repaired()
				r.equal(res.Held, []int64{c.ID})
				r.equal([]int{res.Channels[0].Accepted, res.Channels[0].Unclear, res.Channels[0].Strange}, []int{1000, 0, 0})
				r.equal([]int{r.counts(c.ID).Accepted, r.counts(c.ID).Pending}, []int{2000, 500})
				r.equal(r.campaign(c.ID).State, campaign.Paused)
				r.ok(r.l.Resume(r.ctx, c.ID, "test"))
				r.leave(ch, 0)
				r.equal(r.campaign(c.ID).State, campaign.Completed)
				r.equal(len(r.accepted(r.sb)), 2500) // each once
				after := r.campaign(c.ID)
				r.equal(after.Spent, after.Quoted)
				r.equal(after.Reserved, campaign.Micros(0))
				found, all := r.audit(c.ID, 0)
				r.equal(all, []string(nil))
				r.equal(found.Messages, 2500)
			})
		}
	}
}

func TestACampaignThatEndedAfterTheBackupHasEnded(t *testing.T) {
	r := newRig(t, setup{})
	c := r.quoted(r.content(campaign.SMS), 30) // approved after the backup
	paused := r.begun(campaign.SMS, 20)
	r.ok(r.l.MoveCampaign(r.ctx, paused.ID, ledger.Move{To: campaign.Paused, Actor: "test", Reason: "wait"}))
	file := r.backUp()
	r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
	r.ok(r.l.Resume(r.ctx, paused.ID, "test"))
	r.leave(campaign.SMS, 0)
	later := r.begun(campaign.SMS, 7)
	r.leave(campaign.SMS, 0)
	r.equal(r.campaign(later.ID).State, campaign.Completed)
	r.restore(file)
	res := r.repaired()
	r.equal(res.Held, []int64(nil))
	r.equal([]int{res.Channels[0].Accepted, res.Channels[0].Strange}, []int{50, 7})
	r.equal(r.campaign(c.ID).State, campaign.Completed)
	r.equal(r.campaign(paused.ID).State, campaign.Completed)
}

func TestWhoMayHaveGotAPostcardIsLeftToAPerson(t *testing.T) {
	r := newRig(t, setup{sandbox: sandbox.Options{History: sandbox.HistoryMode{NoReference: true}}})
	a := r.begun(campaign.Postcard, 4)
	content := a.Content
	b := r.quoted(content, 4) // the same postcard, to the same people
	r.ok(r.l.Approve(r.ctx, b.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
	file := r.backUp()
	r.leave(campaign.Postcard, 1) // of a
	r.restore(file)
	res := r.repaired()
	r.equal([]int{res.Channels[0].Accepted, res.Channels[0].Unclear}, []int{0, 8})
	for _, id := range []int64{a.ID, b.ID} {
		r.equal(r.counts(id).Unknown, 4)
		all, err := r.l.UnknownAttempts(r.ctx, id, 0)
		r.ok(err)
		r.equal(len(all), 1)
	}
	// A look does not guess either.
	finder := &jobs.Reconciler{Ledger: r.l, Provider: r.p, Log: r.log, Name: "finder"}
	r.ok(finder.Reconcile(r.ctx, ledger.LookDue{Provider: r.account, Channel: campaign.Postcard}))
	r.equal([]int{r.counts(a.ID).Unknown, r.counts(b.ID).Unknown}, []int{4, 4})
	_, err := r.l.Assume(r.ctx, a.ID, 0, true, "test")
	r.ok(err)
	_, err = r.l.Assume(r.ctx, b.ID, 0, false, "test")
	r.ok(err)
	r.ok(r.l.Resume(r.ctx, a.ID, "test"))
	r.ok(r.l.Resume(r.ctx, b.ID, "test"))
	r.leave(campaign.Postcard, 0)
	r.equal([]int{r.counts(a.ID).Accepted, r.counts(b.ID).Accepted}, []int{4, 4})
	r.equal(r.sb.Stats().Accepted, int64(8))
}

func TestAQuarantineStaysWhenHistoryCannotBeReadCompletely(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 30)
	file := r.backUp()
	r.leave(campaign.SMS, 0)
	r.restore(file)
	r.sb.SetFaults(sandbox.Faults{Error503: 1, Endpoints: []string{"GET /sms/history"}})
	res := r.repair()
	r.equal(res.Ledger, "")
	r.equal(len(res.Problems()), 1)
	q, err := r.l.Quarantine(r.ctx)
	r.ok(err)
	if q.Reason == "" {
		t.Fatal("the quarantine was lifted")
	}
	r.sb.SetFaults(sandbox.Faults{})
	r.repaired()
	r.equal(r.campaign(c.ID).State, campaign.Completed)
	_, err = (&jobs.Repairer{Ledger: r.l, Provider: r.p}).Repair(r.ctx)
	if campaign.ErrorCode(err) != campaign.CodeConflict {
		t.Fatalf("repaired twice: %v", err)
	}
}

func TestTheCampaignsOfAnotherAccountKeepTheQuarantine(t *testing.T) {
	r := newRig(t, setup{})
	r.begun(campaign.SMS, 3)
	r.begun(campaign.SMS, 3, func(n *ledger.NewCampaign) { n.Provider.User = "another" })
	r.ok(r.l.SetQuarantine(r.ctx, "of a test"))
	res := r.repair()
	r.equal(res.Ledger, "")
	r.equal([]string{res.Channels[0].Problem, res.Channels[1].Provider.User}, []string{"", "another"})
	r.equal(len(res.Problems()), 1)
	res = r.repair() // the first is not read again
	r.equal([]bool{res.Channels[0].Read, res.Channels[0].Skipped, res.Channels[1].Read}, []bool{true, true, false})
}

func TestARepairWaitsUntilHistoryShowsWhatWasSentLast(t *testing.T) {
	r := newRig(t, setup{})
	r.begun(campaign.SMS, 3)
	r.ok(r.l.SetQuarantine(r.ctx, "of a test"))
	ctx, stop := context.WithCancel(r.ctx)
	_, err := (&jobs.Repairer{Ledger: r.l, Provider: r.p, Settle: time.Hour, Say: func(string, ...any) { stop() }}).Repair(ctx)
	if ctx.Err() == nil || err == nil {
		t.Fatalf("it did not wait: %v", err)
	}
	r.equal(r.sb.Stats().Endpoints["GET /sms/history"].Requests, int64(0))
}

func TestARepairKilledInTheMiddleIsBegunAgain(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 3500)
	file := r.backUp()
	r.leave(campaign.SMS, 3)
	r.restore(file)
	ctx, kill := context.WithCancel(r.ctx)
	var pages atomic.Int64
	r.rewriting(func(body []byte) []byte {
		if pages.Add(1) == 25 {
			kill()
		}
		return body
	})
	_, err := (&jobs.Repairer{Ledger: r.l, Provider: r.p}).Repair(ctx)
	if err == nil {
		t.Fatal("it was not killed")
	}
	if n := r.counts(c.ID).Accepted; n == 0 || n >= 3000 {
		t.Fatalf("%d were adopted before it was killed", n)
	}
	r.front(nil)
	r.repaired()
	r.ok(r.l.Resume(r.ctx, c.ID, "test"))
	r.leave(campaign.SMS, 0)
	r.equal(len(r.accepted(r.sb)), 3500)
	after := r.campaign(c.ID)
	r.equal([]any{after.State, after.Spent, after.Reserved}, []any{campaign.Completed, after.Quoted, campaign.Micros(0)})
}

func TestAnAttemptThatWasUnderWayAtTheBackupIsFoundOut(t *testing.T) {
	r := newRig(t, setup{})
	c := r.begun(campaign.SMS, 1500)
	var file string
	r.front(nil)
	due := r.dispatched(campaign.SMS)
	claim, err := r.l.Claim(r.ctx, due[0].Batch, due[0].Number, "worker", time.Minute)
	r.ok(err)
	members := make([]int64, len(claim.Recipients))
	messages := make([]clicksend.SMSMessage, len(claim.Recipients))
	for i, k := range claim.Recipients {
		members[i] = k.ID
	}
	a, err := r.l.BeginAttempt(r.ctx, claim, ledger.Begin{Within: time.Minute, Members: members})
	r.ok(err)
	file = r.backUp()
	for i, k := range claim.Recipients {
		ref := campaign.Reference{Ledger: r.l.ID(), Recipient: k.ID, Attempt: a.Number}
		messages[i] = clicksend.SMSMessage{To: k.Contact.Phone, From: "ACME", Body: "Hi Ann", CustomString: ref.String()}
	}
	_, err = r.p.Client().SMS.Send(r.ctx, messages[:400])
	r.ok(err)
	r.restore(file)
	res := r.repaired()
	r.equal(res.Channels[0].Accepted, 400)
	n := r.counts(c.ID)
	r.equal([]int{n.Accepted, n.Unknown, n.Pending}, []int{400, 600, 500}) // the rest is found out in time
}
