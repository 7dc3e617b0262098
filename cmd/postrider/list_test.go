package main

import (
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/ledger"
)

// ann is a contact with everything, and with texts that a spreadsheet would
// take for formulas.
func ann() campaign.Contact {
	return campaign.Contact{
		Line: 2, Phone: "+61411111111", Email: "ann@example.com", FirstName: "Ann", LastName: "=SUM(A1)", Country: "AU", Reference: "@ref-1",
		Address: campaign.Address{Name: "Ann Lee", Line1: "-1 Example St", Line2: "Unit 2", City: "Sydney", State: "NSW", PostalCode: "0800", Country: "AU"},
		Fields:  campaign.Fields{Columns: campaign.NewColumns("plan", "balance", "note"), Values: []string{"gold, yearly", "-5.50", "'=quoted already"}},
	}
}

// bob has a phone number alone.
func bob() campaign.Contact {
	return campaign.Contact{
		Line: 3, Phone: "+61422222222", Country: "AU",
		Fields: campaign.Fields{Columns: campaign.NewColumns("plan", "balance", "note"), Values: []string{"", "", "two\nlines"}},
	}
}

func TestAnImportedListShowsWhereEveryRowWent(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "mobile,first name,plan\n0411 111 111,Ann,gold\n+61 411 111 111,Ann again,gold\n12,Bob,silver\n0422 222 222,Cas,gold\n")
	r := s.run("list", "import", "vips", "people.csv", "--country", "au", "--json").exits(exitDone)
	r.holds(map[string]any{"list": "vips", "rows": 4, "imported": 2, "duplicates": 1, "rejected": 1, "suppressed": 0})
	rejects, ok := r.object()["rejects_file"].(string)
	if !ok || rejects == "" {
		t.Fatalf("no rejects_file: %s", r.out)
	}
	if b, err := os.ReadFile(rejects); err != nil || len(b) == 0 {
		t.Errorf("the report of dropped rows cannot be read: %v", err)
	}
	s.run("list", "ls").exits(exitDone).says("vips", "people.csv")
	s.run("list", "show", "vips").exits(exitDone).says("4 rows: 2 imported, 1 duplicate, 1 rejected, 0 suppressed", "plan")
	s.run("list", "import", "again", "people.csv", "--country", "AU").exits(exitDone).says(`list "again": 4 rows`, "dropped rows, with line and reason: ")
}

func TestAnImportWithoutRejectsNamesNoFile(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "phone\n+61411111111\n")
	s.run("list", "import", "vips", "people.csv", "--json").exits(exitDone).holds(map[string]any{"rows": 1, "imported": 1, "rejects_file": ""})
}

func TestAListCannotBeImportedWhen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"the file is missing":      {[]string{"vips", "nothing.csv"}, exitFailed, "there is no such file"},
		"the name is taken":        {[]string{"taken", "people.csv"}, exitFailed, `a list named "taken" exists already`},
		"the name is a number":     {[]string{"12", "people.csv"}, exitUsage, "is a number"},
		"the name is empty":        {[]string{"", "people.csv"}, exitUsage, "the list's name is empty"},
		"the name has a tab":       {[]string{"a\tb", "people.csv"}, exitUsage, "cannot be typed"},
		"the name is endless":      {[]string{strings.Repeat("x", 101), "people.csv"}, exitUsage, "longer than 100"},
		"the country is none":      {[]string{"vips", "people.csv", "--country", "Atlantis"}, exitUsage, "country"},
		"an argument is missing":   {[]string{"vips"}, exitUsage, "the list's name and the file"},
		"a flag is not known":      {[]string{"vips", "people.csv", "--colour"}, exitUsage, "unknown flag"},
		"it is a folder":           {[]string{"vips", "."}, exitFailed, "is a folder"},
		"numbers lack the country": {[]string{"vips", "national.csv"}, exitFailed, "--country"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.file("people.csv", "phone\n+61411111111\n")
			s.file("national.csv", "phone\n0411 111 111\n")
			s.list("taken", ann())
			r := s.run(append([]string{"list", "import"}, c.args...)...).exits(c.code).warns(c.says).hides("0411 111 111")
			if r.out != "" {
				t.Errorf("stdout is not empty: %s", r.out)
			}
			s.ledger(func(ctx context.Context, l *ledger.Ledger) {
				if all, err := l.Lists(ctx); err != nil || len(all) != 1 {
					t.Errorf("%d lists instead of the one that was there, %v", len(all), err)
				}
			})
		})
	}
}

func TestThereAreNoListsAtFirst(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run("list", "ls").exits(exitDone).says("there are no lists yet")
	s.run("list", "ls", "--json").exits(exitDone).holds(map[string]any{"lists": []any{}})
}

