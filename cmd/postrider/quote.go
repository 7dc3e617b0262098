package main

import (
	"fmt"
	"strings"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
)

// quoteOptions prices as the user asked for it, and says beforehand what
// pricing post takes.
func (m *Main) quoteOptions(ch campaign.Channel, exact bool) jobs.QuoteOptions {
	o := jobs.QuoteOptions{Actor: m.who(), Exact: exact}
	if ch.IsPost() {
		o.Announce = func(e jobs.QuoteEffort) {
			fmt.Fprintf(m.Stderr, "postrider: pricing takes %s and %s\n", plural(e.Uploads, "upload"), plural(e.Calls, "call"))
		}
	}
	return o
}

// exactUsage describes --exact.
var exactUsage = fmt.Sprintf("have every message priced, not a few of each class (sms and mms: always so up to %s; letter, postcard)", number(jobs.ExactUpTo))

// showQuote prints the price, how it is known, and what it comes to by country,
// length and file, where there is more than one of them.
func (m *Main) showQuote(q jobs.Quote) {
	d := q.Detail
	m.say("  price         %s %s, %s", q.Total, q.Currency, basisText(q))
	if len(d.Countries) > 1 || len(q.Refusals) > 0 {
		for _, c := range d.Countries {
			line := fmt.Sprintf("%s: %s", orUnknown(c.Country), plural(c.Messages, "message"))
			if c.Parts != c.Messages && c.Parts > 0 {
				line += ", " + plural(c.Parts, "part")
			}
			line += fmt.Sprintf(", %s %s", c.Total, q.Currency)
			if len(c.Refusals) > 0 {
				line += "; will refuse " + list(c.Refusals)
			}
			m.say("                %s", line)
		}
	}
	if len(d.Lengths) > 1 {
		for _, l := range d.Lengths {
			m.say("                of %s: %s, %s %s", plural(l.Parts, "part"), plural(l.Messages, "message"), l.Total, q.Currency)
		}
	}
	if len(d.Files) > 1 {
		for _, f := range d.Files {
			m.say("                %s: %s, %s %s", quotedFile(f), plural(f.Messages, "message"), f.Total, q.Currency)
		}
	}
}

// basisText says how a price is known.
func basisText(q jobs.Quote) string {
	how := "every message priced"
	switch q.Basis {
	case campaign.BasisClasses:
		how = "by a few messages of each class"
	case campaign.BasisNone:
		return "nobody asked for prices"
	}
	how += ", " + plural(q.Detail.Calls, "price call")
	if q.Detail.Uploads > 0 {
		how += ", " + plural(q.Detail.Uploads, "upload")
	}
	return how
}

func orUnknown(country string) string {
	if country == "" {
		return "country not known"
	}
	return country
}

// quotedFile names a line of a quote: one file, or several.
func quotedFile(f campaign.FileQuote) string {
	var what []string
	switch {
	case f.Name != "":
		what = append(what, printable(f.Name))
	case f.Files == 1:
		what = append(what, "one file")
	default:
		what = append(what, plural(f.Files, "file"))
	}
	if f.Pages > 0 {
		what = append(what, plural(f.Pages, "page"))
	}
	return strings.Join(what, ", ")
}
