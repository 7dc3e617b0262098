package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/ledger"
)

const firstFile = "phone,first_name,reference,plan\n+61411111111,Ann,a,gold\n+61411111112,Ben,b,silver\n+61411111113,Cas,c,\n"

// rows reads a list as phone, first name, reference and further columns.
func (s *shell) rows(name string) string {
	s.t.Helper()
	var b strings.Builder
	for _, c := range s.contacts(name) {
		b.WriteString(strings.Join(append([]string{c.Phone, c.FirstName, c.Reference}, c.Fields.Values...), ",") + "\n")
	}
	return b.String()
}

func TestANameThatIsTakenIsRefusedUnlessTheFileSaysTheSame(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", firstFile)
	s.file("other.csv", firstFile+"+61411111114,Dot,d,\n")
	s.run("list", "import", "vips", "people.csv", "--json").exits(exitDone).
		holds(map[string]any{"mode": "import", "version": 1, "contacts": 3, "imported": 3, "added": 3, "updated": 0, "unchanged": 0, "changed": true})
	s.run("list", "import", "vips", "people.csv").exits(exitDone).says("nothing changed", "version 1")
	s.run("list", "import", "vips", "people.csv", "--json").exits(exitDone).
		holds(map[string]any{"version": 1, "contacts": 3, "rows": 3, "imported": 3, "added": 0, "unchanged": 3, "changed": false})
	s.run("list", "import", "vips", "other.csv").exits(exitFailed).warns("exists already, with other contacts", "--append", "--replace", "--update KEY")
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		if all, err := l.Lists(ctx); err != nil || len(all) != 1 || all[0].Contacts != 3 {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

func TestAppendAddsWhatTheListDoesNotHave(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", firstFile)
	// Its columns stand in another order, and one is new.
	s.file("more.csv", "club,plan,reference,phone,first_name\nPerth,silver,b2,0411 111 112,Benny\nYork,gold,d,0411 111 114,Dot\nYork,gold,d,0411 111 114,Dot\n")
	s.run("list", "import", "vips", "people.csv").exits(exitDone)
	more := []string{"list", "import", "vips", "more.csv", "--append", "--country", "AU"}
	r := s.run(append(more, "--json")...).exits(exitDone)
	r.holds(map[string]any{"mode": "append", "version": 2, "contacts": 4, "rows": 3, "imported": 1, "duplicates": 2, "added": 1, "changed": true})
	want := "+61411111111,Ann,a,gold,\n+61411111112,Ben,b,silver,\n+61411111113,Cas,c,,\n+61411111114,Dot,d,gold,York\n"
	if got := s.rows("vips"); got != want {
		t.Errorf("the list is\n%s", got)
	}
	if b, err := os.ReadFile(filepath.Join(s.dir, "more.rejects.csv")); err != nil || strings.Count(string(b), "the recipient is in the list already") != 1 || !strings.Contains(string(b), "the same recipient as line 3") {
		t.Errorf("the report of dropped rows is %q, %v", b, err)
	}
	s.run(append(more, "--json")...).exits(exitDone).
		holds(map[string]any{"version": 2, "contacts": 4, "rows": 3, "imported": 0, "duplicates": 3, "added": 0, "unchanged": 0, "changed": false})
	s.run("list", "show", "vips").exits(exitDone).says("version 2", "appended from more.csv", "1 added")
	s.run("list", "ls").exits(exitDone).says("appended from more.csv")
}

func TestAHouseholdIsFoundAgainWhateverTheOrderOfItsColumns(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("a.csv", "first_name,last_name,address1,city,postcode,country,plan,note\nAnn,Lee,1 High St,Perth,6000,AU,gold,x\n")
	s.file("b.csv", "note,plan,extra,first_name,last_name,address1,city,postcode,country\nx,gold,,Ann,Lee,1 High St,Perth,6000,AU\n,gold,,Ann,Lee,1 High St,Perth,6000,AU\n")
	s.run("list", "import", "homes", "a.csv").exits(exitDone)
	s.run("list", "import", "homes", "b.csv", "--append", "--json").exits(exitDone).holds(map[string]any{"imported": 1, "duplicates": 1, "contacts": 2})
}

func TestReplacePutsTheFileInThePlaceOfTheList(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", firstFile)
	s.file("other.csv", "phone,tier\n+61411111119,one\n")
	s.run("list", "import", "vips", "people.csv").exits(exitDone)
	s.run("list", "import", "vips", "other.csv", "--replace").exits(exitDone).says("version 2, in the place of what was there: 1 contacts")
	if got := s.rows("vips"); got != "+61411111119,,,one\n" {
		t.Errorf("the list is\n%s", got)
	}
	s.run("list", "import", "vips", "other.csv", "--replace", "--json").exits(exitDone).holds(map[string]any{"version": 2, "unchanged": 1, "changed": false})
}

func TestUpdateChangesWhoIsThereAndAddsTheOthers(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", firstFile)
	// An empty cell says nothing, nor does a column that is not there.
	s.file("changes.csv", "reference,phone,plan,club\nc,,gold,York\nb,+61411111122,,\nb,+61411111133,bronze,\nd,+61411111114,silver,\ne,,gold,\n,+61411111199,gold,\na,,gold,\n")
	s.run("list", "import", "vips", "people.csv").exits(exitDone)
	update := []string{"list", "import", "vips", "changes.csv", "--update", "reference"}
	s.run(append(update, "--json")...).exits(exitDone).holds(map[string]any{
		"mode": "update", "version": 2, "contacts": 4, "rows": 7, "imported": 4, "duplicates": 1, "rejected": 2, "suppressed": 0,
		"added": 1, "updated": 2, "unchanged": 1, "changed": true,
	})
	want := "+61411111111,Ann,a,gold,\n+61411111122,Ben,b,silver,\n+61411111113,Cas,c,gold,York\n+61411111114,,d,silver,\n"
	if got := s.rows("vips"); got != want {
		t.Errorf("the list is\n%s", got)
	}
	if b, err := os.ReadFile(filepath.Join(s.dir, "changes.rejects.csv")); err != nil || !strings.Contains(string(b), "no_key") || !strings.Contains(string(b), "no_destination") {
		t.Errorf("the report of dropped rows is %q, %v", b, err)
	}
	s.run("list", "show", "vips").exits(exitDone).says("1 added, 2 updated, 1 unchanged")
	s.run(append(update, "--json")...).exits(exitDone).
		holds(map[string]any{"version": 2, "contacts": 4, "imported": 4, "added": 0, "updated": 0, "unchanged": 4, "changed": false})
}

// A row of an update is not all of a contact, so that opt-outs are asked of whole
// ones: of those that are new, and by planning of those that are there.
func TestAnUpdateAsksOptOutsOfWholeContacts(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "phone,reference,plan,address,city,postcode,country\n+61411111111,a,x,1 High St,Perth,6000,AU\n+61411111112,b,x,,,,\n")
	s.file("changes.csv", "reference,phone,plan\nb,,gold\na,+61411111111,gold\nc,+61411111119,gold\nd,+61411111118,gold\n")
	s.run("list", "import", "vips", "people.csv").exits(exitDone)
	s.run("optout", "add", "+61411111111", "+61411111119").exits(exitDone)
	s.run("list", "import", "vips", "changes.csv", "--update", "reference", "--json").exits(exitDone).holds(map[string]any{
		"rows": 4, "imported": 3, "duplicates": 0, "rejected": 0, "suppressed": 1, "added": 1, "updated": 2, "unchanged": 0, "contacts": 3,
	})
	if got, want := s.rows("vips"), "+61411111111,,a,gold\n+61411111112,,b,gold\n+61411111118,,d,gold\n"; got != want {
		t.Errorf("the list is\n%s", got)
	}
	if b, err := os.ReadFile(filepath.Join(s.dir, "changes.rejects.csv")); err != nil || strings.Count(string(b), "opted_out") != 1 || !strings.Contains(string(b), "\n4,") {
		t.Errorf("the report of dropped rows is %q, %v", b, err)
	}
}

func TestTheSameFileSaysTheSameThoughSomebodyHasOptedOutSince(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", firstFile)
	s.run("optout", "add", "+61411111112").exits(exitDone)
	s.run("list", "import", "vips", "people.csv").exits(exitDone).says("2 imported", "1 suppressed")
	s.run("optout", "add", "+61411111113").exits(exitDone)
	s.run("list", "import", "vips", "people.csv", "--json").exits(exitDone).
		holds(map[string]any{"version": 1, "contacts": 2, "imported": 2, "suppressed": 1, "unchanged": 2, "changed": false})
}

func TestAFileOfWhichNobodyIsLeftChangesNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", firstFile)
	s.file("gone.csv", "phone\n+61411111118\n+61411111119\n12\n")
	s.run("optout", "add", "+61411111118", "+61411111119").exits(exitDone)
	s.run("list", "import", "gone", "gone.csv").exits(exitFailed).warns("nobody is left of the 3 rows: 2 of them have opted out")
	s.run("list", "show", "gone").exits(exitFailed)
	s.run("list", "import", "vips", "people.csv").exits(exitDone)
	s.run("list", "import", "vips", "gone.csv", "--replace").exits(exitFailed).warns("nobody is left")
	if got := s.contacts("vips"); len(got) != 3 {
		t.Errorf("the list has %d contacts", len(got))
	}
}