func TestAListIsShownWithItsValuesMasked(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", ann(), bob())
	private := []string{"61411111111", "ann@example.com", "Ann", "Example St", "gold", "quoted"}
	s.run("list", "show", "vips").exits(exitDone).hides(private...).
		says("5 rows: 2 imported, 2 duplicates, 1 rejected", "plan, balance, note", "+61•••••••11", "--show-values")
	s.run("list", "show", "vips", "--json").exits(exitDone).hides(private...).holds(map[string]any{"list": "vips", "rows": 5, "imported": 2})
	s.run("list", "show", "vips", "--show-values").exits(exitDone).says("+61411111111", "ann@example.com", "Ann =SUM(A1)", "plan=gold, yearly", "two·lines")
}

func TestOnlyTheFirstContactsAreShown(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("crowd", people(1234)...)
	r := s.run("list", "show", "crowd").exits(exitDone).says("and 1,229 more")
	if n := strings.Count(r.out, "  line "); n != previewed {
		t.Errorf("%d contacts are shown, want %d", n, previewed)
	}
}

func TestAListThatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, args := range [][]string{{"list", "show", "nobody"}, {"list", "export", "nobody"}, {"list", "rm", "nobody", "--yes"}, {"list", "show", "77"}} {
		s.run(args...).exits(exitFailed).warns("there is no list", "`postrider list ls`")
	}
	s.run("list", "show", "nobody", "--json").exits(exitFailed).holds(map[string]any{"code": "not_found"})
}

func TestAnExportIsSafeInASpreadsheetAndItsNumbersStayUsable(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", ann(), bob())
	r := s.run("list", "export", "vips").exits(exitDone)
	rows, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"phone", "email", "first_name", "last_name", "country", "reference", "address_name", "address_line_1", "address_line_2",
			"address_city", "address_state", "address_postal_code", "plan", "balance", "note"},
		{"+61411111111", "ann@example.com", "Ann", "'=SUM(A1)", "AU", "'@ref-1", "Ann Lee", "'-1 Example St", "Unit 2",
			"Sydney", "NSW", "0800", "gold, yearly", "-5.50", "''=quoted already"},
		{"+61422222222", "", "", "", "AU", "", "", "", "", "", "", "", "", "", "two\nlines"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("the export (-want +got):\n%s", diff)
	}
}

// contacts reads a list without what differs between two imports.
func (s *shell) contacts(name string) (all []campaign.Contact) {
	s.t.Helper()
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		li, err := l.FindList(ctx, name)
		if err != nil {
			s.t.Fatal(err)
		}
		err = l.EachContact(ctx, li.ID, func(c *campaign.Contact) error {
			k := *c
			k.ID, k.ListID, k.Line = 0, 0, 0
			all = append(all, k)
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	})
	return all
}

