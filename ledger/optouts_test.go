package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/services"
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

// Import, planning and leaving agree on whom the suppression list bars, whatever
// is on it.
func TestTheThreeQuestionsToTheSuppressionListHaveOneAnswer(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		rapid.Check(t, func(rt *rapid.T) {
			w := w.in(rt)
			pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(rt, name) }
			address := func() campaign.Address {
				return campaign.Address{Name: pick("name", "", "Ann Smith", "ann  SMITH", "The Smiths"), Line1: pick("line 1", "12 High St", "12 high st.", "13 High St"),
					Line2: pick("line 2", "", "Unit 3"), City: pick("city", "Perth", "PERTH"), State: pick("state", "", "WA"), PostalCode: pick("postcode", "6000", "60 00"), Country: pick("country", "AU", "NZ")}
			}
			// What the run before left is taken off.
			var old []campaign.OptOutKey
			w.ok(w.l.EachOptOut(w.ctx, func(o *OptOut) error { old = append(old, o.OptOutKey); return nil }))
			_, err := w.l.RemoveOptOuts(w.ctx, old, OptOutNote{})
			w.ok(err)
			var entries []campaign.OptOut
			for range rapid.IntRange(0, 4).Draw(rt, "entries") {
				switch pick("kind", "phone", "email", "address") {
				case "phone":
					entries = append(entries, campaign.NewOptOutPhone(phone(rapid.IntRange(0, 3).Draw(rt, "number"))))
				case "email":
					entries = append(entries, optOutEmail(t, pick("address", "ann@example.com", "BEN@example.com")))
				default:
					entries = append(entries, optOutAddress(t, address()))
				}
			}
			_, err = w.l.AddOptOuts(w.ctx, entries, OptOutNote{Source: "test"})
			w.ok(err)
			list, err := w.l.OptedOut(w.ctx)
			w.ok(err)

			cl := &Claim{Campaign: &Campaign{}}
			var members []int64
			for i := range rapid.IntRange(1, 250).Draw(rt, "recipients") {
				c := campaign.Contact{Email: pick("email", "", "Ann@example.com", "ben@example.com", "cem@example.com"), FirstName: pick("first", "", "Ann"), LastName: pick("last", "", "Smith")}
				if rapid.Bool().Draw(rt, "has a number") {
					c.Phone = phone(rapid.IntRange(0, 5).Draw(rt, "number"))
				}
				if rapid.Bool().Draw(rt, "has an address") {
					c.Address = address()
				}
				cl.Recipients = append(cl.Recipients, Recipient{ID: int64(i + 1), Contact: c})
				if rapid.IntRange(0, 9).Draw(rt, "is left out") > 0 { // of a batch that was halved
					members = append(members, int64(i+1))
				}
			}
			for _, ch := range campaign.Channels() {
				cl.Campaign.Channel = ch
				var gone []int64
				w.ok(w.l.store.write(w.ctx, func(tx *tx) error {
					kinds, err := optOutKinds(w.ctx, tx)
					if err == nil {
						gone, err = w.l.optedOutMembers(w.ctx, tx, cl, members, kinds)
					}
					return err
				}))
				id := campaign.ByNumber
				if ch.IsPost() {
					id = campaign.ByPost
				}
				for _, m := range members {
					c := &cl.Recipients[m-1].Contact
					planned, imported, leaving := list.Bars(c, ch), list.BarsAtImport(c, id), slices.Contains(gone, m)
					if planned != leaving || planned != imported {
						rt.Fatalf("%s to %+v: barred at planning %v, at import %v, when leaving %v", ch, c, planned, imported, leaving)
					}
				}
			}
		})
	})
}

// What an opt-out of an older Postrider says stays.
func TestOptOutsOfBeforeTheyHadKindsStay(t *testing.T) {
	t.Parallel()
	for kind, target := range map[string]string{"sqlite": filepath.Join(t.TempDir(), "ledger.db"), "postgres": services.Postgres(t)} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			driver, dialect := "sqlite", goose.DialectSQLite3
			if kind == "postgres" {
				driver, dialect = "pgx", goose.DialectPostgres
			}
			db, err := sql.Open(driver, target)
			if err != nil {
				t.Fatal(err)
			}
			files, err := fs.Sub(migrations, "migrations/"+kind)
			if err != nil {
				t.Fatal(err)
			}
			p, err := goose.NewProvider(dialect, db, files)
			if err != nil {
				t.Fatal(err)
			}
			const before = 11
			if _, err := p.UpTo(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			_, err = db.ExecContext(t.Context(), `INSERT INTO opt_outs (phone, source, reason, created_at) VALUES ('+61412000001', 'reply', 'STOP', 1700000000000)`)
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, target, "")
			w.equal(w.optOuts(), "phone +61412000001 {      } source=reply reason=STOP by= 22:13:20\n")
		})
	}
}
