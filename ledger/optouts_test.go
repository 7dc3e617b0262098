package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
)

func optOutEmail(t testing.TB, s string) campaign.OptOut {
	o, err := campaign.NewOptOutEmail(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func optOutAddress(t testing.TB, a campaign.Address) campaign.OptOut {
	o, err := campaign.NewOptOutAddress(a)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func home12(name string) campaign.Address {
	return campaign.Address{Name: name, Line1: "12 High St.", Line2: "Unit 3", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}
}

// optOuts lists the suppression list, one line an entry.
func (w *world) optOuts() string {
	w.t.Helper()
	var b strings.Builder
	w.ok(w.l.EachOptOut(w.ctx, func(o *OptOut) error {
		_, err := fmt.Fprintf(&b, "%s %s %v source=%s reason=%s by=%s %s\n", o.Kind, o.Key, o.Address, o.Source, o.Reason, o.By, o.At.Format(time.TimeOnly))
		return err
	}))
	return b.String()
}

func (w *world) history(kind campaign.OptOutKind, key string) string {
	w.t.Helper()
	all, err := w.l.OptOutHistory(w.ctx, kind, key, 100)
	w.ok(err)
	var b strings.Builder
	for _, c := range all {
		what := "added"
		if c.Removed {
			what = "removed"
		}
		fmt.Fprintf(&b, "%s %s %s source=%s reason=%s by=%s %s\n", what, c.Kind, c.Key, c.Source, c.Reason, c.By, c.At.Format(time.TimeOnly))
	}
	return b.String()
}

func TestOptOutsOfEveryKindAreKeptOnceAndTheirChangesForEver(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		all := []campaign.OptOut{campaign.NewOptOutPhone(phone(1)), optOutEmail(t, " Ann@Example.com"), optOutAddress(t, home12("")), optOutAddress(t, home12("Ann Smith"))}
		note := OptOutNote{Source: "cli", Reason: "asked", By: "kim"}
		n, err := w.l.AddOptOuts(w.ctx, all, note)
		w.ok(err)
		w.equal(n, 4)
		w.clock.advance(time.Hour)
		n, err = w.l.AddOptOuts(w.ctx, all, OptOutNote{Source: "other", By: "lee"})
		w.ok(err)
		w.equal(n, 0)
		want := `phone +61412000001 {      } source=cli reason=asked by=kim 09:00:00
email ann@example.com {      } source=cli reason=asked by=kim 09:00:00
address ann smith|12 high st unit 3|perth|6000|au {Ann Smith 12 High St. Unit 3 Perth WA 6000 AU} source=cli reason=asked by=kim 09:00:00
address |12 high st unit 3|perth|6000|au { 12 High St. Unit 3 Perth WA 6000 AU} source=cli reason=asked by=kim 09:00:00
`
		w.equal(sortedLines(w.optOuts()), sortedLines(want))

		w.clock.advance(time.Hour)
		n, err = w.l.RemoveOptOuts(w.ctx, []campaign.OptOutKey{all[0].OptOutKey, all[2].OptOutKey, campaign.NewOptOutPhone(phone(7)).OptOutKey}, OptOutNote{Reason: "came back", By: "max"})
		w.ok(err)
		w.equal(n, 2)
		w.equal(strings.Count(w.optOuts(), "\n"), 2)
		w.clock.advance(time.Hour)
		w.ok(w.l.OptOut(w.ctx, phone(1), "reply", "STOP"))
		w.equal(w.history(campaign.OptOutPhone, phone(1)), `added phone +61412000001 source=reply reason=STOP by= 12:00:00
removed phone +61412000001 source=cli reason=came back by=max 11:00:00
added phone +61412000001 source=cli reason=asked by=kim 09:00:00
`)
		w.equal(strings.Count(w.history(0, ""), "\n"), 7)
		w.equal(strings.Count(w.history(campaign.OptOutAddress, ""), "\n"), 3)
		few, err := w.l.OptOutHistory(w.ctx, 0, "", 2)
		w.ok(err)
		w.equal([]bool{few[0].Removed, few[1].Removed}, []bool{false, true})

		counts, err := w.l.CountOptOuts(w.ctx)
		w.ok(err)
		w.equal(counts, []OptOutCount{{campaign.OptOutAddress, "cli", 1}, {campaign.OptOutEmail, "cli", 1}, {campaign.OptOutPhone, "reply", 1}})
		newest, err := w.l.NewestOptOuts(w.ctx, 0, 2)
		w.ok(err)
		w.equal([]string{newest[0].Key, fmt.Sprint(len(newest))}, []string{phone(1), "2"})
		newest, err = w.l.NewestOptOuts(w.ctx, campaign.OptOutEmail, 2)
		w.ok(err)
		w.equal(len(newest), 1)
		one, err := w.l.FindOptOut(w.ctx, all[3].OptOutKey)
		w.ok(err)
		w.equal(one.Address, home12("Ann Smith"))
		if none, err := w.l.FindOptOut(w.ctx, all[2].OptOutKey); none != nil || err != nil {
			t.Errorf("found %v, %v", none, err)
		}
	})
}

func sortedLines(s string) []string { return slices.Sorted(slices.Values(strings.Split(s, "\n"))) }

// incoming counts what lies on its way into the suppression list.
func (w *world) incoming() (imports, entries int) {
	w.t.Helper()
	w.ok(w.l.store.read().QueryRowContext(w.ctx, `SELECT (SELECT count(*) FROM opt_out_imports), (SELECT count(*) FROM incoming_opt_outs)`).Scan(&imports, &entries))
	return imports, entries
}

func TestImportedOptOutsCountAllAtOnce(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.ok(w.l.OptOut(w.ctx, phone(3), "reply", "STOP"))
		chunk := func(from, to int) []OptOut {
			var some []OptOut
			for i := from; i < to; i++ {
				some = append(some, OptOut{OptOut: campaign.NewOptOutPhone(phone(i)), Source: "stop.csv", Reason: fmt.Sprint("row ", i)})
			}
			return some
		}
		in, err := w.l.ImportOptOuts(w.ctx, "kim")
		w.ok(err)
		w.ok(in.Add(w.ctx, chunk(0, 6000)))
		w.ok(in.Add(w.ctx, append(chunk(6000, 7000), chunk(1, 2)...))) // one of them twice
		w.ok(in.behind.wait())
		before, err := w.l.OptedOut(w.ctx)
		w.ok(err)
		w.equal(before.Len(), 1)
		n, err := in.Finish(w.ctx)
		w.ok(err)
		w.equal([]int{n, in.Total()}, []int{6999, 7001})
		after, err := w.l.OptedOut(w.ctx)
		w.ok(err)
		w.equal(after.Len(), 7000)
		for i := range 7000 {
			if !after.Bars(&campaign.Contact{Phone: phone(i)}, campaign.SMS) {
				t.Fatalf("number %d is missing", i)
			}
		}
		if after.Bars(&campaign.Contact{Phone: phone(7000)}, campaign.SMS) {
			t.Error("somebody is barred who has not opted out")
		}
		one, err := w.l.FindOptOut(w.ctx, campaign.NewOptOutPhone(phone(3)).OptOutKey)
		w.ok(err)
		w.equal([]string{one.Source, one.Reason}, []string{"reply", "STOP"})
		one, err = w.l.FindOptOut(w.ctx, campaign.NewOptOutPhone(phone(1)).OptOutKey)
		w.ok(err)
		w.equal([]string{one.Source, one.Reason, one.By}, []string{"stop.csv", "row 1", "kim"})
		w.ok(in.Abort(w.ctx)) // does nothing any more
		imports, entries := w.incoming()
		w.equal([]int{imports, entries, strings.Count(w.optOuts(), "\n")}, []int{0, 0, 7000})
	})
}

