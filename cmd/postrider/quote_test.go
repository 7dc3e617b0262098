package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/specimen"
)

func TestAQuoteTellsCountriesLengthsAndWhoWouldBeRefused(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{Countries: []string{"AU", "GB"}})
	s.file("people.csv", "phone,first_name\n+61412345678,Ann\n+61412345679,"+strings.Repeat("Bo ", 60)+"\n+447400123456,Cid\n+6421123456,Dee\n")
	args := []string{"send", "--channel", "sms", "--to", "people.csv", "--body", "Hi {{first_name}}", "--dry-run"}
	s.run(args...).exits(exitDone).says("price         0.211 AUD, every message priced, 1 price call",
		"AU: 2 messages, 3 parts, 0.1698 AUD", "GB: 1 message, 0.0412 AUD", "NZ: 1 message, 0.00 AUD; will refuse COUNTRY_NOT_ENABLED 1",
		"of 1 part: 2 messages, 0.0978 AUD", "of 2 parts: 1 message, 0.1132 AUD")
	detail := s.run(append(args, "--json")...).exits(exitDone).holds(map[string]any{"quoted": "0.211", "basis": "exact"}).object()["detail"].(map[string]any)
	if n := len(detail["countries"].([]any)); n != 3 || fmt.Sprint(detail["calls"]) != "1" {
		t.Errorf("the detail: %v", detail)
	}
	s.run(append(args, "--test-to", "+61412345678", "--exact")...).exits(exitUsage).warns("--exact")
}

func TestABudgetHoldsWhatWouldBeRefusedAsWell(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	provider := s.provider(sandbox.Options{Countries: []string{"AU"}})
	s.file("people.csv", "phone\n+61412345678\n+4915112345678\n")
	send := []string{"send", "--channel", "sms", "--to", "people.csv", "--body", "Hi", "--yes", "--wait", "--budget"}
	s.run(append(send, "0.0566")...).exits(exitStopped).says("budget        0.0566 AUD, which must be 0.1132").warns("the quote is 0.0566 AUD", "0.0566 more is set aside for 1 message", "needs a budget of 0.1132, and it is 0.0566")
	if n := provider.Stats().Accepted; n != 0 {
		t.Errorf("%d messages were sent", n)
	}
	s.run(append(send, "0.1132", "--json")...).exits(exitRefused).holds(map[string]any{"state": "completed", "accepted": 1, "rejected": 1, "spent": "0.0566"})
}

func TestPricingPostSaysBeforeWhatItTakes(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server := s.provider(sandbox.Options{})
	s.file("letter.pdf", string(specimen.Letter("Hello", 1)))
	rows := "address_name,address_line_1,address_city,address_state,address_postal_code,address_country\n"
	for _, line := range []string{"1 High St", "2 High St", "3 High St", "4 High St", "5 High St", "6 High St", "7 High St"} {
		rows += "Ann Lee," + line + ",Perth,WA,6000,AU\n"
	}
	s.file("people.csv", rows)
	send := []string{"send", "--channel", "letter", "--to", "people.csv", "--file", "letter.pdf", "--return-address", "1", "--dry-run"}
	s.run(send...).exits(exitDone).warns("pricing takes 1 upload and 1 call").says("by a few messages of each class, 1 price call, 1 upload")
	s.run(append(send, "--exact")...).exits(exitDone).says("7.70 AUD, every message priced")
	if n := server.Stats().Accepted; n != 0 {
		t.Errorf("%d letters were sent", n)
	}
}
