package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/ledger"
)

// members are 40 people in two cities, aged 10 to 49; one has no age.
func members() string {
	var b strings.Builder
	b.WriteString("phone,first_name,city,age\n")
	for i := range 40 {
		age := fmt.Sprint(10 + i)
		if i == 39 {
			age = "unknown"
		}
		fmt.Fprintf(&b, "+614123456%02d,Ann%d,%s,%s\n", i, i, []string{"Perth", "Broome"}[i%2], age)
	}
	return b.String()
}

// sent are the numbers that a campaign was planned for.
func (s *shell) sent(name string) (phones []string) {
	s.t.Helper()
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		c, err := l.FindCampaign(ctx, name)
		if err != nil {
			s.t.Fatal(err)
		}
		err = l.EachRecipient(ctx, c, func(r *ledger.ReportRow) error {
			phones = append(phones, strings.Clone(r.Contact.Phone))
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	})
	slices.Sort(phones)
	return phones
}

func sendSMS(s *shell, to string, more ...string) *ran {
	return s.run(append([]string{"send", "--channel", "sms", "--to", to, "--from", "ACME", "--body", "Hi {{first_name}}"}, more...)...)
}

func TestASegmentOfAFileIsSentTo(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{Throttle: -1}) // the same text goes to the same people
	s.file("people.csv", members())
	where := []string{"--where", `city = "Broome" and age >= 30`}
	sendSMS(s, "people.csv", append(where, "--dry-run")...).exits(exitDone).
		says("segment       9 of 40 contacts: where city = \"Broome\" and age >= 30", "recipients    9 of 9 contacts",
			"note          1 contact has no number in age: no comparison of it holds for it", "nothing is kept")
	r := sendSMS(s, "people.csv", append(where, "--name", "grown", "--yes", "--json")...).exits(exitDone).
		holds(map[string]any{"total": 9, "accepted": 9, "state": "completed"})
	segment := r.object()["segment"].(map[string]any)
	if fmt.Sprintf("%v %v %v %v", segment["of"], segment["matched"], segment["selected"], segment["where"]) != `40 9 9 city = "Broome" and age >= 30` {
		t.Errorf("the segment is %v", segment)
	}
	if n := provider.Stats().Channels["sms"].Accepted; n != 9 {
		t.Errorf("the provider accepted %d messages, want 9", n)
	}
	s.run("campaign", "status", "grown").exits(exitDone).says(`segment       9 of 40 contacts: where city = "Broome" and age >= 30`, "9  in all")
	s.run("campaign", "report", "grown").exits(exitDone).says(`segment       9 of 40 contacts`)

	// The same once more is refused, however it is spelt; another segment is not.
	sendSMS(s, "people.csv", append(where, "--yes")...).exits(exitFailed).warns(`"grown" already, which is completed`)
	sendSMS(s, "people.csv", "--where", `CITY=='Broome' && age>=30`, "--yes").exits(exitFailed).warns(`"grown" already, which is completed`)
	sendSMS(s, "people.csv", "--where", `city = "Broome" and age < 30`, "--yes", "--json").exits(exitDone).holds(map[string]any{"total": 10})
	sendSMS(s, "people.csv", append(where, "--limit", "5", "--yes", "--json")...).exits(exitDone).holds(map[string]any{"total": 5})
}

func TestTheRestIsSentAfterASample(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{Throttle: -1}) // the same text goes to the same people
	s.file("people.csv", members())
	s.run("list", "import", "members", "people.csv").exits(exitDone)
	s.file("vip.csv", "phone\n+61412345600\n+61412345602\n+61499999999\n")
	s.run("list", "import", "vip", "vip.csv").exits(exitDone)

	sendSMS(s, "list:members", "--exclude", "list:vip", "--sample", "25%", "--dry-run").exits(exitDone).
		says("of 40 contacts: without list vip, a sample of 25%")
	r := sendSMS(s, "list:members", "--exclude", "list:vip", "--sample", "25%", "--yes", "--json").exits(exitDone)
	first := s.sent("sms-2")
	if len(first) < 3 || len(first) > 20 || slices.Contains(first, "+61412345600") || slices.Contains(first, "+61412345602") {
		t.Errorf("a quarter of 38 are %v", first)
	}
	r.holds(map[string]any{"total": len(first), "accepted": len(first)})
	if seed := r.object()["segment"].(map[string]any)["seed"]; len(fmt.Sprint(seed)) != 16 {
		t.Errorf("the seed is %v", seed)
	}
	// Again picks the same people; another seed others.
	sendSMS(s, "list:members", "--exclude", "list:vip", "--sample", "25%", "--again", "--yes").exits(exitDone)
	if again := s.sent("sms-3"); !slices.Equal(again, first) {
		t.Errorf("the same command takes %v, and took %v", again, first)
	}
	sendSMS(s, "list:members", "--exclude", "list:vip", "--sample", "25%", "--sample-seed", "another", "--yes").exits(exitDone)
	if other := s.sent("sms-4"); slices.Equal(other, first) {
		t.Error("another seed takes the same")
	}
	// And the rest.
	before := provider.Stats().Channels["sms"].Accepted
	sendSMS(s, "list:members", "--exclude", "list:vip", "--exclude", "campaign:2", "--yes", "--json").exits(exitDone).holds(map[string]any{"total": 38 - len(first)})
	for _, phone := range s.sent("sms-5") {
		if slices.Contains(first, phone) {
			t.Errorf("%s is sent to once more", phone)
		}
	}
	if n := provider.Stats().Channels["sms"].Accepted - before; n != int64(38-len(first)) {
		t.Errorf("the provider accepted %d messages of the rest", n)
	}
	sendSMS(s, "list:members", "--exclude", "list:vip", "--exclude", "campaign:2", "--exclude", "campaign:5", "--yes").exits(exitFailed).
		warns("of the 40 contacts nobody is in the segment (2 of them are of list vip, " + fmt.Sprint(len(first)) + " of them are of campaign 2, " + fmt.Sprint(38-len(first)) + " of them are of campaign 5): nothing was sent")
}

