package jobs_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// audit audits a campaign; each difference is a line of kind, contact, ledger
// state and history status.
func (r *rig) audit(id int64, settle time.Duration) (*jobs.AuditResult, []string) {
	r.t.Helper()
	var all []string
	a := &jobs.Auditor{Ledger: r.l, Provider: r.p, Settle: settle}
	res, err := a.Audit(r.ctx, r.campaign(id), func(d *jobs.Difference) error {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %d %s %s", d.Kind, d.Recipient.Contact.Line, d.Recipient.State, d.Status)))
		return nil
	})
	r.ok(err)
	r.equal(res.Differences(), len(all))
	return res, all
}

func TestAnAuditOfWhatWasSentFindsNoDifference(t *testing.T) {
	t.Parallel()
	for _, ch := range []campaign.Channel{campaign.SMS, campaign.MMS, campaign.Letter, campaign.Postcard} {
		for _, mode := range []sandbox.HistoryMode{{}, {NoReference: true, Order: sandbox.PagesShuffled, IgnoreOrderBy: true}} {
			t.Run(fmt.Sprint(ch, mode.NoReference), func(t *testing.T) {
				r := newRig(t, setup{sandbox: sandbox.Options{History: mode}})
				r.work()
				id := r.begun(ch, 40).ID
				other := r.begun(ch, 40).ID // to the same people
				r.becomes(id, campaign.Completed)
				r.becomes(other, campaign.Completed)
				res, all := r.audit(id, 0)
				r.equal(all, []string(nil))
				r.equal([]any{res.Complete, res.Recipients, res.Messages, res.Fresh}, []any{true, 40, 40, 0})
			})
		}
	}
}

func TestAnAuditListsEachMessageThatAProviderDidNotKeep(t *testing.T) {
	r := newRig(t, setup{})
	r.sb.SetFaults(sandbox.Faults{Dropped: 1, Endpoints: []string{"POST /sms/send"}})
	r.work()
	id := r.begun(campaign.SMS, 3).ID
	r.becomes(id, campaign.Completed)
	r.equal(r.counts(id).Accepted, 3)
	res, all := r.audit(id, 0)
	r.equal(all, []string{"missing 2 accepted", "missing 3 accepted", "missing 4 accepted"})
	r.equal(res.Complete, true)
	res, all = r.audit(id, time.Hour) // history may not show them yet
	r.equal(all, []string(nil))
	r.equal(res.Fresh, 3)
}

// rewriting lets change rewrite what the history answers.
func (r *rig) rewriting(change func(body []byte) []byte) {
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/history") {
			r.sb.ServeHTTP(w, req)
			return
		}
		rec := httptest.NewRecorder()
		r.sb.ServeHTTP(rec, req)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(rec.Code)
		w.Write(change(rec.Body.Bytes())) //nolint:errcheck // the client has gone
	})
}

func TestAnAuditFindsPricesAndStatusesThatDiffer(t *testing.T) {
	r := newRig(t, setup{})
	r.work()
	id := r.begun(campaign.SMS, 5).ID
	r.becomes(id, campaign.Completed)
	price := ""
	r.ok(r.l.EachRecipient(r.ctx, r.campaign(id), func(row *ledger.ReportRow) error { price = row.Price.String(); return nil }))
	r.rewriting(func(body []byte) []byte {
		rows := bytes.Split(body, []byte(`{"direction"`))
		for i, row := range rows {
			switch {
			case bytes.Contains(row, []byte(phone(0))): // the first contact, of line 2
				rows[i] = bytes.Replace(row, []byte(`"message_price":"`+price), []byte(`"message_price":"9`), 1)
			case bytes.Contains(row, []byte(phone(1))):
				rows[i] = bytes.Replace(row, []byte(`"status":"Sent"`), []byte(`"status":"Failed"`), 1)
				rows[i] = bytes.Replace(rows[i], []byte(`"status":"Queued"`), []byte(`"status":"Failed"`), 1)
			case bytes.Contains(row, []byte(phone(2))): // no more than an answer rounds off
				rows[i] = bytes.Replace(row, []byte(`"message_price":"`+price), []byte(`"message_price":"`+price+"00"), 1)
			}
		}
		return bytes.Join(rows, []byte(`{"direction"`))
	})
	res, all := r.audit(id, 0)
	if len(all) != 2 || !strings.HasPrefix(all[0], "price 2 accepted") || all[1] != "status 3 accepted Failed" {
		t.Fatalf("%q", all)
	}
	r.equal([]any{res.Price, res.Status}, []any{1, 1})
}

func TestAnAuditFindsMessagesThatTheLedgerDoesNotCount(t *testing.T) {
	t.Parallel()
	for _, hidden := range []bool{false, true} {
		t.Run(fmt.Sprint("without references: ", hidden), func(t *testing.T) {
			r := newRig(t, setup{})
			r.work()
			c := r.begun(campaign.SMS, 4)
			r.becomes(c.ID, campaign.Completed)
			var ids []int64
			r.ok(r.l.EachRecipient(r.ctx, c, func(row *ledger.ReportRow) error { ids = append(ids, row.Recipient); return nil }))
			// Somebody sends once more, as a copy of the ledger would.
			ref := campaign.Reference{Ledger: r.l.ID(), Recipient: ids[2], Attempt: 2}.String()
			_, err := r.p.Client().SMS.Send(r.ctx, []clicksend.SMSMessage{{To: phone(2), From: "ACME", Body: "Hi again", CustomString: ref}})
			r.ok(err)
			r.sb.SetHistory(sandbox.HistoryMode{NoReference: hidden})
			res, all := r.audit(c.ID, 0)
			if len(all) != 1 || !strings.HasPrefix(all[0], "extra 4 accepted") {
				t.Fatalf("%q", all)
			}
			r.equal(res.Messages, 5)
		})
	}
}

func TestAnAuditThatCannotReadEverythingSaysSo(t *testing.T) {
	r := newRig(t, setup{})
	r.work()
	id := r.begun(campaign.SMS, 3).ID
	r.becomes(id, campaign.Completed)
	r.rewriting(func(body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(`"message_id":"`), []byte(`"message_id":"","x":"`))
	})
	res, _ := r.audit(id, 0)
	if res.Complete || res.Doubt == "" {
		t.Fatalf("%+v", res)
	}
}

func TestAnAuditOfACampaignThatHasNotBegunIsEmpty(t *testing.T) {
	r := newRig(t, setup{})
	res, all := r.audit(r.quoted(r.content(campaign.SMS), 3).ID, 0)
	r.equal(all, []string(nil))
	r.equal([]any{res.Complete, res.Recipients, res.Pages}, []any{true, 3, 0})
}
