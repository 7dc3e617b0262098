package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
)

func TestAListGoesToTheProviderAndBack(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	sb := s.provider(sandbox.Options{})
	var all []campaign.Contact
	for i, k := range people(250) {
		k.Fields = campaign.FieldsOf(map[string]string{"tier": "gold", "shop": fmt.Sprint(i)})
		all = append(all, k)
	}
	s.list("vips", all...)
	out := s.run("list", "push", "vips", "--custom", "tier", "--yes", "--json").exits(exitDone).holds(map[string]any{
		"list": "vips", "contacts": 250.0, "already_there": 0.0, "imported": 250.0, "missing": 0.0, "missing_file": "", "others": 0.0, "still_importing": false,
		"suppressed": 0.0, "unreachable": 0.0,
	}).object()
	id := fmt.Sprint(out["remote_list"].(map[string]any)["id"])
	if host := fmt.Sprint(out["host"]); !strings.HasPrefix(host, "SANDBOX (") {
		t.Errorf("host %q", host)
	}
	if left := fmt.Sprint(out["not_copied"]); !strings.Contains(left, "shop") || strings.Contains(left, "tier") {
		t.Errorf("not copied: %s", left)
	}
	s.run("list", "remote", "ls").exits(exitDone).says("vips", "250")
	s.run("list", "remote", "ls", "--json").exits(exitDone).says(`"contacts": 250`)
	s.run("list", "pull", id, "--as", "back", "--json").exits(exitDone).holds(map[string]any{
		"list": "back", "imported": 250.0, "added": 250.0, "updated": 0.0, "unchanged": 0.0, "changed": true, "rejected": 0.0, "rejects_file": "",
	})
	back := s.contacts("back")
	if tier, _ := back[0].Field("custom_1"); len(back) != 250 || back[0].Phone != all[0].Phone || tier != "gold" {
		t.Errorf("%d came back, the first of them %+v", len(back), back[0])
	}
	s.run("list", "pull", id).exits(exitFailed).warns(`a list named "vips" exists already`, "--as")
	s.run("list", "push", "back", "--as", "vips", "--yes").exits(exitFailed).warns("--remote-list "+id, "--as")
	if n := sb.Stats().Malformed; n != 0 {
		t.Errorf("%d requests were malformed", n)
	}

	s.run("list", "remote", "rm", id).exits(exitUsage).warns("add --yes")
	s.at("no\n").run("list", "remote", "rm", id).exits(exitStopped).warns("Remove list "+id+` "vips" with its 250 contacts at SANDBOX (`, "nobody said yes")
	s.at("yes\n").run("list", "remote", "rm", id).exits(exitDone).says("is removed at SANDBOX")
	s.run("list", "remote", "rm", id, "--yes").exits(exitFailed).warns("no contact list "+id, "list remote ls")
}

func TestAPushAsksBeforeItCopies(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	sb := s.provider(sandbox.Options{})
	s.list("vips", people(3)...)
	s.run("list", "push", "vips").exits(exitUsage).warns("add --yes")
	s.at("no\n").run("list", "push", "vips").exits(exitStopped).says("host        SANDBOX (", `"vips", 3 contacts to copy`, `a new contact list "vips"`).warns("Copy 3 contacts to SANDBOX (", "nobody said yes")
	if n := sb.Stats().Endpoints["POST /lists"].Requests; n != 0 {
		t.Errorf("%d lists were made without a yes", n)
	}
	s.at("yes\n").run("list", "push", "vips").exits(exitDone).says("3 of 3 contacts are on the provider's list")
	s.run("list", "push", "vips", "--yes").exits(exitDone).says("which an earlier push of it made (3 contacts)", "(3 were before)", "their other fields were not compared")
}

func TestAPushThatMissesSomebodySaysWhomAndNotTheirNumber(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s = s.with("POSTRIDER_SETTLE=1s")
	all := people(20)
	all[7].Phone = "+2101234567" // of no country
	s.list("vips", all...)
	s.run("list", "push", "vips", "--yes").exits(exitRefused).says("19 of 20 contacts", "vips.missing.csv").hides("+2101234567", "1234567")
	text, err := os.ReadFile(filepath.Join(s.dir, "vips.missing.csv"))
	if err != nil || strings.Contains(string(text), "1234567") || !strings.Contains(string(text), "missing_at_provider") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestMistakesAboutTheProvidersListsAreAnsweredWithWhatToDo(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.list("vips", people(3)...)
	for _, c := range []struct {
		line, word string
		code       int
	}{
		{"list push", "the list's name", exitUsage},
		{"list push nobody --yes", "no list named", exitFailed},
		{"list push vips --yes --as x --remote-list 3", "give one of them", exitUsage},
		{"list push vips --yes --remote-list three", "no id", exitUsage},
		{"list push vips --yes --remote-list 77", "no contact list 77", exitFailed},
		{"list push vips --yes --wait 0s", "--wait", exitUsage},
		{"list push vips --yes --custom nothing", "no column", exitUsage},
		{"list push vips --yes --custom a,b,c,d,e", "keeps four", exitUsage},
		{"list push vips --yes --country AU", "unknown flag", exitUsage},
		{"list pull vips", "no id", exitUsage},
		{"list pull 0", "no id", exitUsage},
		{"list pull 77", "no contact list 77", exitFailed},
		{"list pull 1 --as 12", "is a number", exitUsage},
		{"list pull 1", "has no contacts", exitFailed},
		{"list remote rm x --yes", "no id", exitUsage},
		{"list remote", "needs one of ls, rm", exitUsage},
		{"optout pull", "--remote-list is missing", exitUsage},
		{"optout pull --remote-list x", "no id", exitUsage},
		{"optout pull --remote-list 77", "no contact list 77", exitFailed},
	} {
		s.run(strings.Fields(c.line)...).exits(c.code).warns(c.word)
	}
	s.with("CLICKSEND_API_KEY=wrong").run("list", "remote", "ls").exits(exitFailed).warns("refuses the user name or the API key")
}

func TestTheProvidersOptOutListIsPulled(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s = s.with("POSTRIDER_SETTLE=1s")
	s.list("stops", people(3)...)
	s.run("list", "push", "stops", "--remote-list", "1", "--yes").exits(exitDone)
	s.run("optout", "pull", "--remote-list", "1").exits(exitDone).says("3 opt-outs added, 0 there already", "3 taken")
	s.run("optout", "pull", "--remote-list", "1", "--json").exits(exitDone).holds(map[string]any{"contacts": 3.0, "added": 0.0, "already_there": 3.0, "rejects_file": ""})
	s.run("optout", "ls").exits(exitDone).says("remote list 1")
	s.run("list", "push", "stops", "--as", "others", "--yes").exits(exitFailed).says("3, who have opted out").warns("nobody whom the provider could keep")
}