func TestWhatACampaignDidNotReachIsNotLeftOut(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	id := s.sending("spring", 5, "raupa") // 1 rejected, 1 accepted, 1 unknown, 1 pending, 1 accepted
	sendSMS(s, "list:for spring", "--exclude", fmt.Sprintf("campaign:%d", id), "--dry-run", "--json").exits(exitDone)
	r := sendSMS(s, "list:for spring", "--exclude", "campaign:spring", "--dry-run", "--json").exits(exitDone)
	var out struct {
		Plan campaign.PlanSummary `json:"plan"`
	}
	if err := json.Unmarshal([]byte(r.out), &out); err != nil {
		t.Fatal(err)
	}
	if p := out.Plan; p.Total != 1 || p.Segment == nil || p.Segment.Excluded[0] != (campaign.Exclusion{From: "campaign:spring", Contacts: 4}) {
		t.Errorf("the plan is %+v", p.Segment)
	}
}

func TestSegmentMistakesAreTold(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{Throttle: -1}) // the same text goes to the same people
	s.file("people.csv", members())
	s.file("mails.csv", "name,address_line_1,city,postcode,country\nAnn,1 Way,Perth,6000,AU\n")
	s.run("list", "import", "mails", "mails.csv").exits(exitDone)
	s.file("sale.yaml", "name: sale\nchannel: sms\nto: people.csv\nfrom: ACME\nbody: Hi\n")
	s.run("campaign", "create", "-f", "sale.yaml").exits(exitDone)
	for _, c := range []struct {
		flags []string
		code  int
		want  string
	}{
		{[]string{"--where", ""}, exitUsage, "--where: is empty: write a condition such as"},
		{[]string{"--where", "age >"}, exitUsage, "--where: at character 6: after > comes a field, a text in quotes or a number, and not the end"},
		{[]string{"--where", "agee > 5"}, exitUsage, "--where: at character 1: there is no field agee: did you mean age?"},
		{[]string{"--sample", "500"}, exitUsage, `--sample: "500" is no percentage: write one such as 1% or 0.5%; to send to so many, use a limit`},
		{[]string{"--sample", ""}, exitUsage, `--sample: "" is no percentage`},
		{[]string{"--sample-seed", "x"}, exitUsage, "--sample-seed decides who is in a sample: name its share with sample, such as 1%"},
		{[]string{"--sample", "1%", "--sample-seed", " "}, exitUsage, "--sample-seed: expected a text of 1 to 64 characters"},
		{[]string{"--limit", "0"}, exitUsage, "--limit: 0 is not how many are sent to at most: expected 1 or more"},
		{[]string{"--limit", "-5"}, exitUsage, "--limit: -5 is not"},
		{[]string{"--exclude", "vip"}, exitUsage, `--exclude: "vip" names nobody who could be left out: write list:NAME`},
		{[]string{"--exclude", "list:"}, exitUsage, `--exclude: "list:" names nobody`},
		{[]string{"--exclude", "list:mails", "--exclude", "list:mails"}, exitUsage, "--exclude: list:mails is named twice"},
		{[]string{"--exclude", "list:nobody"}, exitUsage, `--exclude list:nobody: there is no list named "nobody"`},
		{[]string{"--exclude", "campaign:99"}, exitUsage, "--exclude campaign:99: there is no campaign 99"},
		{[]string{"--exclude", "campaign:sale"}, exitUsage, "--exclude campaign:sale: campaign 1 is draft, so that it has reached nobody yet"},
		{[]string{"--exclude", "list:mails"}, exitFailed, "list:mails: nobody there has a phone number, so that nobody would be left out"},
		{[]string{"--where", "age > 500"}, exitFailed, "of the 40 contacts nobody is in the segment (0 meet the condition): nothing was sent"},
	} {
		sendSMS(s, "people.csv", append([]string{"--yes"}, c.flags...)...).exits(c.code).warns(c.want)
	}
	if n := provider.Stats().Channels["sms"].Accepted; n != 0 {
		t.Errorf("the provider accepted %d messages, want none", n)
	}
	// Nothing is left of what was imported for them, but for the draft's audience.
	s.ledger(func(ctx context.Context, l *ledger.Ledger) {
		all, err := l.Campaigns(ctx)
		if err != nil || len(all) != 1 {
			t.Errorf("%d campaigns are left, %v", len(all), err)
		}
	})
}

