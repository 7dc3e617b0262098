package scheduler_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/segment"
)

// members stores a list of people of these ages, in place of the one of that
// name.
func (o *postOffice) members(name string, from int, ages ...int) {
	o.t.Helper()
	if old, err := o.l.FindList(o.ctx, name); err == nil {
		o.ok(o.l.RemoveList(o.ctx, old.ID))
	}
	w, err := o.l.CreateList(o.ctx, name, name+".csv", "contact")
	o.ok(err)
	columns := campaign.NewColumns("age")
	for i, age := range ages {
		o.ok(w.Contacts(o.ctx, []campaign.Contact{{Line: i + 2, Phone: fmt.Sprintf("+6141234%04d", from+i), Country: "AU", Fields: campaign.Fields{Columns: columns, Values: []string{fmt.Sprint(age)}}}}))
	}
	_, err = w.Finish(o.ctx, ledger.ListCounts{Rows: len(ages), Imported: len(ages)})
	o.ok(err)
}

// phones are those that the campaigns of a run were planned for.
func (o *postOffice) phones(r *ledger.Run) (all []string) {
	o.t.Helper()
	campaigns, err := o.l.RunCampaigns(o.ctx, r.ID)
	o.ok(err)
	for _, c := range campaigns {
		o.ok(o.l.EachRecipient(o.ctx, c, func(r *ledger.ReportRow) error {
			all = append(all, strings.Clone(r.Contact.Phone))
			return nil
		}))
	}
	slices.Sort(all)
	return all
}

// TestEachRunAsksItsListAnew: the segment of a schedule is that of the day.
func TestEachRunAsksItsListAnew(t *testing.T) {
	o := newPostOffice(t)
	o.members("members", 0, 17, 18, 40)
	o.members("vip", 2, 0)
	s := o.schedule("list: members", "  channel: sms\n  from: ACME\n  body: Hi\n  where: age >= 18\n  exclude: list:vip\n")
	run := func(want ledger.RunState, phones ...string) *ledger.Run {
		t.Helper()
		r := o.run(s)
		if r.State != want {
			t.Fatalf("the run is %s: %s", r.State, r.Reason)
		}
		if got := o.phones(r); !slices.Equal(got, phones) {
			t.Errorf("sent to %v, want %v", got, phones)
		}
		return r
	}
	run(ledger.RunDone, "+61412340001")
	o.members("members", 0, 18, 18, 40)
	run(ledger.RunDone, "+61412340000", "+61412340001")
	o.members("vip", 0, 0, 0, 0)
	if r := run(ledger.RunNothing); !strings.Contains(r.Reason, "of the 3 contacts nobody is in the segment (3 meet the condition, 3 of them are of list vip)") {
		t.Errorf("there is nothing since %q", r.Reason)
	}
	vip, err := o.l.FindList(o.ctx, "vip")
	o.ok(err)
	o.ok(o.l.RemoveList(o.ctx, vip.ID))
	if r := run(ledger.RunFailed); !strings.Contains(r.Reason, "exclude list:vip: there is no list") {
		t.Errorf("without the list that is left out the run says %q", r.Reason)
	}
}

// TestEachRunHasItsOwnSample: unless a seed is chosen.
func TestEachRunHasItsOwnSample(t *testing.T) {
	o := newPostOffice(t)
	o.members("members", 0, make([]int, 200)...)
	more := "  channel: sms\n  from: ACME\n  body: Hi\n  sample: 30%\n"
	s := o.schedule("list: members", more)
	one, two := o.phones(o.run(s)), o.phones(o.run(s))
	if len(one) < 30 || len(two) < 30 || slices.Equal(one, two) {
		t.Errorf("two runs have the same sample of %d", len(one))
	}
	o.ok(o.l.MoveSchedule(o.ctx, s.ID, ledger.ScheduleRemoved))
	s = o.schedule("list: members", more+"  sample_seed: always\n")
	if one, two := o.phones(o.run(s)), o.phones(o.run(s)); len(one) < 30 || !slices.Equal(one, two) {
		t.Errorf("with a seed two runs have samples of %d and %d", len(one), len(two))
	}
}

// TestAConditionIsNotLogged: it may be about a person.
func TestAConditionIsNotLogged(t *testing.T) {
	t.Parallel()
	_, fault := segment.Compile("last_name = Appleseed", nil)
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Error("a run went wrong", "error", &jobs.OrderError{File: "schedule nightly", Line: 4, Flag: "where", Text: ": " + fault.Error(), Err: fault})
	if s := b.String(); strings.Contains(s, "Appleseed") || !strings.Contains(s, "schedule nightly:4: the condition cannot be asked of this audience, see its character 13") {
		t.Errorf("the log says %s", s)
	}
}