func TestAnUpdateByEMailNeedsNoNumber(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "email,phone,first_name,last_name,address1,city,postcode,country\nann@example.com,+447400123456,Ann,Lee,1 High St,Paris,75001,FR\n")
	s.file("changes.csv", "EMail,last name,points\nAnn@Example.com,Bell,12\n")
	s.run("list", "import", "vips", "people.csv").exits(exitDone)
	s.run("list", "import", "vips", "changes.csv", "--update", "email", "--country", "AU").exits(exitDone).says("version 2: 0 added, 1 updated, 0 unchanged, and now 1 contacts")
	c := s.contacts("vips")[0]
	if points, _ := c.Field("points"); c.LastName != "Bell" || points != "12" || c.Country != "GB" || c.Address.Country != "FR" || c.Address.Name != "Ann Bell" || c.Address.Line1 != "1 High St" {
		t.Errorf("the contact is %+v", c)
	}
}

func TestAListThatIsNotThereIsMadeWhateverTheWay(t *testing.T) {
	t.Parallel()
	for _, way := range [][]string{{"--append"}, {"--replace"}, {"--update", "reference"}} {
		t.Run(way[0], func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.file("people.csv", firstFile)
			r := append([]string{"list", "import", "vips", "people.csv"}, way...)
			s.run(r...).exits(exitDone).says("3 imported", "there was no such list: it is made, with 3 contacts")
			s.run(r...).exits(exitDone).says("nothing changed")
			s.run("list", "import", "vips", "people.csv").exits(exitDone).says("nothing changed")
		})
	}
}