func TestATestMessageIsOfTheSegment(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{Throttle: -1}) // the same text goes to the same people
	s.file("people.csv", members())
	sendSMS(s, "people.csv", "--where", `city = "Broome" and age >= 30`, "--test-to", "+61412345678", "--test-row", "2", "--yes").exits(exitDone)
	if n := provider.Stats().Channels["sms"].Accepted; n != 1 {
		t.Fatalf("the provider accepted %d messages, want 1", n)
	}
	s.at("no\n").run("send", "--channel", "sms", "--to", "people.csv", "--from", "ACME", "--body", "Hi {{first_name}}", "--where", `city = "Broome" and age >= 30`,
		"--test-to", "+61412345678", "--test-row", "2").exits(exitStopped).says("Hi Ann23")
	sendSMS(s, "people.csv", "--limit", "3", "--test-to", "+61412345678", "--test-row", "4", "--yes").exits(exitUsage).
		warns("--test-row 4: the audience has 3 of 40 contacts that are meant (the first 3)")
}

func TestACampaignFileHasASegment(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("people.csv", members())
	s.file("vip.csv", "phone\n+61412345601\n")
	s.run("list", "import", "vip", "vip.csv").exits(exitDone)
	s.file("sale.yaml", "name: sale\nchannel: sms\nto: people.csv\nfrom: ACME\nbody: Hi {{first_name}}\n"+
		"where: city = \"Broome\" and age < 40\nexclude: [list:vip]\nsample: 50%\nlimit: 4\n")
	s.run("campaign", "create", "-f", "sale.yaml").exits(exitDone).
		says(`segment       4 of 40 contacts: where city = "Broome" and age < 40, without list vip, a sample of 50%, the first 4`, "4 of 4 contacts, in 1 request")
	first := s.sent("1")
	s.run("campaign", "price", "sale").exits(exitDone).says("segment       4 of 40 contacts")
	s.run("campaign", "price", "sale", "--json").exits(exitDone)

	// What takes its place has the same sample, though it has no name of its own yet.
	s.run("campaign", "create", "-f", "sale.yaml", "--replace", "sale").exits(exitDone).says("campaign 1 is cancelled", "segment       4 of 40 contacts")
	if again := s.sent("2"); !slices.Equal(again, first) {
		t.Errorf("the campaign that takes its place is for %v, not %v", again, first)
	}
	s.run("list", "rm", "vip", "--yes")
	s.run("campaign", "start", "sale", "--yes", "--json").exits(exitDone).holds(map[string]any{"total": 4, "accepted": 4})

	s.file("bad.yaml", "channel: sms\nto: people.csv\nfrom: ACME\nbody: Hi\nwhere: city = Broome\nlimit: many\n")
	s.run("campaign", "create", "-f", "bad.yaml").exits(exitUsage).warns(`bad.yaml:6: limit: "many" is not a whole number`)
	s.file("bad.yaml", "channel: sms\nto: people.csv\nfrom: ACME\nbody: Hi\nwhere: city = Broome\n")
	s.run("campaign", "create", "-f", "bad.yaml").exits(exitUsage).warns(`bad.yaml:5: where: at character 8: Broome is not the name of a field; if it is a text, put it in quotes: "Broome"`)
}

func TestContactsOfAListAreCounted(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.file("people.csv", members())
	s.run("list", "import", "members", "people.csv").exits(exitDone)
	s.run("list", "count", "members", "--where", `city = "Broome" and age >= 30`).exits(exitDone).
		says(`9 of 40 contacts in list "members"`, "1 contact has no number in age", "and 6 more").hides("Ann21", "+61412345621")
	s.run("list", "count", "members", "--where", `age >= 30`, "--show-values", "--show", "1").exits(exitDone).says("19 of 40", "Ann20", "+61412345620")
	s.run("list", "count", "members", "--where", `age >= 30`, "--show", "0", "--json").exits(exitDone).
		holds(map[string]any{"list": "members", "contacts": 40, "matched": 19, "first": "[]", "unread": "[map[contacts:1 field:age wanted:number]]"})
	s.run("list", "count", "members").exits(exitUsage).warns("--where is missing")
	s.run("list", "count", "members", "--where", "x > 1").exits(exitUsage).warns("--where: at character 1: there is no field x")
	s.run("list", "count", "members", "--where", "age > 1", "--show", "-1").exits(exitUsage).warns("--show: -1")
	s.run("list", "count", "members", "--where", "age > 1", "--show", "0", "--show-values").exits(exitUsage).warns("--show-values means nothing")
	s.run("list", "count", "nobody", "--where", "age > 1").exits(exitFailed).warns("there is no list")
}