func TestHalfAnImportOfOptOutsNeverCounts(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		one := []OptOut{{OptOut: campaign.NewOptOutPhone(phone(1)), Source: "stop.csv"}}
		aborted, err := w.l.ImportOptOuts(w.ctx, "kim")
		w.ok(err)
		w.ok(aborted.Add(w.ctx, one))
		w.ok(aborted.Abort(w.ctx))
		imports, entries := w.incoming()
		w.equal([]int{imports, entries}, []int{0, 0})

		dead, err := w.l.ImportOptOuts(w.ctx, "kim")
		w.ok(err)
		w.ok(dead.Add(w.ctx, one))
		w.ok(dead.behind.wait())
		w.clock.advance(importLease - time.Second)
		alive, err := w.l.ImportOptOuts(w.ctx, "kim")
		w.ok(err)
		w.ok(alive.Add(w.ctx, one))
		w.ok(alive.behind.wait())
		w.ok(w.l.DiscardHalfOptOuts(w.ctx))
		imports, entries = w.incoming()
		w.equal([]int{imports, entries}, []int{2, 2})
		w.clock.advance(time.Second)
		_, _, err = w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		imports, entries = w.incoming()
		w.equal([]int{imports, entries}, []int{1, 1})
		_, err = dead.Finish(w.ctx)
		w.code(err, campaign.CodeConflict)
		w.equal(w.optOuts(), "")
		n, err := alive.Finish(w.ctx)
		w.ok(err)
		w.equal(n, 1)
	})
}
