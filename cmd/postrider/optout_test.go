package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/ledger"
)

func TestOptOutsAreAddedShownMaskedAndTakenOff(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	private := []string{"412000001", "2000 001", "wombat", "quokka", "Numbat", "numbat"}
	s.run("optout", "ls").exits(exitDone).says("nobody is on the suppression list")
	s.run("optout", "history").exits(exitDone).says("nothing of that was ever")
	s.run("optout", "add", "0412 000 001", "+61412000002", "--country", "AU", "--email", "Wombat@example.com", "--reason", "asked on the phone",
		"--name", "Kim Quokka", "--line-1", "1 Numbat St", "--city", "Perth", "--postcode", "6000").
		exits(exitDone).says("4 opt-outs added, 0 there already").hides(private...)
	s.run("optout", "add", "+61412000001", "+61412000003", "--source", "call centre", "--json").exits(exitDone).
		holds(map[string]any{"added": 1, "already_there": 1, "held_by_provider": []any{}})

	s.run("optout", "ls").exits(exitDone).says("5 opt-outs", "phone", "call centre", "asked on the phone", "+61•••••••02", "w•••", "AU", "--show-values").hides(private...)
	s.run("optout", "ls", "--show-values", "--kind", "address").exits(exitDone).says("1 opt-out\n", "Kim Quokka, 1 Numbat St, Perth, 6000, AU").hides("wombat", "call centre", "--show-values")
	s.run("optout", "ls", "--json", "--limit", "0", "--kind", "phone").exits(exitDone).holds(map[string]any{
		"total": 3, "newest": []any{}, "counts": []any{
			map[string]any{"kind": "phone", "source": "cli", "count": 2.0}, map[string]any{"kind": "phone", "source": "call centre", "count": 1.0}}})

	s.run("optout", "rm", "+61412000001", "--yes").exits(exitUsage).warns("--reason").hides(private...)
	s.run("optout", "rm", "+61412000001", "--reason", "signed up again").exits(exitUsage).warns("add --yes").hides(private...)
	s.at("no\n").run("optout", "rm", "+61412000001", "--reason", "signed up again").exits(exitStopped).warns("Take 1 entry off", "nothing was changed").hides(private...)
	s.run("optout", "rm", "+61412000099", "--reason", "x", "--yes").exits(exitFailed).warns("none of these is on the suppression list")
	s.run("optout", "rm", "+61412000001", "+61412000099", "--email", "wombat@EXAMPLE.com", "--reason", "signed up again", "--yes", "--json").exits(exitDone).
		holds(map[string]any{"removed": 2, "not_there": 1})
	s.at("yes\n").run("optout", "rm", "--line-1", "1 numbat st.", "--city", "PERTH", "--postcode", "6000", "--country", "AU", "--name", "KIM QUOKKA", "--reason", "moved").
		exits(exitDone).says("1 entry taken off").hides(private...)
	s.run("optout", "add", "+61412000001", "--reason", "again").exits(exitDone).says("1 opt-out added, 0 there already")

	s.run("optout", "history", "+61412000001").exits(exitDone).says("removed", "signed up again", "asked on the phone", "again").hides(private...)
	r := s.run("optout", "history", "--show-values").exits(exitDone).says("wombat@example.com", "moved")
	if n := strings.Count(r.out, "added") + strings.Count(r.out, "removed"); n != 6+3 {
		t.Errorf("%d changes, want 9:\n%s", n, r.out)
	}
	s.run("optout", "history", "--email", "wombat@example.com", "--json", "--limit", "1").exits(exitDone).says(`"change": "removed"`, `"reason": "signed up again"`).hides("wombat")
}

func TestWhatIsNoOptOutIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing is named":          {[]string{"add"}, exitUsage, "name at least one phone number"},
		"no number":                 {[]string{"add", "+61412000001", "wombat"}, exitUsage, "argument 2"},
		"a national number":         {[]string{"add", "0412000001"}, exitUsage, "--country"},
		"no such number":            {[]string{"add", "+6141200"}, exitUsage, "argument 1"},
		"an e-mail as a number":     {[]string{"add", "wombat@example.com"}, exitUsage, "give it with --email"},
		"no e-mail":                 {[]string{"add", "--email", "a@b.cd", "--email", "wombat"}, exitUsage, "--email number 2"},
		"half an address":           {[]string{"add", "--line-1", "1 Wombat St", "--city", "Perth"}, exitUsage, "no postcode, no country"},
		"a name alone":              {[]string{"add", "--name", "Wombat"}, exitUsage, "no line 1"},
		"no country":                {[]string{"add", "1", "--country", "Atlantis"}, exitUsage, "country"},
		"no kind":                   {[]string{"ls", "--kind", "fax"}, exitUsage, "use phone, email or address"},
		"less than nothing":         {[]string{"ls", "--limit", "-1"}, exitUsage, "less than nothing"},
		"an argument too many":      {[]string{"ls", "+61412000001"}, exitUsage, "nothing else"},
		"two histories":             {[]string{"history", "+61412000001", "+61412000002"}, exitUsage, "name one"},
		"a history of another kind": {[]string{"history", "+61412000001", "--kind", "email"}, exitUsage, "leave it out"},
		"stdout twice":              {[]string{"export", "--json"}, exitUsage, "-o"},
		"no command":                {[]string{"push"}, exitUsage, "history"},
		"no file":                   {[]string{"import"}, exitUsage, "the file"},
		"a file that is not there":  {[]string{"import", "stop.csv"}, exitFailed, "there is no such file"},
		"a folder":                  {[]string{"import", "."}, exitFailed, "is a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.run(append([]string{"optout"}, c.args...)...).exits(c.code).warns(c.says).hides("ombat", "12000001", "6141200")
		})
	}
}

func TestAFileOfOptOutsIsImportedWholeAndItsExportChangesNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("stop.csv", "Mobile,E-mail,Name,Address,City,Postcode,Country,Reason\n"+
		"0412 000 001,,,,,,AU,\"=HYPERLINK(\"\"x\"\")\"\n"+
		"+61412000002,=wombat@example.com,,,,,,\n"+
		"+61412000001,,,,,,,again\n"+
		",,Kim Quokka,\"@ 1 Numbat St., Unit 2\",Perth,6000,Australia,\n"+
		",,,2 Numbat St,Perth,6000,Australia,\n"+
		"12,quoll@example.com,,,,,,\n"+
		"34,,,,,,,\n")
	s.run("optout", "add", "+61412000002", "--reason", "first").exits(exitDone)
	s.run("optout", "import", "stop.csv").exits(exitDone).hides("wombat", "Numbat", "412000").
		says("5 opt-outs added, 1 there already", "7 rows: 5 taken, 1 duplicate, 1 rejected", "of 1 row taken a part could not be read", "stop.rejects.csv")
	rejects, err := os.ReadFile(filepath.Join(s.dir, "stop.rejects.csv"))
	if text := string(rejects); err != nil || strings.Count(text, "\n") != 3 || !strings.Contains(text, "partly_taken") || strings.Contains(text, "duplicate") {
		t.Errorf("%s %v", text, err)
	}
	s.run("optout", "import", "stop.csv", "--json").exits(exitDone).holds(map[string]any{
		"rows": 7, "taken": 5, "duplicates": 1, "rejected": 1, "partly": 1, "entries": 6, "added": 0, "already_there": 6})

	out := s.run("optout", "export").exits(exitDone).says(",'=wombat@example.com,", "'@ 1 Numbat St.", "\"'=HYPERLINK(\"\"x\"\")\"", "+61412000002,").out
	s.run("optout", "export", "-o", "out.csv", "--json").exits(exitDone).holds(map[string]any{"entries": 6})
	s.run("optout", "import", "out.csv").exits(exitDone).says("0 opt-outs added, 6 there already", "0 rejected")
	if again := s.run("optout", "export").exits(exitDone).out; again != out {
		t.Errorf("importing an export has changed the list:\n%s\n%s", out, again)
	}
	other := newShell(t)
	other.file("out.csv", out)
	other.run("optout", "import", "out.csv").exits(exitDone).says("6 opt-outs added, 0 there already")
	// All but who added them and when.
	if a, b := withoutLast(out, 2), withoutLast(other.run("optout", "export").exits(exitDone).out, 2); a != b {
		t.Errorf("another ledger has another list:\n%s\n%s", a, b)
	}
}

