package jobs

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
)

// batchOf makes n messages; few of them share a destination when shared is set.
func batchOf(t *rapid.T, n int, shared, post bool) []outgoing {
	messages := make([]outgoing, n)
	for i := range messages {
		to := i
		if shared {
			to = rapid.IntRange(0, n-1).Draw(t, "destination")
		}
		m := campaign.Message{To: fmt.Sprintf("+6141200%04d", to)}
		if post {
			m = campaign.Message{Address: campaign.Address{Name: "Ann Lee", Line1: fmt.Sprintf("%d High St", to), City: "Perth", Country: "AU"}}
		}
		messages[i] = outgoing{recipient: int64(i), reference: campaign.Reference{Ledger: "0123456789", Recipient: int64(i), Attempt: 1}.String(), message: m}
	}
	return messages
}

// rowOf is what the provider says of a message; its id tells the test whose it is.
func rowOf(i int, m *outgoing) clicksend.Outcome {
	a := m.message.Address
	return clicksend.Outcome{
		To: m.message.To, MessageID: fmt.Sprint(i), CustomString: m.reference, Status: clicksend.StatusSuccess,
		Address: clicksend.Address{Name: a.Name, Line1: a.Line1, City: a.City, Country: a.Country},
	}
}

// Whatever the provider does to the rows, a message is never given the row of
// another.
func TestNoMessageIsGivenAnothersRow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		post := rapid.Bool().Draw(t, "post")
		messages := batchOf(t, rapid.IntRange(1, 12).Draw(t, "messages"), rapid.Bool().Draw(t, "shared destinations"), post)
		var rows []clicksend.Outcome
		for i := range messages {
			row := rowOf(i, &messages[i])
			switch rapid.IntRange(0, 9).Draw(t, "fate") {
			case 0:
				continue // missing
			case 1, 2, 3:
				row.CustomString = ""
			case 4:
				rows = append(rows, row) // twice
			case 5:
				row.CustomString = "another system's"
			case 6:
				row.To, row.Address = "", clicksend.Address{}
			case 7:
				rows = append(rows, clicksend.Outcome{To: "+15550000000", MessageID: "stranger"})
			}
			rows = append(rows, row)
		}
		if rapid.Bool().Draw(t, "reordered") {
			rows = rapid.Permutation(rows).Draw(t, "order")
		}
		found := match(messages, rows)
		if len(found) != len(messages) {
			t.Fatalf("%d results for %d messages", len(found), len(messages))
		}
		given := map[int]bool{}
		for i, j := range found {
			if j < 0 {
				continue
			}
			if rows[j].MessageID != fmt.Sprint(i) || given[j] {
				t.Fatalf("message %d is given row %d, which speaks of %s", i, j, rows[j].MessageID)
			}
			given[j] = true
		}
	})
}

func TestEveryRowThatCanBeMatchedIs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		messages := batchOf(t, rapid.IntRange(1, 12).Draw(t, "messages"), false, rapid.Bool().Draw(t, "post"))
		rows := make([]clicksend.Outcome, len(messages))
		for i := range messages {
			rows[i] = rowOf(i, &messages[i])
		}
		echoed := rapid.Bool().Draw(t, "echoed")
		if echoed {
			rows = rapid.Permutation(rows).Draw(t, "order")
			rows = rows[:rapid.IntRange(0, len(rows)).Draw(t, "kept")]
		} else {
			for i := range rows {
				rows[i].CustomString = ""
			}
		}
		n := 0
		for _, j := range match(messages, rows) {
			if j >= 0 {
				n++
			}
		}
		if n != len(rows) {
			t.Fatalf("%d of %d rows matched", n, len(rows))
		}
	})
}

func TestRowsWithoutAReference(t *testing.T) {
	t.Parallel()
	bare := func(to string) clicksend.Outcome { return clicksend.Outcome{To: to} }
	message := func(ref, to string) outgoing {
		return outgoing{reference: ref, message: campaign.Message{To: to}}
	}
	two := []outgoing{message("a", "+61412000001"), message("b", "+61412000002")}
	same := []outgoing{message("a", "+61412000001"), message("b", "+61412000001")}
	for name, c := range map[string]struct {
		messages []outgoing
		rows     []clicksend.Outcome
		want     [2]int
	}{
		"in order":                  {two, []clicksend.Outcome{bare("61412000001"), bare("+61412000002")}, [2]int{0, 1}},
		"reordered":                 {two, []clicksend.Outcome{bare("+61412000002"), bare("+61412000001")}, [2]int{-1, -1}},
		"one missing":               {two, []clicksend.Outcome{bare("+61412000001")}, [2]int{-1, -1}},
		"one too many":              {two, []clicksend.Outcome{bare("+61412000001"), bare("+61412000002"), bare("+61412000002")}, [2]int{-1, -1}},
		"to one destination":        {same, []clicksend.Outcome{bare("+61412000001"), bare("+61412000001")}, [2]int{-1, -1}},
		"beside one that has one":   {two, []clicksend.Outcome{bare("+61412000001"), {To: "+61412000002", CustomString: "b"}}, [2]int{0, 1}},
		"the other's place":         {two, []clicksend.Outcome{{To: "+61412000002", CustomString: "b"}, bare("+61412000002")}, [2]int{-1, 0}},
		"no destination":            {two, []clicksend.Outcome{{}, {}}, [2]int{-1, -1}},
		"a reference twice":         {two, []clicksend.Outcome{{CustomString: "a"}, {CustomString: "a"}}, [2]int{-1, -1}},
		"thrice is not once":        {two, []clicksend.Outcome{{CustomString: "a"}, {CustomString: "a"}, {CustomString: "a"}}, [2]int{-1, -1}},
		"a stranger in first place": {two, []clicksend.Outcome{{To: "+61412000001", CustomString: "x"}, bare("+61412000002")}, [2]int{-1, 1}},
	} {
		if got := match(c.messages, c.rows); [2]int(got) != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