func TestImportingAnExportGivesTheSameContacts(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	columns := campaign.NewColumns("plan", "balance", "name_2")
	s.list("vips",
		campaign.Contact{
			Line: 2, Phone: "+61411111111", Email: "ann@example.com", FirstName: "Ann", LastName: "O'Hara", Country: "AU", Reference: "r-1",
			Address: campaign.Address{Name: "Ann Lee", Line1: "1 Example St", Line2: "Unit 2", City: "Sydney", State: "NSW", PostalCode: "0800", Country: "AU"},
			Fields:  campaign.Fields{Columns: columns, Values: []string{"gold, \"yearly\"", "-5.50", "+61"}},
		},
		campaign.Contact{Line: 3, Phone: "+14055551234", Country: "US", Fields: campaign.Fields{Columns: columns, Values: []string{"", "", "two\nlines"}}},
		campaign.Contact{ // a number of one country at an address of another
			Line: 5, Phone: "+447400123456", Country: "GB",
			Address: campaign.Address{Name: "Bo", Line1: "2 Rue d'Exemple", City: "Paris", PostalCode: "75001", Country: "FR"},
			Fields:  campaign.Fields{Columns: columns, Values: []string{"silver", "+12", ""}},
		},
		campaign.Contact{
			Line: 6, Country: "AU", Address: campaign.Address{Name: "Cas", Line1: "3 Example St", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"},
			Fields: campaign.Fields{Columns: columns, Values: []string{"", "1", "x"}},
		})
	s.run("list", "export", "vips", "-o", "out.csv").exits(exitDone).says("4 contacts", "out.csv")
	s.run("list", "import", "copy", "out.csv", "--json").exits(exitDone).holds(map[string]any{"rows": 4, "imported": 4})
	same := cmp.Comparer(func(a, b campaign.Fields) bool { return string(a.AppendJSON(nil)) == string(b.AppendJSON(nil)) })
	if diff := cmp.Diff(s.contacts("vips"), s.contacts("copy"), same); diff != "" {
		t.Errorf("the copy differs (-original +copy):\n%s", diff)
	}
}

func TestAFormulaComesBackAsTheTextItWas(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", ann())
	s.run("list", "export", "vips", "-o", "out.csv").exits(exitDone)
	s.run("list", "import", "copy", "out.csv").exits(exitDone)
	copied := s.contacts("copy")[0]
	note, _ := copied.Field("note")
	for got, want := range map[string]string{
		copied.LastName: ann().LastName, copied.Reference: ann().Reference, copied.Address.Line1: ann().Address.Line1, note: ann().Fields.Values[2],
	} {
		// At most the apostrophe that protects it is still there.
		if got != want && got != "'"+want {
			t.Errorf("%q comes back as %q", want, got)
		}
	}
}

func TestAnExportedFileIsWholeAndItsOwnersAlone(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", people(300)...)
	s.file("old.csv", "old")
	s.run("list", "export", "vips", "-o", "old.csv", "--json").exits(exitDone).
		holds(map[string]any{"list": "vips", "contacts": 300, "file": filepath.Join(s.dir, "old.csv")})
	info, err := os.Stat(filepath.Join(s.dir, "old.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v: others can read personal data", info.Mode().Perm())
	}
	b, err := os.ReadFile(filepath.Join(s.dir, "old.csv"))
	if err != nil || strings.Count(string(b), "\n") != 301 {
		t.Errorf("%d lines instead of 301, %v", strings.Count(string(b), "\n"), err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, ".postrider-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnExportIsRefusedWhen(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", ann())
	s.run("list", "export", "vips", "--json").exits(exitUsage).warns("name a file with -o")
	s.run("list", "export", "vips", "-o", "no/such/folder.csv").exits(exitUsage).warns("there is no such folder")
	s.run("list", "export", "vips", "-o", ".").exits(exitUsage).warns("is a folder")
}

func TestALostWriteLeavesTheOldFile(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", people(10)...)
	if _, err := os.Stat("/dev/full"); err != nil && runtime.GOOS != "linux" {
		t.Skip("there is no /dev/full here to play a full disk")
	}
	s.run("list", "export", "vips", "-o", "/dev/full").exits(exitFailed).warns("no space left")
}

func TestAListIsRemovedOnlyAfterAYes(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.list("vips", ann())
	s.run("list", "rm", "vips").exits(exitUsage).warns("add --yes")
	s.at("no\n").run("list", "rm", "vips").exits(exitStopped).warns(`Remove list "vips" with its 1 contacts?`, "nobody said yes")
	s.at("").run("list", "rm", "vips").exits(exitStopped)
	s.run("list", "show", "vips").exits(exitDone)
	s.at("yes\n").run("list", "rm", "vips").exits(exitDone).says("is removed")
	s.run("list", "show", "vips").exits(exitFailed)
	s.list("vips", ann())
	s.run("list", "rm", "vips", "--yes", "--json").exits(exitDone).holds(map[string]any{"list": "vips", "removed": true})
}

func TestRemovingAListLeavesItsCampaignsReport(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.sending("spring", 5, "aaaaa")
	s.run("list", "rm", "for spring", "--yes").exits(exitDone)
	s.run("campaign", "report", "spring", "--csv", "-").exits(exitDone).says("+61412000004")
}

func TestAGroupWithoutACommandOfItsOwnIsWrongUsage(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for group, known := range map[string]string{"list": "count, dedupe, export, import, ls", "campaign": "cancel, create, ls, pause", "address": "add, ls, rm"} {
		s.run(group).exits(exitUsage).warns("needs one of " + known)
		s.run(group, "frobnicate").exits(exitUsage).warns(`has no "frobnicate"`, known)
	}
}

func TestACellIsNeverAFormulaAndCanBeReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.StringMatching(`'{0,2}[=+@\t\r-]?[0-9.A-Z(']{0,6}`), rapid.String()).Draw(t, "text")
		c := cell(s)
		if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) && strings.Trim(c, "+-.0123456789") != "" {
			t.Fatalf("%q becomes the formula %q", s, c)
		}
		back := c
		if rest := strings.TrimLeft(c, "'"); strings.HasPrefix(c, "'") && rest != "" && strings.ContainsRune("=+-@\t\r", rune(rest[0])) && c != "" && !isNumber(c) {
			back = c[1:]
		}
		if back != s {
			t.Fatalf("%q becomes %q, and back %q", s, c, back)
		}
	})
}

func TestNumbersAreKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"+61411111111": true, "-5": true, "-5.50": true, "12": true, "+": false, "": false, "-": false, "1.2.3": false, "--5": false, "+1+1": false, "-1 St": false, "=1": false,
	} {
		if s != "" && isNumber(s) != want {
			t.Errorf("isNumber(%q) is %v", s, !want)
		}
		if got := cell(s); want && got != s {
			t.Errorf("cell(%q) is %q", s, got)
		}
	}
}

func TestAFileOfWhichNothingCanBeUsedNamesTheReport(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", "name,phone\nAnn,nothing\nBen,12\n")
	s.run("list", "import", "people", "people.csv", "--json").exits(exitFailed).
		warns("none of the 2 rows", "dropped rows, with line and reason: ", "people.rejects.csv").holds(map[string]any{"code": "invalid"})
	s.file("empty.csv", "")
	s.run("list", "import", "people", "empty.csv").exits(exitFailed).hides("rejects.csv")
}
