package jobs

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/clicksend"
)

// TestAReadingEndsWithWhatIsOnTheList reads lists whose order changes between
// any two pages, and from which contacts go and come until a pass begins.
func TestAReadingEndsWithWhatIsOnTheList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const limit = 5
		var list []int64
		for i := range rapid.IntRange(0, 60).Draw(t, "contacts") {
			list = append(list, int64(i+1))
		}
		next := int64(len(list))
		restless := rapid.IntRange(1, 3).Draw(t, "passes with changes")
		c := newContactReading()
		seen := map[int64]int32{}
		for !c.done {
			pass, page := c.next()
			if pass > 12 {
				t.Fatalf("the reading does not end: %d of %d", len(c.last), len(list))
			}
			if pass <= restless {
				for range rapid.IntRange(0, 2).Draw(t, "changes") {
					if n := len(list); n > 0 {
						i := rapid.IntRange(0, n-1).Draw(t, "place")
						switch k := list[i]; rapid.SampledFrom([]string{"move", "move", "go", "come"}).Draw(t, "change") {
						case "move":
							list = append(slices.Delete(list, i, i+1), k)
						case "go":
							list = slices.Delete(list, i, i+1)
						default:
							next++
							list = slices.Insert(list, i, next)
						}
					}
				}
			}
			from := min((page-1)*limit, len(list))
			to := min(from+limit, len(list))
			p := &contactPage{Pass: pass, Page: page, Total: int64(len(list)), Last: to == len(list)}
			for _, id := range list[from:to] {
				p.Rows = append(p.Rows, clicksend.Contact{ID: id})
				seen[id] = int32(pass)
			}
			c.take(p)
		}
		if c.pass <= restless {
			return // it ended while the list still changed: what it saw was one of its states, or near it
		}
		var got []int64
		for id, pass := range seen {
			if c.counts(pass) {
				got = append(got, id)
			}
		}
		slices.Sort(got)
		slices.Sort(list)
		if !slices.Equal(got, list) {
			t.Fatalf("read %v, on the list are %v", got, list)
		}
	})
}
