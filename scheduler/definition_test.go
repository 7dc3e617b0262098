package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/scheduler"
)

const whole = `name: nightly-letters
cron: "0 2 * * mon-fri"
timezone: Australia/Sydney
source:
  file: /exports/{yyyy}-{mm}-{dd}.csv
  missing: nothing
overlap: skip
if_late: skip
late_limit: 90m
catch_up: all
retries:
  tries: 5
  wait: 15m
alarm:
  command: [/usr/local/bin/tell-ops, --loud]
  webhook: https://hooks.example.com/postrider
  secret_env: ALARM_SECRET
  on: [failed, nothing]
campaign:
  channel: letter
  file: /srv/letter.pdf
  colour: true
  return_address: 12
  budget: 250.00
`

func TestADefinitionIsReadWhole(t *testing.T) {
	t.Parallel()
	d, err := scheduler.ParseDefinition("schedule.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := ledger.NewSchedule{
		Name: "nightly-letters", Spec: whole, Cron: "0 2 * * mon-fri", Zone: "Australia/Sydney", Overlap: "skip", IfLate: "skip", LateLimit: 90 * time.Minute,
		CatchUp: "all", Tries: 5, RetryWait: 15 * time.Minute,
		Alarm: ledger.AlarmConfig{Command: []string{"/usr/local/bin/tell-ops", "--loud"}, Webhook: "https://hooks.example.com/postrider", SecretEnv: "ALARM_SECRET", On: []string{"failed", "nothing"}},
	}
	if diff := cmp.Diff(want, d.NewSchedule); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(scheduler.Source{Kind: "file", Value: "/exports/{yyyy}-{mm}-{dd}.csv", Missing: "nothing"}, d.Source); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff("  channel: letter\n  file: /srv/letter.pdf\n  colour: true\n  return_address: 12\n  budget: 250.00\n", d.Campaign); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if o, err := d.Order(); err != nil || o.Channel != "letter" || !o.Colour || o.ReturnAddress != 12 || o.Budget != "250.00" {
		t.Errorf("the order is %+v (%v)", o, err)
	}

	small := "name: a\ncron: '@daily'\ntimezone: UTC\nsource: {list: customers}\ncampaign: {channel: sms, from: 61412345678, body: Hi}\n"
	if d, err = scheduler.ParseDefinition("schedule.yaml", []byte(small)); err != nil {
		t.Fatal(err)
	}
	want = ledger.NewSchedule{Name: "a", Spec: small, Cron: "@daily", Zone: "UTC", Overlap: "wait", IfLate: "run", LateLimit: 6 * time.Hour, CatchUp: "latest", Tries: 3, RetryWait: 10 * time.Minute}
	if diff := cmp.Diff(want, d.NewSchedule); diff != "" {
		t.Errorf("the defaults, -want +got:\n%s", diff)
	}
	if o, err := d.Order(); err != nil || o.From != "61412345678" || o.Body != "Hi" {
		t.Errorf("the order is %+v (%v)", o, err)
	}

	between := "campaign:\n  # what is sent\n  channel: sms\n  body: |-\n    Hi,\n\n    Ann: it is time\nname: a\ncron: '@daily'\ntimezone: UTC\nsource: {list: customers}\n"
	if d, err = scheduler.ParseDefinition("schedule.yaml", []byte(between)); err != nil {
		t.Fatal(err)
	}
	if o, err := d.Order(); err != nil || o.Body != "Hi,\n\nAnn: it is time" {
		t.Errorf("the order is %+v (%v)", o, err)
	}
}