func TestAListIsNotChangedWhen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"two ways are given":       {[]string{"people.csv", "--append", "--replace"}, exitUsage, "--append and --replace exclude each other"},
		"the key is empty":         {[]string{"people.csv", "--update", " "}, exitUsage, "--update needs the column"},
		"the file lacks the key":   {[]string{"people.csv", "--update", "email"}, exitFailed, `no column "email"`},
		"nobody has that field":    {[]string{"people.csv", "--update", "shoe"}, exitFailed, "phone, reference, plan"},
		"the key is not told":      {[]string{"people.csv", "--update", "plan"}, exitFailed, "1 contacts of list \"vips\" have the same plan"},
		"the file is bad":          {[]string{"bad.csv", "--append"}, exitFailed, "none of the 1 rows"},
		"the file is bad, instead": {[]string{"bad.csv", "--replace"}, exitFailed, "none of the 1 rows"},
		"there is no file":         {[]string{"none.csv", "--append"}, exitFailed, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.file("list.csv", "phone,reference,plan\n+61411111111,a,gold\n+61411111112,b,gold\n")
			s.file("people.csv", firstFile)
			s.file("bad.csv", "phone\n12\n")
			s.run("list", "import", "vips", "list.csv").exits(exitDone)
			s.run(append([]string{"list", "import", "vips"}, c.args...)...).exits(c.code).warns(c.says)
			s.run("list", "show", "vips", "--json").exits(exitDone).holds(map[string]any{"version": 1, "contacts": 2})
			s.ledger(func(ctx context.Context, l *ledger.Ledger) {
				if campaigns, lists, err := l.DiscardHalfPlans(ctx); err != nil || campaigns+lists > 0 {
					t.Errorf("something was left behind: %d lists, %v", lists, err)
				}
			})
		})
	}
}

func TestACampaignKeepsTheListThatItWasPlannedFrom(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 5, "aaaaa")
	s.file("one.csv", "phone\n+61412000099\n")
	s.run("list", "import", "for spring", "one.csv", "--replace").exits(exitDone).says("version 2")
	s.run("campaign", "report", "spring", "--csv", "-").exits(exitDone).says("+61412000004")
	s.run("list", "show", "for spring", "--json").exits(exitDone).holds(map[string]any{"contacts": 1})
	s.run("list", "rm", "for spring", "--yes").exits(exitDone)
	s.run("list", "show", "for spring").exits(exitFailed)
	s.run("campaign", "report", "spring", "--csv", "-").exits(exitDone).says("+61412000004")
}

