package main

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/clicksend/sandbox"
)

func TestAnAuditComparesHistoryWithTheLedger(t *testing.T) {
	t.Parallel()
	s := newShell(t).with("POSTRIDER_SETTLE=0s")
	server := s.provider(sandbox.Options{})
	s.file("people.csv", "name,phone\nAda,+61412345671\n=Bob,+61412345672\n")
	send := func(name, body string) *ran {
		return s.run("send", "--channel", "sms", "--to", "people.csv", "--from", "ACME", "--body", body, "--yes", "--wait", "--name", name)
	}
	send("kept", "Hi").exits(exitDone)
	s.run("audit", "kept").exits(exitDone).says("2 recipients", "2 messages in the provider's history", "say the same")
	s.run("audit", "kept", "--json").exits(exitDone).holds(map[string]any{"equal": true, "complete": true, "recipients": 2, "messages": 2, "missing": 0})

	server.SetFaults(sandbox.Faults{Dropped: 1, Endpoints: []string{"POST /sms/send"}})
	send("dropped", "Hello").exits(exitDone).says("2  accepted")
	s.run("audit", "dropped", "--csv", "differences.csv").exits(exitFailed).says("2  missing", "differences.csv")
	f, err := os.Open(filepath.Join(s.dir, "differences.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][2] != "+61412345671" || rows[1][8] != "missing" || rows[2][9] != "accepted" {
		t.Errorf("the CSV holds %q, %v", rows, err)
	}
	if r := s.run("audit", "dropped", "--csv", "-").exits(exitFailed); strings.Count(r.out, "\n") != 3 {
		t.Errorf("stdout holds more than the CSV:\n%s", r.out)
	}
	s.run("audit", "dropped", "--json").exits(exitFailed).holds(map[string]any{"equal": false, "missing": 2})
	s.with("POSTRIDER_SETTLE=1h").run("audit", "dropped").exits(exitDone).says("2  too fresh to tell")
	s.run("audit", "nobody").exits(exitFailed).warns("there is no campaign")
	s.run("audit").exits(exitUsage)
	s.run("audit", "kept", "--json", "--csv", "-").exits(exitUsage)
	s.with("CLICKSEND_BASE_URL="+strings.Replace(s.seen.BaseURL, "127.0.0.1", "localhost", 1)).run("audit", "kept").exits(exitFailed).warns("was quoted at")
}

func TestARestoredLedgerSendsOnlyWhatWasNotSentAfterTheBackup(t *testing.T) {
	t.Parallel()
	s := newShell(t).with("POSTRIDER_SETTLE=100ms")
	server := s.provider(sandbox.Options{Throttle: -1})
	sent := s.sending("spring", 3, "")
	s.run("campaign", "pause", "spring").exits(exitDone)
	s.sending("autumn", 2, "")
	s.run("audit", "--repair").exits(exitFailed).warns("not quarantined")
	s.run("backup", "backup").exits(exitDone)
	s.run("campaign", "resume", "spring", "--wait").exits(exitDone).says("3  accepted")
	before := server.Stats().Accepted // autumn may have left as well

	o := s.elsewhere().with("POSTRIDER_SETTLE=100ms")
	o.run("restore", filepath.Join(s.dir, "backup")).exits(exitDone)
	o.run("audit", "spring").exits(exitFailed).says("3  extra")
	o.run("audit", "spring", "--repair").exits(exitUsage)
	o.run("audit", "--repair", "--csv", "-").exits(exitUsage)
	server.SetFaults(sandbox.Faults{Error503: 1, Endpoints: []string{"GET /sms/history"}})
	o.run("audit", "--repair").exits(exitFailed).says("the quarantine stays: sms: ")
	o.run("campaign", "resume", "spring").exits(exitFailed).warns("quarantined")
	server.SetFaults(sandbox.Faults{})
	r := o.run("audit", "--repair").exits(exitDone).says("sms: ", "were accepted meanwhile", "the quarantine is lifted", "opted out")
	o.run("campaign", "status", "spring", "--json").exits(exitDone).holds(map[string]any{"id": sent, "state": "completed", "accepted": 3, "quarantine": nil})
	o.run("audit", "spring").exits(exitDone)
	o.run("audit", "--repair", "--json").exits(exitFailed).holds(map[string]any{"code": "conflict"})
	if before == 3 { // autumn waited
		r.says("campaign 2 is paused: look at it")
		o.run("campaign", "status", "autumn").exits(exitDone).says("is paused: restored: ")
		o.run("campaign", "resume", "autumn", "--wait").exits(exitDone).says("2  accepted")
	}
	if st := server.Stats(); st.Accepted != 5 {
		t.Errorf("%d messages were accepted, want 5", st.Accepted)
	}
}
