package acceptance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
)

// manyZones are time zones: an audience spread over them is cut into as many
// batches at least, however few people it has.
func manyZones() []string {
	zones := strings.Fields(`
		Africa/Algiers Africa/Cairo Africa/Johannesburg Africa/Lagos Africa/Nairobi Africa/Tunis
		America/Bogota America/Caracas America/Chicago America/Denver America/Halifax America/Havana America/Lima America/Los_Angeles
		America/Mexico_City America/New_York America/Panama America/Phoenix America/Santiago America/Sao_Paulo America/St_Johns America/Toronto
		Asia/Baghdad Asia/Baku Asia/Bangkok Asia/Colombo Asia/Dhaka Asia/Dubai Asia/Hong_Kong Asia/Jakarta Asia/Kabul Asia/Karachi Asia/Kathmandu
		Asia/Kolkata Asia/Manila Asia/Riyadh Asia/Seoul Asia/Shanghai Asia/Singapore Asia/Taipei Asia/Tashkent Asia/Tehran Asia/Tokyo Asia/Yerevan
		Australia/Adelaide Australia/Brisbane Australia/Darwin Australia/Hobart Australia/Melbourne Australia/Perth Australia/Sydney
		Europe/Athens Europe/Berlin Europe/Dublin Europe/Helsinki Europe/Istanbul Europe/Lisbon Europe/London Europe/Madrid Europe/Moscow Europe/Oslo
		Europe/Paris Europe/Prague Europe/Rome Europe/Sofia Europe/Vienna Europe/Warsaw Pacific/Auckland Pacific/Chatham Pacific/Fiji Pacific/Honolulu`)
	for h := -14; h <= 12; h++ {
		zones = append(zones, fmt.Sprintf("Etc/GMT%+d", h))
	}
	return zones
}

// TestAcceptPauseAndResume pauses and resumes a campaign fifty times while serve
// sends it, and then lets it end: nothing leaves while it is paused, nobody is
// left out, and nobody is sent to twice.
func TestAcceptPauseAndResume(t *testing.T) {
	t.Parallel()
	n := scaled(t, 20_000)
	const times = 50
	w := newWorld(t, sandbox.Options{Seed: 5, RefuseRate: 0.01})
	var people bytes.Buffer
	people.WriteString("Mobile,First Name,Time Zone\n")
	zones := manyZones()
	for i := range n {
		fmt.Fprintf(&people, "+614%08d,Ann%d,%s\n", 12000000+i, i%977, zones[i%len(zones)])
	}
	w.file("people.csv", people.Bytes())

	serve := w.with("POSTRIDER_RATE", "1").role("serve")
	w.must(sms("people.csv", "sale", "--window", "00:00-24:00", "--window-tz", "recipient:UTC")...)
	for i := range times {
		before := w.sends()
		// Most pauses fall between two batches, and some upon one.
		eventually(t, time.Minute, "a batch leaves", func() bool { return i%2 == 1 || w.sends() > before })
		w.must("campaign", "pause", "sale")
		if i%10 == 0 {
			time.Sleep(time.Second)
			paused := w.sends()
			time.Sleep(1200 * time.Millisecond) // more than a batch takes
			if late := w.sends() - paused; late > 0 {
				t.Errorf("pause %d: %d requests left more than a second after the command had returned", i, late)
			}
			if s := w.status("sale"); s.State != "paused" || s.Pending == 0 {
				t.Fatalf("pause %d: the campaign is %+v", i, s)
			}
		}
		w.must("campaign", "resume", "sale")
	}
	serve.stop()
	w.role("serve")
	s := w.awaitState(patience(n), "sale", "completed")
	w.agree(s, n)
	report := w.must("campaign", "report", "sale")
	if got := strings.Count(report, "paused by"); got != times {
		t.Errorf("the report tells of %d pauses, want %d", got, times)
	}
}