func TestDedupeTakesOutWhoStandsThereTwice(t *testing.T) {
	t.Parallel()
	columns := campaign.NewColumns("plan")
	person := func(line int, phone, email, name, plan string) campaign.Contact {
		return campaign.Contact{Line: line, Phone: phone, Email: email, FirstName: name, Fields: campaign.Fields{Columns: columns, Values: []string{plan}}}
	}
	all := []campaign.Contact{
		person(2, "+61411111111", "ann@example.com", "Ann", "a"), person(3, "+61411111112", "ANN@example.com", "Annie", "b"),
		person(4, "+61411111111", "", "=Ann", "c"), person(5, "+61411111113", "", "Cas", "c"),
	}
	for name, c := range map[string]struct {
		args []string
		left string
	}{
		"by recipient":     {nil, "Ann Annie Cas"},
		"by phone":         {[]string{"--by", "phone"}, "Ann Annie Cas"},
		"the last by it":   {[]string{"--by", "phone", "--keep", "last"}, "Annie =Ann Cas"},
		"by e-mail":        {[]string{"--by", "email"}, "Ann =Ann Cas"},
		"by a column":      {[]string{"--by", "plan"}, "Ann Annie =Ann"},
		"by what is empty": {[]string{"--by", "reference"}, ""},
		"by address":       {[]string{"--by", "address"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.list("a/b", all...)
			names := func() string {
				var got []string
				for _, c := range s.contacts("a/b") {
					got = append(got, c.FirstName)
				}
				return strings.Join(got, " ")
			}
			dedupe := append([]string{"list", "dedupe", "a/b"}, c.args...)
			if c.left == "" {
				s.run(append(dedupe, "--yes")...).exits(exitDone).says("nothing changed")
				s.run(append(dedupe, "--yes", "--json")...).exits(exitDone).holds(map[string]any{"duplicates": 0, "contacts": 4, "version": 1, "changed": false, "report_file": ""})
				return
			}
			s.run(append(dedupe, "--dry-run", "--json")...).exits(exitDone).holds(map[string]any{"duplicates": 1, "contacts": 4, "version": 1, "changed": false})
			s.run(dedupe...).exits(exitUsage).warns("--yes")
			s.at("no\n").run(dedupe...).exits(exitStopped).warns("Take 1 of the 4 contacts", "nobody said yes")
			if got := names(); got != "Ann Annie =Ann Cas" {
				t.Fatalf("it was not asked to, and left %s", got)
			}
			s.at("yes\n").run(dedupe...).exits(exitDone).says("1 contacts were taken out, and 3 are left (version 2)", "a_b.duplicates.csv")
			if got := names(); got != c.left {
				t.Errorf("left are %s, want %s", got, c.left)
			}
			b, err := os.ReadFile(filepath.Join(s.dir, "a_b.duplicates.csv"))
			if err != nil || strings.Count(string(b), "\n") != 2 || strings.Contains(string(b), "1111111") || strings.Contains(string(b), "example.com") {
				t.Errorf("the report is %q, %v", b, err)
			}
			s.run(append(dedupe, "--yes")...).exits(exitDone).says("nothing changed")
			s.run("list", "show", "a/b").exits(exitDone).says("duplicates taken out", "4 rows: 3 imported, 1 duplicate")
		})
	}
}

func TestADedupeByHouseholdLeavesOneOfAnAddress(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	at := func(line int, name, street string) campaign.Contact {
		return campaign.Contact{Line: line, FirstName: name, Address: campaign.Address{Name: name, Line1: street, City: "Perth", PostalCode: "6000", Country: "AU"}}
	}
	s.list("homes", at(2, "Ann", "1 St. Marys Rd"), at(3, "Ben", "1 ST MARYS RD"), at(4, "Cas", "2 Hill St"),
		campaign.Contact{Line: 5, FirstName: "Dot", Phone: "+61411111111"}, campaign.Contact{Line: 6, FirstName: "Eve", Phone: "+61411111111"})
	s.run("list", "dedupe", "homes", "--by", "address", "--yes").exits(exitDone).says("nothing changed")
	s.run("list", "dedupe", "homes", "--by", "household", "--yes").exits(exitDone).says("1 contacts were taken out, and 4 are left")
	var left []string
	for _, c := range s.contacts("homes") {
		left = append(left, c.FirstName)
	}
	if got := strings.Join(left, " "); got != "Ann Cas Dot Eve" {
		t.Errorf("left are %s", got)
	}
}

