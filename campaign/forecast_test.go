package campaign

import (
	"testing"
	"time"
)

func TestWhenTheFirstAndTheLastBatchWouldLeave(t *testing.T) {
	t.Parallel()
	w := window(t, "09:00-20:00", "mon-fri")
	for _, c := range []struct {
		about       string
		timing      Timing
		batches     map[string]int
		start       string
		each        time.Duration
		first, last string
	}{
		{"at any time", Timing{}, map[string]int{"": 11}, "2026-11-27T03:00:00Z", time.Minute, "2026-11-27T03:00:00Z", "2026-11-27T03:10:00Z"},
		{"from the opening", Timing{Window: &w, Zone: "UTC"}, map[string]int{"": 11}, "2026-11-27T03:00:00Z", time.Minute, "2026-11-27T09:00:00Z", "2026-11-27T09:10:00Z"},
		{"over the weekend", Timing{Window: &w, Zone: "UTC"}, map[string]int{"": 100}, "2026-11-27T19:00:00Z", time.Minute, "2026-11-27T19:00:00Z", "2026-11-30T09:39:00Z"},
		{"for days", Timing{Window: &w, Zone: "UTC"}, map[string]int{"": 12}, "2026-11-23T09:00:00Z", 5 * time.Hour, "2026-11-23T09:00:00Z", "2026-11-26T19:00:00Z"},
		{"at no rate", Timing{Window: &w, Zone: "UTC"}, map[string]int{"": 100}, "2026-11-27T03:00:00Z", 0, "2026-11-27T09:00:00Z", "2026-11-27T09:00:00Z"},
		{"zone by zone", Timing{Window: &w, Zone: "UTC", ByRecipient: true}, map[string]int{"Australia/Perth": 3, "Europe/London": 2, "": 1}, "2026-11-25T00:00:00Z", time.Minute,
			"2026-11-25T01:00:00Z", "2026-11-25T09:02:00Z"},
		{"nobody", Timing{Window: &w, Zone: "UTC"}, map[string]int{"": 0}, "2026-11-25T00:00:00Z", time.Minute, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
	} {
		start, err := time.Parse(time.RFC3339, c.start)
		if err != nil {
			t.Fatal(err)
		}
		first, last, err := c.timing.Forecast(c.batches, start, c.each)
		if err != nil {
			t.Errorf("%s: %v", c.about, err)
		}
		if got, want := first.UTC().Format(time.RFC3339)+" "+last.UTC().Format(time.RFC3339), c.first+" "+c.last; got != want {
			t.Errorf("%s: %s, want %s", c.about, got, want)
		}
	}
}
