package acceptance

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
	"github.com/postrider/postrider/internal/specimen"
)

// mixed writes n people in Australia, Britain, New Zealand and Canada, in which
// nothing may be sent to the last; some with names that make two parts of a
// message.
func (w *world) mixed(name string, n int) string {
	var b bytes.Buffer
	b.WriteString("Mobile,First Name,Name,Address 1,Suburb,State,Postcode,Country\n")
	for i := range n {
		number, country, code := fmt.Sprintf("+614%08d", 12_000_000+i), "AU", "6000"
		switch i % 10 {
		case 7:
			number, country, code = fmt.Sprintf("+447400%06d", i), "GB", "SW1A 1AA"
		case 8:
			number, country = fmt.Sprintf("+6421%07d", 1_000_000+i), "NZ"
		case 9:
			number, country, code = fmt.Sprintf("+1416%07d", 5_000_000+i), "CA", "K1A 0B1"
		}
		first := fmt.Sprintf("Ann%d", i%977)
		if i%6 == 5 {
			first = "Аня"
		}
		fmt.Fprintf(&b, "%s,%s,Ann Miller,%d Jarrah Drive,Perth,WA,%s,%s\n", number, first, i+1, code, country)
	}
	return w.file(name, b.Bytes())
}

// notSent adds up the quoted prices of everybody in a report who was not
// accepted, but for those with numbers that begin with foretold: of them the
// quote had said so, and left them out.
func (w *world) notSent(ref, foretold string) (sum campaign.Micros, rows int) {
	w.t.Helper()
	w.must("campaign", "report", ref, "--csv", ref+".csv")
	f, err := os.Open(filepath.Join(w.dir, ref+".csv"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		w.t.Fatal(err)
	}
	state, phone, quoted := slices.Index(head, "state"), slices.Index(head, "phone"), slices.Index(head, "quoted")
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return sum, rows
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if row[state] == "accepted" || foretold != "" && strings.Contains(row[phone], foretold) {
			continue
		}
		rows++
		q, err := campaign.ParseMicros(row[quoted])
		if err != nil {
			w.t.Fatal(err)
		}
		sum += q
	}
}

// TestAcceptQuoteAgainstCharge prices and sends campaigns on all four channels:
// the quote, less the quoted price of what did not go, is the charge, to the
// last decimal.
func TestAcceptQuoteAgainstCharge(t *testing.T) {
	n := scaled(t, 100_000)
	w := newWorld(t, sandbox.Options{Seed: 11, RefuseRate: 0.02, Countries: []string{"AU", "GB", "NZ"}, Throttle: -1})
	w.set("POSTRIDER_DATABASE_URL", services.PostgresAlone(t, services.PostgresOptions{}).URL("postgres"), "POSTRIDER_REDIS_URL", services.Redis(t).URL(), "POSTRIDER_RATE", "50")
	address := w.returnAddress()
	w.mixed("people.csv", n)
	w.file("sale.png", picture(t))
	w.file("letter.pdf", page("letter"))
	w.file("card.pdf", specimen.Card("card", 2))
	w.role("worker")
	w.role("scheduler")
	for _, args := range [][]string{
		{"--channel", "sms", "--from", "ACME", "--body", "Hi {{first_name|there}}, " + strings.Repeat("our sale starts today. ", 5)},
		{"--channel", "mms", "--from", "+61411111112", "--subject", "Sale", "--body", "See you, {{first_name}}", "--media", "sale.png"},
		{"--channel", "letter", "--file", "letter.pdf", "--colour", "--duplex", "--return-address", address},
		{"--channel", "postcard", "--file", "card.pdf", "--return-address", address},
	} {
		channel := args[1]
		var offer struct {
			Quoted campaign.Micros      `json:"quoted"`
			Basis  string               `json:"basis"`
			Detail campaign.QuoteDetail `json:"detail"`
		}
		send := append([]string{"send", "--to", "people.csv", "--name", channel}, args...)
		w.decode(w.must(append(slices.Clone(send), "--dry-run", "--json")...), &offer)
		var byCountry campaign.Micros
		refused := 0
		for _, c := range offer.Detail.Countries {
			byCountry += c.Total
			refused += c.Refusals["COUNTRY_NOT_ENABLED"]
		}
		if len(offer.Detail.Countries) != 4 || byCountry != offer.Quoted {
			t.Errorf("%s: the detail of a quote of %s: %+v", channel, offer.Quoted, offer.Detail)
		}
		foretold := "+1416"
		if channel == "letter" || channel == "postcard" {
			foretold = ""
			if offer.Detail.Calls != 1 || offer.Detail.Uploads != 1 {
				t.Errorf("%s: %d calls and %d uploads", channel, offer.Detail.Calls, offer.Detail.Uploads)
			}
		} else if refused != n/10 {
			t.Errorf("%s: %d would be refused, want the %d in Canada", channel, refused, n/10)
		}
		w.must(append(send, "--yes")...)
		s := w.awaitState(patience(n), channel, "completed")
		if s.Quoted != offer.Quoted {
			t.Errorf("%s: quoted %s, and in the dry run %s", channel, s.Quoted, offer.Quoted)
		}
		left, rows := w.notSent(channel, foretold)
		charged := w.counted(channel).charged
		if s.Quoted-left != charged || charged != s.Spent {
			t.Errorf("%s: quoted %s less %s is %s; charged %s, spent %s", channel, s.Quoted, left, s.Quoted-left, charged, s.Spent)
		}
		if rows == 0 {
			t.Errorf("%s: nobody was refused: the test shows less than it should", channel)
		}
		t.Logf("%s: %d recipients, %s by %s in %d calls, %s for %d not sent, charged %s", channel, n, s.Quoted, offer.Basis, offer.Detail.Calls, left, rows, charged)
	}
	w.nobodyTwice()
}
