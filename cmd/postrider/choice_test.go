package main

import (
	"testing"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/specimen"
)

func TestFixedLinesAreSentToOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("people.csv", "phone\n+61412345678\n(02) 9374 4000\n1800 160 401\n+1 512 555 0123\n")
	s.file("lines.csv", "phone\n+61293744000\n")
	send := func(to string, more ...string) *ran {
		return s.run(append([]string{"send", "--channel", "sms", "--to", to, "--country", "AU", "--body", "Hi"}, more...)...)
	}
	send("people.csv", "--dry-run").exits(exitDone).says("recipients    2 of 4 contacts", "suppressed    fixed_line 2; --fixed-lines sends to them all the same")
	send("people.csv", "--dry-run", "--fixed-lines").exits(exitDone).says("recipients    4 of 4 contacts").hides("fixed_line")
	send("lines.csv", "--dry-run").exits(exitFailed).warns("fixed_line 1; --fixed-lines sends to them all the same")
	send("people.csv", "--yes").exits(exitDone).says("2  suppressed   fixed_line 2; --fixed-lines")
	s.file("campaign.yaml", "channel: sms\nto: people.csv\ncountry: AU\nbody: Hello\nfixed_lines: true\n")
	s.run("campaign", "create", "-f", "campaign.yaml").exits(exitDone).says("4 of 4 contacts")
	s.run("send", "--channel", "letter", "--to", "people.csv", "--fixed-lines").exits(exitUsage).warns("--fixed-lines means nothing on letter")
}

func TestOneLetterGoesToAHouseholdWhenAsked(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.provider(sandbox.Options{})
	s.file("offer.pdf", string(specimen.Letter("offer", 1)))
	s.file("homes.csv", "Name,Street,City,State,Postcode,Country,pdf\n"+
		"Ann Example,1 Example Street,Perth,WA,6000,AU,offer.pdf\nBen Example,1 EXAMPLE STREET.,Perth,WA,6000,AU,offer.pdf\nCid Other,2 Example Street,Perth,WA,6000,AU,offer.pdf\n")
	letter := func(to string, more ...string) *ran {
		return s.run(append([]string{"send", "--channel", "letter", "--to", to, "--return-address", "1", "--dry-run"}, more...)...)
	}
	letter("homes.csv", "--file", "offer.pdf").exits(exitDone).says("recipients    3 of 3 contacts")
	letter("homes.csv", "--file", "offer.pdf", "--dedupe", "recipient").exits(exitDone).says("recipients    3 of 3 contacts")
	letter("homes.csv", "--file", "offer.pdf", "--dedupe", "household").exits(exitDone).says("recipients    2 of 2 contacts", "dropped rows  0 rejected, 1 duplicate")
	s.run("list", "import", "homes", "homes.csv").exits(exitDone)
	letter("list:homes", "--file", "offer.pdf", "--dedupe", "household").exits(exitDone).says("recipients    2 of 3 contacts", "suppressed    duplicate 1")
	letter("homes.csv", "--file-column", "pdf", "--dedupe", "household").exits(exitUsage).warns("--dedupe household does not go with --file-column")
	letter("homes.csv", "--file", "offer.pdf", "--dedupe", "street").exits(exitUsage).warns(`--dedupe: "street" is neither recipient nor household`)
	s.run("send", "--channel", "sms", "--to", "homes.csv", "--body", "Hi", "--dedupe", "household").exits(exitUsage).warns("--dedupe means nothing on sms")
}