func TestWhatIsWrongWithADefinitionIsNamedWithItsLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, want string }{
		{"overlap: skip", "overlap: sometimes", `s.yaml:7: overlap is "sometimes": expected wait or skip or run`},
		{"overlap: skip", "overlaps: skip", "s.yaml:7: overlaps is not known: expected one of alarm, campaign, catch_up"},
		{"overlap: skip", "cron: '@daily'", "s.yaml:7: cron is set a second time; the first is in line 2"},
		{`"0 2 * * mon-fri"`, `"0 25 * * *"`, `s.yaml:2: cron is "0 25 * * *": cron expression "0 25 * * *": hour is "25": expected 0 to 23`},
		{"Australia/Sydney", "Sydney", `s.yaml:3: timezone is "Sydney": "Sydney" is no time zone: expected an IANA time zone`},
		{"name: nightly-letters", "name: 7", `s.yaml:1: name is "7": expected a letter`},
		{"name: nightly-letters\n", "", "name is missing: expected a name such as nightly-letters"},
		{"name: nightly-letters", "name: true", "s.yaml:1: name is true, which YAML takes for true or false"},
		{"/exports/{yyyy}-{mm}-{dd}.csv", "exports/a.csv", "s.yaml:5: source.file is \"exports/a.csv\": expected a whole path"},
		{"{dd}", "{day}", "{day} is no placeholder: expected {yyyy}, {mm}, {dd}"},
		{"{dd}", "{dd", "has a brace without its partner"},
		{"  missing: nothing", "  list: a", "s.yaml:5: source: expected one of list: NAME, file: PATH or outbox: FOLDER"},
		{"file: /exports/{yyyy}-{mm}-{dd}.csv", "list: a", "s.yaml:6: source.missing goes with source.file alone"},
		{"late_limit: 90m", "late_limit: 90", `s.yaml:9: late_limit is "90": expected a span of time such as 10m or 6h`},
		{"tries: 5", "tries: 0", `s.yaml:12: retries.tries is "0": expected a whole number from 1 to 100`},
		{"tries: 5", "tries: [5]", `s.yaml:12: retries.tries: expected one value`},
		{"[/usr/local/bin/tell-ops, --loud]", "tell-ops", `alarm.command begins with "tell-ops": expected the whole path of a program`},
		{"https://hooks", "http://hooks", "s.yaml:16: alarm.webhook is \"http://hooks.example.com/postrider\": expected https://HOST"},
		{"https://hooks", "https://me:secret@hooks", "expected https://HOST"},
		{"secret_env: ALARM_SECRET", "secret_env: CLICKSEND_API_KEY", "variables that begin with CLICKSEND_ are Postrider's own"},
		{"  secret_env: ALARM_SECRET\n", "", "alarm.webhook needs a secret to sign with"},
		{"[failed, nothing]", "[failing]", `s.yaml:18: alarm.on is "failing": expected some of failed, skipped`},
		{"channel: letter", "channel: fax", "s.yaml:20: campaign.channel: "},
		{"  channel: letter\n", "", "s.yaml:20: campaign.channel is missing"},
		{"colour: true", "color: true", `s.yaml:22: campaign: key "color" is not known; there are`},
		{"colour: true", "colour: 1.5", `s.yaml:22: campaign.colour: "1.5" is not true or false`},
		{"colour: true", "to: people.csv", "s.yaml:22: campaign.to is not known here: source says"},
		{"colour: true", "at: tomorrow", "s.yaml:22: campaign.at is not known here: cron says"},
		{"/srv/letter.pdf", "letter.pdf", "campaign: the file is \"letter.pdf\": expected a whole path"},
		{"return_address: 12", "return_address: home", `s.yaml:23: campaign.return_address: "home" is not a whole number`},
		{"overlap: skip", "overlap: &a skip", "s.yaml:7: overlap: anchors and aliases are not read here"},
		{"overlap: skip", "overlap: skip\n---\na: b", "s.yaml:1: holds more than one YAML document"},
		{"overlap: skip", "overlap: [", "s.yaml:1: is not YAML"},
		{"  file: /exports/{yyyy}-{mm}-{dd}.csv\n  missing: nothing\n", "  outbox: /srv/outbox\n", "campaign.file and campaign.file_column do not go with source.outbox"},
		{whole, "name: a\ncron: '@daily'\ntimezone: UTC\nsource:\n  outbox: /srv/outbox\ncampaign:\n  channel: sms\n  body: Hi\n", `s.yaml:7: campaign.channel is "sms": an outbox holds letters: expected letter`},
		{"colour: true", "where: age >", "s.yaml:22: campaign.where: at character 6: after > comes a field"},
		{"colour: true", "exclude: [vip]", `s.yaml:22: campaign.exclude: "vip" names nobody who could be left out`},
		{"colour: true", "sample: 5", `s.yaml:22: campaign.sample: "5" is no percentage`},
		{"colour: true", "limit: 0", "s.yaml:22: campaign.limit: 0 is not how many"},
		{whole, "name: a\ncron: '@daily'\ntimezone: UTC\nsource:\n  outbox: /srv/outbox\ncampaign:\n  channel: letter\n  limit: 5\n", "s.yaml:7: campaign.where, exclude, sample and limit do not go with source.outbox: whatever lies there is mailed"},
		{whole, "", "s.yaml:1: is empty: expected name, cron"},
		{whole, "- a", "s.yaml:1: the file should be lines such as `key: value`"},
	} {
		text := strings.Replace(whole, c.from, c.to, 1)
		_, err := scheduler.ParseNewDefinition("s.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), c.want) || campaign.ErrorCode(err) != campaign.CodeInvalid {
			t.Errorf("with %q for %q:\n got %v\nwant %s", c.to, c.from, err, c.want)
		}
	}
}

func TestAPathFollowsTheDateOfTheRun(t *testing.T) {
	t.Parallel()
	l := scheduler.Local(2027, time.March, 1, 2, 5)
	for path, want := range map[string]string{
		"/exports/{yyyy}-{mm}-{dd}.csv":       "/exports/2027-03-01.csv",
		"/exports/{yyyy-mm-dd}.csv":           "/exports/2027-03-01.csv",
		"/exports/{yyyymmdd}T{HHMM}.csv":      "/exports/20270301T0205.csv",
		"/exports/{yyyy}/letters_{mm.dd -1d}": "/exports/2027/letters_02.28",
		"/exports/{yyyy-mm-dd +31d}.csv":      "/exports/2027-04-01.csv",
		"/exports/always.csv":                 "/exports/always.csv",
	} {
		if got, err := (scheduler.Source{Kind: "file", Value: path}).Path(l); err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", path, got, err, want)
		}
	}
}

func FuzzParseDefinition(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("name: a\ncron: '@daily'\ntimezone: UTC\nsource: {list: customers}\ncampaign: {channel: sms, body: Hi}\n"))
	f.Add([]byte("a: *b\n? [c]\n: d"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := scheduler.ParseDefinition("s.yaml", text)
		if err == nil && (d.Times == nil || d.Location == nil || d.Source.Kind == "" || d.Campaign == "" || d.Name == "") {
			t.Fatalf("taken with a part missing: %+v", d)
		}
	})
}