func TestADedupeIsRefusedWhen(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", ann(), bob())
	s.run("list", "dedupe", "vips", "--yes", "--by", "shoe").exits(exitFailed).warns(`no column "shoe"`, "phone, email, reference, address, household, plan, balance, note")
	s.run("list", "dedupe", "vips", "--yes", "--keep", "both").exits(exitUsage).warns("first or last")
	s.run("list", "dedupe", "vips", "--yes", "--dry-run").exits(exitUsage)
	s.run("list", "dedupe", "nobody", "--yes").exits(exitFailed).warns("there is no list")
}

func TestAnUpdateNeverMixesTwoAddresses(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "reference,first_name,address1,address2,city,state,postcode,country\n"+
		"a,Ann,12 High St,Unit 7,Perth,WA,6000,AU\nb,Ben,13 High St,Unit 8,Perth,WA,6000,AU\n")
	s.file("changes.csv", "reference,address1,address2,city,state,postcode,country\na,5 New St,,Berlin,,10115,DE\nb,6 New St,,,,,\n")
	s.run("list", "import", "vips", "people.csv").exits(exitDone)
	s.run("list", "import", "vips", "changes.csv", "--update", "reference", "--json").exits(exitDone).
		holds(map[string]any{"rows": 2, "imported": 1, "rejected": 1, "updated": 1, "contacts": 2})
	all := s.contacts("vips")
	if a := all[0].Address; a != (campaign.Address{Name: "Ann", Line1: "5 New St", City: "Berlin", PostalCode: "10115", Country: "DE"}) {
		t.Errorf("who moved is at %+v", a)
	}
	if a := all[1].Address; a.Line1 != "13 High St" || a.City != "Perth" {
		t.Errorf("who gave half an address is at %+v", a)
	}
	if b, err := os.ReadFile(filepath.Join(s.dir, "changes.rejects.csv")); err != nil || !strings.Contains(string(b), "half_address") || !strings.Contains(string(b), "address_city, address_postal_code missing") {
		t.Errorf("the report of dropped rows is %q, %v", b, err)
	}
}

// The KEY in the first line shows that it names the columns.
func TestAnUpdateBySomeColumnNeedsNoWordAboutTheHeader(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"plan", "Plan"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.file("people.csv", "phone,plan\n+61411111111,gold\n+61411111112,silver\n")
			s.file("changes.csv", "Plan,points\nsilver,12\n")
			s.run("list", "import", "vips", "people.csv").exits(exitDone)
			s.run("list", "import", "vips", "changes.csv", "--update", key, "--json").exits(exitDone).
				holds(map[string]any{"updated": 1, "added": 0, "contacts": 2})
		})
	}
}

// An import that was killed holds its name for a minute, and says so; then every
// command that changes a list removes what it had stored.
func TestWhatAKilledImportLeftGoesAMinuteLater(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"import":         {[]string{"list", "import", "vips", "people.csv"}, exitDone},
		"another import": {[]string{"list", "import", "guests", "people.csv"}, exitDone},
		"rm":             {[]string{"list", "rm", "other", "--yes"}, exitDone},
		"dedupe":         {[]string{"list", "dedupe", "other", "--by", "phone", "--yes"}, exitDone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.file("people.csv", firstFile)
			s.run("list", "import", "other", "people.csv").exits(exitDone)
			killed := func(ago time.Duration) (id int64) {
				l, err := ledger.Open(t.Context(), filepath.Join(s.dir, "data", "postrider.db"), ledger.Options{Clock: func() time.Time { return time.Now().Add(-ago) }})
				if err != nil {
					t.Fatal(err)
				}
				w, err := l.CreateList(t.Context(), "vips", "people.csv", "contact")
				if err == nil {
					id, err = w.ID(), w.Contacts(t.Context(), []campaign.Contact{{Line: 2, Phone: "+61411111111"}})
				}
				if err := errors.Join(err, l.Close()); err != nil {
					t.Fatal(err)
				}
				return id
			}
			id := killed(2 * time.Minute)
			s.run(c.args...).exits(c.code)
			s.ledger(func(ctx context.Context, l *ledger.Ledger) {
				if li, err := l.List(ctx, id); err == nil {
					t.Errorf("list %d is still %s", li.ID, li.State)
				}
			})
			if name != "another import" {
				return
			}
			killed(0)
			s.run("list", "import", "vips", "people.csv").exits(exitFailed).warns("passes by itself")
			s.run("list", "show", "vips").exits(exitFailed).warns("taken for dead after a minute")
		})
	}
}