// withoutLast drops the last columns of a CSV whose last cells have no comma.
func withoutLast(text string, columns int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		cells := strings.Split(line, ",")
		lines[i] = strings.Join(cells[:len(cells)-columns], ",")
	}
	return strings.Join(lines, "\n")
}

func TestOptOutsComeFromStdinAndFromFilesOfOneColumn(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.at("+61412000001\nwombat@example.com\n+61412000001\n").run("optout", "import", "-", "--source", "list of 3 May").exits(exitDone).says("2 opt-outs added")
	s.run("optout", "ls").exits(exitDone).says("list of 3 May")
	s.file("national.txt", "0412000005\n0412000006\n")
	s.run("optout", "import", "national.txt").exits(exitFailed).warns("--country").hides("412000005")
	s.run("optout", "ls", "--json").exits(exitDone).holds(map[string]any{"total": 2})
	s.run("optout", "import", "national.txt", "--country", "AU").exits(exitDone).says("2 opt-outs added")
}

func TestAnImportOfAListLeavesOutWhoCannotBeReachedAnyMore(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run("optout", "add", "+61412000001", "+61412000002", "+61412000005", "--email", "wombat@example.com", "--line-1", "1 Hill St", "--city", "Perth", "--postcode", "6000", "--country", "AU").exits(exitDone)
	s.file("people.csv", "phone,email,name,address,city,postcode,country\n"+
		"+61412000001,,,,,,\n"+ // barred
		"+61412000002,,Ann,2 Hill St,Perth,6000,AU\n"+ // a letter may go there
		"+61412000003,,Ben,1 Hill St,Perth,6000,AU\n"+ // an SMS may
		"+61412000005,,Cem,1  HILL ST.,Perth,6000,AU\n"+ // neither
		"+61412000004,Wombat@Example.com,Dee,3 Hill St,Perth,6000,AU\n") // barred everywhere
	s.run("list", "import", "people", "people.csv", "--json").exits(exitDone).holds(map[string]any{"rows": 5, "imported": 2, "suppressed": 3})
}

func TestOptingOutTellsWhatTheProviderStillHolds(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	id := s.sending("spring", 3, "aap", func(c *ledger.NewCampaign) { c.Content.Schedule = time.Now().Add(time.Hour).Unix() })
	s.run("optout", "add", "+61412000000", "+61412000002").exits(exitDone).
		says("2 opt-outs added", fmt.Sprintf("the provider holds 1 message of campaign %d", id), fmt.Sprintf("campaign cancel %d --to NUMBER", id))
	s.run("optout", "add", "+61412000001", "--json").exits(exitDone).says(`"held_by_provider": [`, `"messages": 1`, `"held_unchecked": []`).hides("412000001")
	// Of an e-mail address it is not looked up, and that is said.
	s.run("optout", "add", "--email", "ann@example.com").exits(exitDone).
		says("1 opt-out added", fmt.Sprintf("the provider holds 2 messages of campaign %d", id), "was not looked up")
	s.file("stop.csv", "+61412000001\n")
	s.run("optout", "import", "stop.csv").exits(exitDone).says("the provider holds 2 messages", "was not looked up")
}
